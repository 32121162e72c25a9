//! Objects that a remote store takes in parts, over as many processes as it takes: the parts that it
//! has are named in [`Parts`], which the caller keeps.
//!
//! The store keeps unfinished parts until they are joined or given up, and lists them to nobody: so
//! whoever begins an object records its name before the first part.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use object_store::{
    PutPayload,
    multipart::{MultipartStore, PartId},
};
use skein_core::{id::BlobId, port::resource::Variant};

use crate::depot::{
    DepotError, path,
    request::{Line, Operation},
};

/// The first byte of [`Parts::save`]. What it wrote outlives the process: a new layout gets a new
/// number.
const VERSION: u8 = 1;
/// Parts of one object at most: S3's limit.
pub const PARTS_MAX: u64 = 10_000;

/// The side of a remote depot that takes objects in parts.
#[derive(Clone)]
pub struct Multipart {
    pub(crate) store: Arc<dyn MultipartStore>,
    pub(crate) line: Line,
}

/// What a remote store has of an object that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The store's name for the unfinished object.
    id: String,
    /// Its names for the parts, in their order from the first.
    tags: Vec<String>,
}

impl Multipart {
    /// Begins an object. Record the answer before anything is put there.
    ///
    /// # Errors
    /// If the store does not.
    pub async fn begin(&self, blob: BlobId) -> Result<Parts, DepotError> {
        let path = path(blob, Variant::Original);
        let begun = self.line.ask(Operation::Begin, &path, self.store.create_multipart(&path));
        Ok(Parts { id: begun.await?, tags: Vec::new() })
    }

    /// Stores the part that follows on those that are there, and adds it to them. Doing it again
    /// replaces the part.
    ///
    /// # Errors
    /// [`DepotError::Missing`] if the store has given the object up.
    pub async fn put_next(
        &self,
        blob: BlobId,
        parts: &mut Parts,
        bytes: Bytes,
    ) -> Result<(), DepotError> {
        let path = path(blob, Variant::Original);
        let payload = PutPayload::from_bytes(bytes);
        let put = self.store.put_part(&path, &parts.id, parts.tags.len(), payload);
        let part = self.line.ask(Operation::Part, &path, put).await?;
        parts.tags.push(part.content_id);
        Ok(())
    }

    /// Makes the object of its parts. Durable on return.
    ///
    /// # Errors
    /// [`DepotError::Missing`] if the store has no such parts (any more): perhaps because they have
    /// been joined before.
    pub async fn complete(&self, blob: BlobId, parts: &Parts) -> Result<(), DepotError> {
        let path = path(blob, Variant::Original);
        let tags = parts.tags.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
        let joined = self.store.complete_multipart(&path, &parts.id, tags);
        self.line.ask(Operation::Complete, &path, joined).await.map(|_| ())
    }

    /// Gives the parts up. Fine if there are none any more.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub async fn abort(&self, blob: BlobId, parts: &Parts) -> Result<(), DepotError> {
        let path = path(blob, Variant::Original);
        let aborted = self.store.abort_multipart(&path, &parts.id);
        match self.line.ask(Operation::Abort, &path, aborted).await {
            Err(DepotError::Missing(_)) => Ok(()),
            other => other,
        }
    }
}

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart").finish_non_exhaustive()
    }
}

impl Parts {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tags.len() as u64
    }

    /// A form that is stable: one byte version (1), then the id and the tags, each as two bytes of
    /// length (little endian) and its text.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![VERSION];
        for text in std::iter::once(&self.id).chain(&self.tags) {
            // A store's names are some dozens of bytes; one beyond this is cut and then not found.
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            saved.extend_from_slice(&length.to_le_bytes());
            saved.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
        }
        saved
    }

    /// What [`save`](Self::save) wrote, or `None`.
    #[must_use]
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (version, mut rest) = saved.split_first()?;
        let mut texts = Vec::new();
        while !rest.is_empty() {
            let (length, following) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (text, following) = following.split_at_checked(length)?;
            texts.push(String::from_utf8(text.to_vec()).ok()?);
            rest = following;
        }
        let known = *version == VERSION && !texts.is_empty();
        known.then(|| Self { id: texts.remove(0), tags: texts })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::memory::InMemory;

    use super::*;
    use crate::depot::Depot;

    const BLOB: BlobId = BlobId([0xcd; 16]);

    #[test]
    fn the_saved_form_is_stable() {
        let parts = Parts { id: "up".into(), tags: vec!["\"a\"".into(), String::new()] };
        assert_eq!(parts.save(), b"\x01\x02\x00up\x03\x00\"a\"\x00\x00");
        assert_eq!(Parts::restore(&parts.save()), Some(parts));
        for bad in [&b""[..], b"\x01", b"\x02\x01\x00x", b"\x01\x02\x00x", b"\x01\x01\x00x\x00"] {
            assert_eq!(Parts::restore(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn parts_become_an_object() {
        let depot = Depot::remote(Arc::new(InMemory::new()), Duration::from_secs(10));
        let multipart = depot.multipart().unwrap();
        let mut parts = multipart.begin(BLOB).await.unwrap();
        for piece in ["one ", "two"] {
            multipart.put_next(BLOB, &mut parts, Bytes::from(piece)).await.unwrap();
        }
        assert_eq!(parts.count(), 2);
        let parts = Parts::restore(&parts.save()).unwrap();
        assert_eq!(depot.size(BLOB, Variant::Original).await.unwrap(), None);
        multipart.complete(BLOB, &parts).await.unwrap();
        assert_eq!(depot.size(BLOB, Variant::Original).await.unwrap(), Some(7));
        let given_up = multipart.begin(BLOB).await.unwrap();
        multipart.abort(BLOB, &given_up).await.unwrap();
    }
}
