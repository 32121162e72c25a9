//! Six digits, and the record by which the server knows them again.
//!
//! Kept under expiring keys; layout and meaning are shared between nodes, hence stable:
//!
//! | key | value | lifetime |
//! |---|---|---|
//! | `code/<purpose>/<subject of the address>` | version, nonce, sealed code: [`Record`] | a code's |
//! | `code-tries/<nonce in hexadecimal>` | a counter of guesses | a code's |
//!
//! The counter belongs to the nonce, so a new code begins with new tries whatever happens to the
//! old one at the same time. A code that is asked for again while it is good is opened and mailed
//! again: a new one in its place would let anybody void what somebody else is about to type.

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
const SEALED_BYTES: usize = 4;
const RECORD_BYTES: usize = 1 + NONCE_BYTES + SEALED_BYTES;

/// What is kept of a code. It is sealed with a pad that is made from the address, which is nowhere
/// in the keys: whoever reads the record alone learns nothing. Whoever has the address, too, can
/// open it, but would not be stopped by a digest either, with a million codes to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    nonce: [u8; NONCE_BYTES],
    /// The code plus the pad, modulo the number of codes.
    sealed: u32,
}

impl Record {
    /// The record of a new code, each of the million with the same chance.
    pub(crate) fn draw(rng: &mut impl rand::Rng, purpose: Purpose, email: &Email) -> Self {
        Self::seal(rng.random(), purpose, email, rng.random_range(0..CODES))
    }

    fn seal(nonce: [u8; NONCE_BYTES], purpose: Purpose, email: &Email, code: u32) -> Self {
        Self { nonce, sealed: (code + pad(&nonce, purpose, email)) % CODES }
    }

    /// The code.
    pub(crate) fn open(&self, purpose: Purpose, email: &Email) -> String {
        let code = (self.sealed + CODES - pad(&self.nonce, purpose, email)) % CODES;
        format!("{code:0width$}", width = CODE_DIGITS)
    }

    /// The record in its stored form, unless this version does not know it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let (version, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        let sealed = u32::from_be_bytes(sealed.try_into().ok()?);
        (*version == RECORD_VERSION && sealed < CODES).then_some(Self { nonce: *nonce, sealed })
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.push(RECORD_VERSION);
        bytes.extend(self.nonce);
        bytes.extend(self.sealed.to_be_bytes());
        bytes
    }

    /// Whether this is the code, in a time that does not depend on how much of it is right.
    pub(crate) fn is_for(&self, purpose: Purpose, email: &Email, code: &str) -> bool {
        self.open(purpose, email).as_bytes().ct_eq(code.as_bytes()).into()
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

/// A number below that of the codes, a different one for each nonce, purpose and address.
fn pad(nonce: &[u8; NONCE_BYTES], purpose: Purpose, email: &Email) -> u32 {
    // Neither a purpose nor an address holds a zero byte, so the parts cannot run into one another.
    let mut hasher = blake3::Hasher::new();
    hasher.update(nonce).update(purpose.name().as_bytes()).update(&[0]);
    hasher.update(email.key().as_bytes());
    let mut drawn = [0; 8];
    hasher.finalize_xof().fill(&mut drawn);
    // With 64 bits the remainder prefers no number by more than one part in 10^13.
    u32::try_from(u64::from_be_bytes(drawn) % u64::from(CODES)).expect("it is below the codes")
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn address(text: &str) -> Email {
        Email::parse(text).expect("an address")
    }

    #[test]
    fn draws_six_digits_of_any_size() {
        let mut rng = StdRng::seed_from_u64(1);
        let email = address("bo@example.org");
        let mut draw = || Record::draw(&mut rng, Purpose::Register, &email);
        let codes: Vec<_> = (0..1_000).map(|_| draw().open(Purpose::Register, &email)).collect();
        assert!(codes.iter().all(|code| code.len() == 6 && code.parse::<u32>().is_ok()));
        assert!(codes.iter().any(|code| code.starts_with('0')), "leading zeros are kept");
        assert!(codes.iter().any(|code| code.starts_with('9')));
    }

    #[test]
    fn knows_its_code_for_its_purpose_and_address() {
        let email = address("Bo@example.org");
        let record = Record::seal([7; NONCE_BYTES], Purpose::Register, &email, 42_917);
        let read = Record::decode(&record.encode()).expect("the same version");
        assert_eq!(read, record);
        assert_eq!(read.open(Purpose::Register, &address("bo@EXAMPLE.org")), "042917");

        assert!(read.is_for(Purpose::Register, &address("bo@EXAMPLE.org"), "042917"));
        assert!(!read.is_for(Purpose::Register, &email, "042918"));
        assert!(!read.is_for(Purpose::Register, &email, ""));
        assert!(!read.is_for(Purpose::Register, &email, "42917"));
        assert!(!read.is_for(Purpose::Register, &address("bob@example.org"), "042917"));
        assert!(!read.is_for(Purpose::ResetPassword, &email, "042917"));
    }

    #[test]
    fn seals_and_opens_the_first_and_the_last_code() {
        let email = address("bo@example.org");
        for nonce in 0..100 {
            for code in [0, CODES - 1] {
                let record = Record::seal([nonce; NONCE_BYTES], Purpose::Register, &email, code);
                assert_eq!(record.open(Purpose::Register, &email), format!("{code:06}"));
            }
        }
    }

    #[test]
    fn does_not_read_what_it_does_not_know() {
        let email = address("bo@example.org");
        let known = Record::seal([0; NONCE_BYTES], Purpose::Register, &email, 1).encode();
        assert!(Record::decode(&known).is_some());
        assert_eq!(Record::decode(&known[1..]), None);
        let other_version: Vec<u8> = [2].into_iter().chain(known[1..].to_vec()).collect();
        assert_eq!(Record::decode(&other_version), None);
        let no_code = [&known[..RECORD_BYTES - SEALED_BYTES], &CODES.to_be_bytes()].concat();
        assert_eq!(Record::decode(&no_code), None);
        assert_eq!(Record::decode(&[]), None);
    }

    #[test]
    fn keeps_addresses_out_of_keys() {
        let email = address("bo@example.org");
        let key = record_key(Purpose::ResetPassword, &email);
        assert!(key.starts_with("code/reset_password/") && !key.contains("bo@"), "{key}");
        let record = Record::seal([0xab; NONCE_BYTES], Purpose::Register, &email, 0);
        assert_eq!(record.tries_key(), format!("code-tries/{}", "ab".repeat(16)));
    }
}
