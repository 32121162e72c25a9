//! How a server that was killed and started again tells its former clients.
//!
//! Their packets belong to connections that it knows nothing of. It answers them with a stateless
//! reset (RFC 9000, section 10.3), which a client believes if it bears the token that was made with
//! the same key. So that key comes from the [`Secret`], which outlives the process and the
//! certificates that come and go meanwhile. Without it, clients would know it by silence only.

use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};

use crate::secret::Secret;

/// How far apart resets are at least. A reset answers any packet of an unknown connection, so this
/// bounds what strangers can make the server send; all clients of a busy node that has restarted
/// learn it within minutes, and most at once.
pub(crate) const RESET_INTERVAL: Duration = Duration::from_micros(200);

/// Makes the tokens of one node's resets.
pub(crate) struct ResetKey([u8; 32]);

impl ResetKey {
    pub(crate) fn new(secret: &Secret, node: &str) -> Self {
        Self(secret.reset_key(node))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let signature = blake3::keyed_hash(&self.0, data);
        let length = signature_out.len().min(self.signature_len());
        signature_out[..length].copy_from_slice(&signature.as_bytes()[..length]);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = <[u8; 32]>::try_from(signature).map_err(|_| CryptoError)?;
        // blake3 compares in constant time.
        if blake3::keyed_hash(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_signs_the_same() {
        let secret = Secret::passing();
        let key = |node| ResetKey::new(&secret, node);
        let (one, again, other) = (key("a"), key("a"), key("b"));
        let mut signature = [0; 32];
        one.sign(b"id", &mut signature);
        assert!(again.verify(b"id", &signature).is_ok());
        assert!(again.verify(b"di", &signature).is_err());
        assert!(again.verify(b"id", &signature[..31]).is_err());
        assert!(other.verify(b"id", &signature).is_err());
    }
}
