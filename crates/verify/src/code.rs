//! Six digits, and the record by which the server knows them again.
//!
//! Kept under expiring keys; layout and meaning are shared between nodes, hence stable:
//!
//! | key | value | lifetime |
//! |---|---|---|
//! | `code/<purpose>/<subject of the address>` | version, nonce, digest: [`Record`] | a code's |
//! | `code-tries/<nonce in hexadecimal>` | a counter of guesses | a code's |
//!
//! The counter belongs to the nonce, so a new code begins with new tries whatever happens to the
//! old one at the same time.

use std::fmt::Write as _;

use skein_core::{name::Email, port::verifier::Purpose, subject::Subject};
use subtle::ConstantTimeEq;

/// Digits in a code.
const CODE_DIGITS: usize = 6;
/// One more than the largest code.
const CODES: u32 = 1_000_000;
/// The layout that this version writes.
const RECORD_VERSION: u8 = 1;
/// Bytes of the nonce: no two codes in their lifetime share one.
pub(crate) const NONCE_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
const RECORD_BYTES: usize = 1 + NONCE_BYTES + DIGEST_BYTES;

/// Draws a code, each of the million with the same chance.
pub(crate) fn draw(rng: &mut impl rand::Rng) -> String {
    format!("{:0width$}", rng.random_range(0..CODES), width = CODE_DIGITS)
}

/// What is kept of a code. The digest keeps the code itself out of the bus's memory, dumps and
/// logs; a million codes are no secret to whoever can read the record and has a computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    nonce: [u8; NONCE_BYTES],
    digest: [u8; DIGEST_BYTES],
}

impl Record {
    /// The record of this code.
    pub(crate) fn new(
        nonce: [u8; NONCE_BYTES],
        purpose: Purpose,
        email: &Email,
        code: &str,
    ) -> Self {
        Self { nonce, digest: digest(&nonce, purpose, email, code) }
    }

    /// The record in its stored form, unless this version does not know it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let (version, rest) = bytes.split_first()?;
        let (nonce, digest) = rest.split_first_chunk()?;
        (*version == RECORD_VERSION)
            .then_some(Self { nonce: *nonce, digest: digest.try_into().ok()? })
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.push(RECORD_VERSION);
        bytes.extend(self.nonce);
        bytes.extend(self.digest);
        bytes
    }

    /// Whether this is the code, in a time that does not depend on how much of it is right.
    pub(crate) fn is_for(&self, purpose: Purpose, email: &Email, code: &str) -> bool {
        digest(&self.nonce, purpose, email, code).ct_eq(&self.digest).into()
    }

    /// The key of the counter of guesses at this code.
    pub(crate) fn tries_key(&self) -> String {
        let mut key = String::from("code-tries/");
        for byte in self.nonce {
            write!(key, "{byte:02x}").expect("a string takes everything");
        }
        key
    }
}

/// The key under which the code of an address is kept.
pub(crate) fn record_key(purpose: Purpose, email: &Email) -> String {
    format!("code/{}/{}", purpose.name(), Subject::email(email))
}

fn digest(
    nonce: &[u8; NONCE_BYTES],
    purpose: Purpose,
    email: &Email,
    code: &str,
) -> [u8; DIGEST_BYTES] {
    // Neither a purpose nor an address holds a zero byte, so the parts cannot run into one another.
    let mut hasher = blake3::Hasher::new();
    hasher.update(nonce).update(purpose.name().as_bytes()).update(&[0]);
    hasher.update(email.key().as_bytes()).update(&[0]).update(code.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn draws_six_digits_of_any_size() {
        let mut rng = StdRng::seed_from_u64(1);
        let codes: Vec<_> = (0..1_000).map(|_| draw(&mut rng)).collect();
        assert!(codes.iter().all(|code| code.len() == 6 && code.parse::<u32>().is_ok()));
        assert!(codes.iter().any(|code| code.starts_with('0')), "leading zeros are kept");
        assert!(codes.iter().any(|code| code.starts_with('9')));
    }

    #[test]
    fn knows_its_code_for_its_purpose_and_address() {
        let email = Email::parse("Bo@example.org").expect("an address");
        let other = Email::parse("bob@example.org").expect("an address");
        let record = Record::new([7; NONCE_BYTES], Purpose::Register, &email, "042917");
        let read = Record::decode(&record.encode()).expect("the same version");
        assert_eq!(read, record);

        let same = Email::parse("bo@EXAMPLE.org").expect("an address");
        assert!(read.is_for(Purpose::Register, &same, "042917"));
        assert!(!read.is_for(Purpose::Register, &email, "042918"));
        assert!(!read.is_for(Purpose::Register, &email, ""));
        assert!(!read.is_for(Purpose::Register, &other, "042917"));
        assert!(!read.is_for(Purpose::ResetPassword, &email, "042917"));
    }

    #[test]
    fn does_not_read_what_it_does_not_know() {
        let email = Email::parse("bo@example.org").expect("an address");
        let mut bytes = Record::new([0; NONCE_BYTES], Purpose::Register, &email, "1").encode();
        assert_eq!(Record::decode(&bytes[1..]), None);
        bytes[0] = 2;
        assert_eq!(Record::decode(&bytes), None);
        assert_eq!(Record::decode(&[]), None);
    }

    #[test]
    fn keeps_addresses_out_of_keys() {
        let email = Email::parse("bo@example.org").expect("an address");
        let key = record_key(Purpose::ResetPassword, &email);
        assert!(key.starts_with("code/reset_password/") && !key.contains("bo@"), "{key}");
        let record = Record::new([0xab; NONCE_BYTES], Purpose::Register, &email, "000000");
        assert_eq!(record.tries_key(), format!("code-tries/{}", "ab".repeat(16)));
    }
}
