//! Whom a rate limit counts. A subject is a hash, so that no address of a person or of a machine
//! stands in the keys of the bus.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use data_encoding::HEXLOWER;

use crate::name::{Email, Username};

/// Hexadecimal digits of a subject: 128 bits, beyond chance collisions.
const SUBJECT_DIGITS: usize = 32;
/// Bits of an IPv6 address that name its network: one customer has at least all of the rest
/// (RFC 6177), so that a limit by whole addresses would be none.
const NETWORK_BITS: u32 = 64;

/// Someone whose events are counted, in a form that fits into a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// The network that an address belongs to: the /64 of an IPv6 address, an IPv4 address whole.
    #[must_use]
    pub fn network(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of("ipv4", &v4.octets()),
            IpAddr::V6(v6) => {
                let network = v6.to_bits() >> NETWORK_BITS << NETWORK_BITS;
                Self::of("ipv6", &Ipv6Addr::from_bits(network).octets())
            }
        }
    }

    /// An e-mail address, without regard to case.
    #[must_use]
    pub fn email(email: &Email) -> Self {
        Self::of("email", email.key().as_bytes())
    }

    /// An account's name, without regard to case, whether or not there is such an account.
    #[must_use]
    pub fn name(name: &Username) -> Self {
        Self::of("name", name.key().as_bytes())
    }

    /// The text for the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(kind: &str, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.as_bytes()).update(&[0]).update(bytes);
        let mut digits = HEXLOWER.encode(hasher.finalize().as_bytes());
        digits.truncate(SUBJECT_DIGITS);
        Self(digits)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Subject {
        Subject::network(address.parse().expect("an address"))
    }

    #[test]
    fn counts_who_is_the_same_as_one() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));

        let email = |text| Subject::email(&Email::parse(text).expect("an address"));
        assert_eq!(email("A@Example.org"), email("a@example.org"));
        let name = |text| Subject::name(&Username::parse(text).expect("a name"));
        assert_eq!(name("Alice"), name("alice"));
        assert_eq!(name("alice").as_str().len(), SUBJECT_DIGITS);
    }
}
