//! How a server that was killed and started again tells its former clients.
//!
//! Their packets belong to connections that it knows nothing of. It answers them with a stateless
//! reset (RFC 9000, section 10.3), which a client believes if it bears the token that was made with
//! the same key. So that key is kept on disk: it outlives the process, and the self-made certificates
//! that come and go meanwhile. Without it, clients would wait out the idle timeout.

use std::{sync::Arc, time::Duration};

use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig,
    crypto::{CryptoError, HmacKey},
};

use crate::identity::Identity;

/// Bytes of a connection id.
const ID_BYTES: usize = 8;
/// How far apart resets are at least. A reset answers any packet of an unknown connection, so this
/// bounds what strangers can make the server send; all clients of a busy node that has restarted
/// learn it within minutes, and most at once.
const RESET_INTERVAL: Duration = Duration::from_micros(200);

/// How the endpoint of a listener with this identity names connections and disowns them.
pub(crate) fn endpoint_config(identity: &Identity) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(Key(identity.reset_secret)));
    config.min_reset_interval(RESET_INTERVAL);
    config.cid_generator(|| Box::new(Ids));
    config
}

struct Key([u8; 32]);

impl HmacKey for Key {
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

/// Random connection ids. quinn's own bear the mark of the process, and it drops packets without the
/// mark: a server that was started again would stay silent.
struct Ids;

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_signs_the_same() {
        let (one, again, other) = (Key([1; 32]), Key([1; 32]), Key([2; 32]));
        let mut signature = [0; 32];
        one.sign(b"id", &mut signature);
        assert!(again.verify(b"id", &signature).is_ok());
        assert!(again.verify(b"di", &signature).is_err());
        assert!(again.verify(b"id", &signature[..31]).is_err());
        assert!(other.verify(b"id", &signature).is_err());
        assert_ne!(Ids.generate_cid(), Ids.generate_cid());
    }
}
