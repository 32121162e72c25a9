//! The receiving side of a download.

use thiserror::Error;

/// One download, over as many streams as it takes. It reads along, so that the file's hash is known
/// with its last byte; what an earlier process left on disk is handed in first.
#[derive(Debug, Clone)]
pub struct Download {
    size: Option<u64>,
    hash: Option<[u8; 32]>,
    offset: u64,
    hasher: blake3::Hasher,
}

/// What arrives is not what was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadDownload {
    /// The server offers a file of another size or hash than the message named.
    #[error("the server offers another file than the message named")]
    OtherFile,
    /// There are more bytes, here or on the way, than the file has.
    #[error("there are more bytes than the file of {size} bytes has")]
    BeyondSize {
        /// Bytes that the file has.
        size: u64,
    },
    /// The stream ended early.
    #[error("{missing} bytes are missing")]
    Incomplete {
        /// How many.
        missing: u64,
    },
    /// All bytes are here, and some are not the right ones.
    #[error("the bytes do not have the hash that the message named")]
    WrongHash,
}

impl Download {
    /// A file of which the message named size and BLAKE3, or neither (a thumbnail).
    #[must_use]
    pub fn new(promised: Option<(u64, [u8; 32])>) -> Self {
        let (size, hash) = promised.unzip();
        Self { size, hash, offset: 0, hasher: blake3::Hasher::new() }
    }

    /// Bytes in the whole file, once known.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes that are here: where the next stream continues.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The server's header has come.
    ///
    /// # Errors
    /// [`BadDownload::OtherFile`] if it is not the file that the message named, or that an earlier
    /// stream began; [`BadDownload::BeyondSize`] if more is here than it has.
    pub fn handle_header(
        &mut self,
        size: u64,
        hash: Option<[u8; 32]>,
        length: u64,
    ) -> Result<(), BadDownload> {
        let other_size = self.size.is_some_and(|expected| expected != size);
        let other_hash = self.hash.is_some() && self.hash != hash;
        if other_size || other_hash {
            return Err(BadDownload::OtherFile);
        }
        if self.offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(BadDownload::BeyondSize { size });
        }
        self.size = Some(size);
        Ok(())
    }

    /// The next bytes: from disk at first, then from the stream.
    ///
    /// # Errors
    /// [`BadDownload::BeyondSize`]; the bytes are not counted.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), BadDownload> {
        let end = self.offset.saturating_add(bytes.len() as u64);
        if let Some(size) = self.size.filter(|size| end > *size) {
            return Err(BadDownload::BeyondSize { size });
        }
        self.hasher.update(bytes);
        self.offset = end;
        Ok(())
    }

    /// Whether the last byte is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.size == Some(self.offset)
    }

    /// Whether what is here is the file that was promised.
    ///
    /// # Errors
    /// [`BadDownload::Incomplete`], after which the download continues; [`BadDownload::WrongHash`],
    /// after which only a new one helps.
    pub fn verify(&self) -> Result<(), BadDownload> {
        if !self.is_complete() {
            let missing = self.size.map_or(1, |size| size - self.offset);
            return Err(BadDownload::Incomplete { missing });
        }
        match self.hash {
            Some(hash) if *self.hasher.finalize().as_bytes() != hash => Err(BadDownload::WrongHash),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promised(bytes: &[u8]) -> Option<(u64, [u8; 32])> {
        Some((bytes.len() as u64, *blake3::hash(bytes).as_bytes()))
    }

    #[test]
    fn continues_from_disk_and_verifies() {
        let hash = *blake3::hash(b"hello").as_bytes();
        let mut download = Download::new(promised(b"hello"));
        download.handle_bytes(b"he").unwrap();
        assert_eq!(download.offset(), 2);
        download.handle_header(5, Some(hash), 3).unwrap();
        download.handle_bytes(b"ll").unwrap();
        assert_eq!(download.verify(), Err(BadDownload::Incomplete { missing: 1 }));
        download.handle_bytes(b"o").unwrap();
        assert_eq!(download.verify(), Ok(()));
    }

    #[test]
    fn notices_what_was_not_promised() {
        let hash = *blake3::hash(b"hello").as_bytes();
        let fresh = || Download::new(promised(b"hello"));
        assert_eq!(fresh().handle_header(6, Some(hash), 6), Err(BadDownload::OtherFile));
        assert_eq!(fresh().handle_header(5, Some([0; 32]), 5), Err(BadDownload::OtherFile));
        assert_eq!(fresh().handle_header(5, None, 5), Err(BadDownload::OtherFile));
        let beyond = Err(BadDownload::BeyondSize { size: 5 });
        assert_eq!(fresh().handle_header(5, Some(hash), 6), beyond);
        assert_eq!(fresh().handle_bytes(b"hello!"), beyond);
        let mut wrong = fresh();
        wrong.handle_bytes(b"hallo").unwrap();
        assert_eq!(wrong.verify(), Err(BadDownload::WrongHash));
    }

    #[test]
    fn a_thumbnail_has_no_promise() {
        let mut download = Download::new(None);
        assert!(!download.is_complete());
        download.handle_header(2, None, 2).unwrap();
        download.handle_bytes(b"ok").unwrap();
        assert_eq!(download.verify(), Ok(()));
    }
}
