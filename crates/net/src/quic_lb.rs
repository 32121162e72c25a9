//! The format of connection ids that a load balancer can read: QUIC-LB
//! (draft-ietf-quic-load-balancers-21, sections 3 and 5).
//!
//! An octet that names the configuration, then a block with the server's id and a nonce, which a key
//! hides. Whoever has no key cannot tell which server an id belongs to, nor that two ids belong to
//! the same one: so a client that moves is not followed by its ids. All that is here is bytes and
//! AES; [`connection_id`](crate::connection_id) decides what Skein puts in.

use aws_lc_rs::cipher::{
    AES_128, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use thiserror::Error;

/// Octets of an id in QUIC version 1 at most (RFC 9000, section 17.2).
pub const ID_BYTES_MAX: usize = 20;
/// Octets of the key: it is one of AES-128.
pub const KEY_BYTES: usize = 16;
/// What the first three bits may say. The eighth value means that an id leads nowhere.
pub const ROTATIONS: u8 = 7;
/// Octets of a nonce at least.
const NONCE_BYTES_MIN: usize = 4;
/// Octets of server id and nonce together at most: the first octet stands before them.
const BLOCK_BYTES_MAX: usize = ID_BYTES_MAX - 1;
/// Octets that AES takes at once.
const AES_BYTES: usize = 16;
/// Bits of the first octet that are not the configuration's.
const LOW_BITS: u8 = 0b0001_1111;
/// Octets of half a block at most.
const HALF_BYTES_MAX: usize = BLOCK_BYTES_MAX.div_ceil(2);

/// A format that the draft does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The configuration's number takes three bits, and its last value is reserved.
    #[error("a configuration of QUIC-LB has a number from 0 to 6, not {0}")]
    Rotation(u8),
    /// The fields do not fit.
    #[error(
        "a QUIC-LB id has room for a server id of 1 octet or more and a nonce of 4 or more, 19 \
         together; not for {server_id} and {nonce}"
    )]
    Lengths {
        /// Octets of the server's id.
        server_id: usize,
        /// Octets of the nonce.
        nonce: usize,
    },
    /// The cryptographic library refused the key.
    #[error("AES refuses the key")]
    Key,
}

/// A connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    bytes: [u8; ID_BYTES_MAX],
    length: usize,
}

impl AsRef<[u8]> for Id {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// One configuration of QUIC-LB: it makes ids, and tells whose they are.
pub struct Format {
    rotation: u8,
    server_id_bytes: usize,
    nonce_bytes: usize,
    cipher: Option<Cipher>,
}

struct Cipher {
    encrypt: EncryptingKey,
    decrypt: DecryptingKey,
}

/// A half of a block, with the middle octet in both when the block has an odd length.
type Half = [u8; HALF_BYTES_MAX];

impl Format {
    /// The configuration number `rotation` with fields of these lengths, in octets; without a key
    /// everybody can read the server's id.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn new(
        rotation: u8,
        server_id_bytes: usize,
        nonce_bytes: usize,
        key: Option<&[u8; KEY_BYTES]>,
    ) -> Result<Self, FormatError> {
        if rotation >= ROTATIONS {
            return Err(FormatError::Rotation(rotation));
        }
        let fits = server_id_bytes >= 1 && nonce_bytes >= NONCE_BYTES_MIN;
        if !fits || server_id_bytes.saturating_add(nonce_bytes) > BLOCK_BYTES_MAX {
            return Err(FormatError::Lengths { server_id: server_id_bytes, nonce: nonce_bytes });
        }
        let cipher = key.map(Cipher::new).transpose()?;
        Ok(Self { rotation, server_id_bytes, nonce_bytes, cipher })
    }

    /// Octets of an id.
    #[must_use]
    pub const fn id_bytes(&self) -> usize {
        1 + self.block_bytes()
    }

    /// The id that leads to the server `server_id`. A `nonce` is used once; without a key it must
    /// look random. `low` are the bits of the first octet that say nothing.
    ///
    /// # Errors
    /// [`FormatError`] if a field has another length than the configuration says.
    pub fn encode(&self, low: u8, server_id: &[u8], nonce: &[u8]) -> Result<Id, FormatError> {
        if server_id.len() != self.server_id_bytes || nonce.len() != self.nonce_bytes {
            let (server_id, nonce) = (server_id.len(), nonce.len());
            return Err(FormatError::Lengths { server_id, nonce });
        }
        let mut bytes = [0; ID_BYTES_MAX];
        let length = self.id_bytes();
        bytes[0] = self.rotation << 5 | (low & LOW_BITS);
        bytes[1..=server_id.len()].copy_from_slice(server_id);
        bytes[1 + server_id.len()..length].copy_from_slice(nonce);
        if let Some(cipher) = &self.cipher {
            cipher.hide(&mut bytes[1..length])?;
        }
        Ok(Id { bytes, length })
    }

    /// The server that `id` leads to, as a load balancer finds it. Octets after the block are the
    /// server's own affair. `None` if the id was made under another configuration or is too short.
    #[must_use]
    pub fn server_id(&self, id: &[u8]) -> Option<Vec<u8>> {
        let (first, rest) = id.split_first()?;
        if first >> 5 != self.rotation {
            return None;
        }
        let mut block = rest.get(..self.block_bytes())?.to_vec();
        if let Some(cipher) = &self.cipher {
            cipher.show(&mut block).ok()?;
        }
        block.truncate(self.server_id_bytes);
        Some(block)
    }

    const fn block_bytes(&self) -> usize {
        self.server_id_bytes + self.nonce_bytes
    }
}

impl Cipher {
    fn new(key: &[u8; KEY_BYTES]) -> Result<Self, FormatError> {
        let key = || UnboundCipherKey::new(&AES_128, key).map_err(|_| FormatError::Key);
        let encrypt = EncryptingKey::ecb(key()?).map_err(|_| FormatError::Key)?;
        let decrypt = DecryptingKey::ecb(key()?).map_err(|_| FormatError::Key)?;
        Ok(Self { encrypt, decrypt })
    }

    /// Encrypts a block: at once if it has the length of AES, otherwise in four passes.
    fn hide(&self, block: &mut [u8]) -> Result<(), FormatError> {
        if block.len() == AES_BYTES {
            return self.aes(block);
        }
        self.passes(block, [1, 2, 3, 4])
    }

    fn show(&self, block: &mut [u8]) -> Result<(), FormatError> {
        if block.len() == AES_BYTES {
            let shown = self.decrypt.decrypt(block, DecryptionContext::None);
            return shown.map(drop).map_err(|_| FormatError::Key);
        }
        self.passes(block, [4, 3, 2, 1])
    }

    fn aes(&self, block: &mut [u8]) -> Result<(), FormatError> {
        let hidden = self.encrypt.less_safe_encrypt(block, EncryptionContext::None);
        hidden.map(drop).map_err(|_| FormatError::Key)
    }

    /// A Feistel network of four passes (section 5.4.2): odd ones change the right half, even ones
    /// the left, and the same in reverse order takes it back.
    fn passes(&self, block: &mut [u8], order: [u8; 4]) -> Result<(), FormatError> {
        let (mut left, mut right) = split(block);
        for pass in order {
            if pass % 2 == 1 {
                self.pass(block.len(), pass, &left, &mut right)?;
            } else {
                self.pass(block.len(), pass, &right, &mut left)?;
            }
        }
        join(&left, &right, block);
        Ok(())
    }

    /// Mixes `from` into `into`.
    fn pass(
        &self,
        length: usize,
        pass: u8,
        from: &Half,
        into: &mut Half,
    ) -> Result<(), FormatError> {
        let half = length.div_ceil(2);
        let mut expanded = [0; AES_BYTES];
        expanded[..half].copy_from_slice(&from[..half]);
        expanded[AES_BYTES - 2] = u8::try_from(length).map_err(|_| FormatError::Key)?;
        expanded[AES_BYTES - 1] = pass;
        self.aes(&mut expanded)?;
        for (into, mixed) in into.iter_mut().zip(&expanded[..half]) {
            *into ^= mixed;
        }
        if length % 2 == 1 {
            // The middle octet belongs to both halves, four bits to each.
            let (octet, bits) = if pass % 2 == 1 { (0, 0x0f) } else { (half - 1, 0xf0) };
            into[octet] &= bits;
        }
        Ok(())
    }
}

fn split(block: &[u8]) -> (Half, Half) {
    let half = block.len().div_ceil(2);
    let (mut left, mut right) = (Half::default(), Half::default());
    left[..half].copy_from_slice(&block[..half]);
    right[..half].copy_from_slice(&block[block.len() - half..]);
    if block.len() % 2 == 1 {
        left[half - 1] &= 0xf0;
        right[0] &= 0x0f;
    }
    (left, right)
}

fn join(left: &Half, right: &Half, block: &mut [u8]) {
    let half = block.len().div_ceil(2);
    let start = block.len() - half;
    block.fill(0);
    for (octet, part) in block[..half].iter_mut().zip(left) {
        *octet |= part;
    }
    for (octet, part) in block[start..].iter_mut().zip(&right[..half]) {
        *octet |= part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let octet = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(octet).collect()
    }

    fn key(text: &str) -> [u8; KEY_BYTES] {
        hex(text).try_into().unwrap()
    }

    /// The draft's vectors say the length in the low bits of the first octet.
    fn check(rotation: u8, server: &str, nonce: &str, key: Option<&[u8; KEY_BYTES]>, id: &str) {
        let (server, nonce, id) = (hex(server), hex(nonce), hex(id));
        let format = Format::new(rotation, server.len(), nonce.len(), key).unwrap();
        let low = u8::try_from(id.len() - 1).unwrap();
        assert_eq!(format.encode(low, &server, &nonce).unwrap().as_ref(), id);
        assert_eq!(format.server_id(&id), Some(server), "{rotation}");
    }

    #[test]
    fn the_vectors_of_the_draft_come_out() {
        // "Unencrypted CIDs" in the appendix. The other vector there lacks half an octet.
        check(0, "c4605e", "4504cc4f", None, "07c4605e4504cc4f");
        // "Encrypted CIDs". The last one's first octet says configuration 0, whatever stands beside.
        let shared = key("8f95f09245765f80256934e50c66207f");
        for (rotation, server, nonce, id) in [
            (0, "ed793a", "ee080dbf", "0720b1d07b359d3c"),
            (1, "ed793a51d49b8f5fab65", "ee080dbf48", "2fcc381bc74cb4fbad2823a3d1f8fed2"),
            (2, "ed793a51d49b8f5f", "ee080dbf48c0d1e5", "504dd2d05a7b0de9b2b9907afb5ecf8cc3"),
            (
                0,
                "ed793a51d49b8f5fab",
                "ee080dbf48c0d1e55d",
                "125779c9cc86beb3a3a4a3ca96fce4bfe0cdbc",
            ),
        ] {
            check(rotation, server, nonce, Some(&shared), id);
        }
        // Section 5.4.2.4.
        let key = key("fdf726a9893ec05c0632d3956680baf0");
        check(0, "31441a", "9c69c275", Some(&key), "0767947d29be054a");
    }

    #[test]
    fn every_allowed_length_comes_back() {
        let key = [7; KEY_BYTES];
        for server_bytes in 1..=BLOCK_BYTES_MAX - NONCE_BYTES_MIN {
            for nonce_bytes in NONCE_BYTES_MIN..=BLOCK_BYTES_MAX - server_bytes {
                for key in [None, Some(&key)] {
                    let format = Format::new(6, server_bytes, nonce_bytes, key).unwrap();
                    let (server, nonce) = (vec![0xa5; server_bytes], vec![0x3c; nonce_bytes]);
                    let id = format.encode(0xff, &server, &nonce).unwrap();
                    assert_eq!(id.as_ref().len(), format.id_bytes());
                    assert_eq!(format.server_id(id.as_ref()), Some(server));
                    assert_eq!(format.server_id(&id.as_ref()[1..]), None);
                }
            }
        }
    }

    #[test]
    fn what_the_draft_forbids_is_an_error() {
        let lengths = |server_id, nonce| FormatError::Lengths { server_id, nonce };
        for (rotation, server_id, nonce, error) in [
            (7, 2, 14, FormatError::Rotation(7)),
            (0, 0, 8, lengths(0, 8)),
            (0, 2, 3, lengths(2, 3)),
            (0, 10, 10, lengths(10, 10)),
            (0, usize::MAX, 4, lengths(usize::MAX, 4)),
        ] {
            assert_eq!(Format::new(rotation, server_id, nonce, None).err(), Some(error));
        }
        let format = Format::new(0, 2, 14, None).unwrap();
        assert_eq!(format.encode(0, &[1], &[0; 14]).err(), Some(lengths(1, 14)));
    }
}
