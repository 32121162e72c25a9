//! Tokens by which a client proves that an address is its own (RFC 9000, sections 8.1.2 and 8.1.3):
//! those of a Retry, for the handshake at hand, and those that it is given for the next time.
//!
//! Both are sealed with a key from the [`Secret`], so they outlive a restart, and any node with the
//! same secret takes them. Each of the second kind counts once a node: what was used is remembered
//! until it would be too old. A restart forgets that, and then a token of somebody who was watched
//! may be played back once more, from the same address. All that it proves is the address.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use quinn::{BloomTokenLog, ValidationTokenConfig, crypto::HandshakeTokenKey};

use crate::secret::Secret;

/// How long a token for the next time is good for. The addresses of phones are no better.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Tokens for the next time that a client gets whenever it has proved an address.
const TOKENS_AT_ONCE: u32 = 2;
/// Bytes that remembering used tokens takes at most.
const LOG_BYTES_MAX: usize = 1024 * 1024;
/// Tokens used within their lifetime for which that is made. Beyond, more and more unused ones are
/// taken for used, and their clients prove their address anew.
const TOKENS_USED: u64 = 200_000;

/// What seals the tokens.
pub(crate) fn key(secret: &Secret) -> Arc<dyn HandshakeTokenKey> {
    // The secret's key is random already: extracting has nothing to add but the form.
    Arc::new(Salt::new(HKDF_SHA256, &[]).extract(&secret.token_key()))
}

/// How tokens for the next time are given out and taken.
pub(crate) fn validation() -> ValidationTokenConfig {
    let mut config = ValidationTokenConfig::default();
    config
        .lifetime(LIFETIME)
        .sent(TOKENS_AT_ONCE)
        .log(Arc::new(BloomTokenLog::new_expected_items(LOG_BYTES_MAX, TOKENS_USED)));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_opens_what_it_sealed() {
        let (secret, other) = (Secret::passing(), Secret::passing());
        let mut sealed = b"an address".to_vec();
        key(&secret).aead_from_hkdf(b"nonce").seal(&mut sealed, &[]).unwrap();
        let open = |secret: &Secret, nonce: &[u8]| {
            let mut data = sealed.clone();
            key(secret).aead_from_hkdf(nonce).open(&mut data, &[]).map(|data| data.to_vec()).ok()
        };
        assert_eq!(open(&secret.clone(), b"nonce").as_deref(), Some(&b"an address"[..]));
        assert_eq!(open(&secret, b"other"), None);
        assert_eq!(open(&other, b"nonce"), None);
    }
}
