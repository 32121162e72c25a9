//! The secret behind everything that a listener proves later to have said earlier.
//!
//! One secret on disk, and from it a key for each purpose (BLAKE3 in its key derivation mode, each
//! with a context string of its own), so that no key tells anything about another. It outlives the
//! process: a server that was started again still resets the connections of its former life and
//! takes the tokens that it gave out. All chat nodes of a cluster can be given the same one: then any
//! of them takes what another gave out.
//!
//! What must differ from node to node is derived with the node's name. A reset key that all nodes
//! shared would be an oracle (RFC 9000, section 21.11): who saw a connection id could ask another
//! node for its reset.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use thiserror::Error;

use crate::file::{self, FileError};

/// Bytes that a file with a secret holds at least, blanks at its end not counted.
pub const SECRET_BYTES_MIN: usize = 32;
/// Bytes of such a file at most.
const FILE_BYTES_MAX: usize = 4096;

/// Context strings name the purpose for ever: another string is another key.
const MASTER: &str = "skein transport secret v1";
const RESET: &str = "skein stateless reset v2";
const TOKEN: &str = "skein address validation token v1";
const ROUTING: &str = "skein quic-lb connection id v1";

/// A secret, from which keys are derived. It is never shown.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// A secret that cannot be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds too little or too much.
    #[error("{path} holds no usable secret: it takes {SECRET_BYTES_MIN} random bytes or more")]
    Content {
        /// Which file.
        path: PathBuf,
    },
}

impl Secret {
    /// A secret that lasts as long as the process.
    #[must_use]
    pub fn passing() -> Self {
        Self(rand::random())
    }

    /// The secret in the file at `path`, which an operator has put there.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let bytes = file::read(path)?;
        let bytes = bytes.trim_ascii_end();
        if !(SECRET_BYTES_MIN..=FILE_BYTES_MAX).contains(&bytes.len()) {
            return Err(SecretError::Content { path: path.to_owned() });
        }
        Ok(Self(blake3::derive_key(MASTER, bytes)))
    }

    /// The secret kept in the file at `path`, made once, and again if a crash has left it
    /// unusable. It is readable by its owner only.
    ///
    /// # Errors
    /// [`SecretError::File`].
    pub fn kept(path: &Path) -> Result<Self, SecretError> {
        match Self::load(path) {
            Err(SecretError::Content { .. }) => {}
            Err(SecretError::File(error)) if error.kind() == io::ErrorKind::NotFound => {}
            kept => return kept,
        }
        if let Some(folder) = path.parent() {
            file::folder(folder)?;
        }
        let mut made = HEXLOWER.encode(&rand::random::<[u8; SECRET_BYTES_MIN]>());
        made.push('\n');
        file::write_private(path, made.as_bytes())?;
        Self::load(path)
    }

    /// What the stateless resets of the node with this name are made with.
    pub(crate) fn reset_key(&self, node: &str) -> [u8; 32] {
        self.derive(RESET, node.as_bytes())
    }

    /// What the tokens of all nodes with this secret are sealed with.
    pub(crate) fn token_key(&self) -> [u8; 32] {
        self.derive(TOKEN, &[])
    }

    /// What hides the node in connection ids, for each configuration of the load balancer another.
    pub(crate) fn routing_key(&self, rotation: u8) -> [u8; 16] {
        let mut key = [0; 16];
        key.copy_from_slice(&self.derive(ROUTING, &[rotation])[..16]);
        key
    }

    fn derive(&self, purpose: &str, whose: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        *hasher.update(&self.0).update(whose).finalize().as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn with_file(name: &str, work: impl FnOnce(&Path)) {
        let path = std::env::temp_dir().join(format!("skein-{name}-{}", std::process::id()));
        work(&path);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_kept_secret_stays_and_is_nobody_elses() {
        with_file("secret-kept", |path| {
            let made = Secret::kept(path).unwrap();
            assert_eq!(Secret::kept(path).unwrap().0, made.0);
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::write(path, "cut").unwrap();
            let again = Secret::kept(path).unwrap();
            assert_ne!(again.0, made.0);
            assert_eq!(Secret::load(path).unwrap().0, again.0);
            assert_eq!(format!("{made:?}"), "Secret");
        });
    }

    #[test]
    fn a_given_secret_is_long_enough_and_may_end_in_a_new_line() {
        with_file("secret-given", |path| {
            fs::write(path, "0123456789012345678901234567890").unwrap();
            assert!(matches!(Secret::load(path), Err(SecretError::Content { .. })));
            fs::write(path, "01234567890123456789012345678901").unwrap();
            let plain = Secret::load(path).unwrap();
            fs::write(path, "01234567890123456789012345678901\n").unwrap();
            assert_eq!(Secret::load(path).unwrap().0, plain.0);
            fs::write(path, vec![b'a'; FILE_BYTES_MAX + 1]).unwrap();
            assert!(matches!(Secret::load(path), Err(SecretError::Content { .. })));
        });
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let (one, other) = (Secret([1; 32]), Secret([2; 32]));
        let keys = [
            one.0,
            one.reset_key("a"),
            one.reset_key("b"),
            one.token_key(),
            one.derive(ROUTING, &[0]),
            one.derive(ROUTING, &[1]),
            other.reset_key("a"),
            other.token_key(),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[index + 1..].contains(key), "{index}");
        }
        assert_eq!(one.reset_key("a"), Secret([1; 32]).reset_key("a"));
        assert_ne!(one.routing_key(0), one.routing_key(1));
    }
}
