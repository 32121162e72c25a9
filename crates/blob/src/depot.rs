//! Complete blobs and thumbnails in an object store: `blobs/<first two hex digits>/<blob id>` and
//! `thumbnails/…` alike.
//!
//! The local form keeps them as files under the root that also holds the folder of [`staging`], so
//! that publishing is one atomic rename. A remote form will copy the staged file to the remote store
//! at that point; nothing else here knows the difference.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use skein_core::{id::BlobId, port::resource::Variant, time::Timestamp};
use thiserror::Error;
use tokio::task;

use crate::staging::{self, Found};

/// Bytes in one piece of a [`Reader`] at most.
pub const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Keeps complete blobs.
#[derive(Debug, Clone)]
pub struct Depot {
    objects: Arc<dyn ObjectStore>,
}

/// Gives the bytes of one object, in order.
pub struct Reader {
    source: Source,
    left: u64,
}

/// The objects of one kind, read piece by piece.
pub struct Listing(BoxStream<'static, object_store::Result<ObjectMeta>>);

/// Why the depot did not do it.
#[derive(Debug, Error)]
pub enum DepotError {
    /// There is no such object.
    #[error("there is no object {0}")]
    Missing(ObjectPath),
    /// The object store failed.
    #[error("the object store failed to {doing}")]
    Objects {
        /// What was being done, to follow "failed to".
        doing: &'static str,
        /// Its error.
        #[source]
        source: object_store::Error,
    },
    /// The disk failed.
    #[error("the disk failed to {doing}")]
    Disk {
        /// What was being done, to follow "failed to".
        doing: &'static str,
        /// Its error.
        #[source]
        source: io::Error,
    },
}

enum Source {
    File(Arc<File>),
    Stream { pieces: BoxStream<'static, object_store::Result<Bytes>>, rest: Bytes },
}

impl Depot {
    /// Keeps blobs as files under `root`, which is created if needed. Blocks.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn local(root: &Path) -> Result<Self, DepotError> {
        let disk = |source| DepotError::Disk { doing: "open the folder of blobs", source };
        for folder in [folder(Variant::Original), folder(Variant::Thumbnail)] {
            fs::create_dir_all(root.join(folder)).map_err(disk)?;
        }
        let root = root.canonicalize().map_err(disk)?;
        // The names of the folders, and the name of the root itself.
        for folder in root.ancestors().take(2) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk)?;
        }
        let files = LocalFileSystem::new_with_prefix(root)
            .map_err(|source| DepotError::Objects { doing: "open the folder of blobs", source })?;
        // Its puts and renames then sync the file, both folders, and any folder they create.
        Ok(Self { objects: Arc::new(files.with_fsync(true)) })
    }

    /// Moves the staged file into the depot. Durable on return. Doing it again is fine.
    ///
    /// # Errors
    /// [`DepotError::Missing`] if the blob is neither staged nor here.
    pub async fn publish(&self, blob: BlobId) -> Result<(), DepotError> {
        let staged = ObjectPath::from_iter([staging::FOLDER.to_owned(), blob.to_string()]);
        let published = path(blob, Variant::Original);
        match self.objects.rename(&staged, &published).await {
            Err(object_store::Error::NotFound { .. }) => {
                match self.size(blob, Variant::Original).await? {
                    Some(_) => Ok(()),
                    None => Err(DepotError::Missing(staged)),
                }
            }
            other => other.map_err(failed("publish a blob", &published)),
        }
    }

    /// Stores a small object whole. Durable on return.
    ///
    /// # Errors
    /// If the object store does not take it.
    pub async fn put(
        &self,
        blob: BlobId,
        variant: Variant,
        bytes: Bytes,
    ) -> Result<(), DepotError> {
        let path = path(blob, variant);
        let put = self.objects.put(&path, bytes.into()).await;
        put.map(|_| ()).map_err(failed("store an object", &path))
    }

    /// Bytes in the object, or `None` if there is none.
    ///
    /// # Errors
    /// If the object store cannot be asked.
    pub async fn size(&self, blob: BlobId, variant: Variant) -> Result<Option<u64>, DepotError> {
        let path = path(blob, variant);
        match self.objects.head(&path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("look for an object", &path)(error)),
        }
    }

    /// Opens a range of the object, which must not be empty and must lie within it.
    ///
    /// # Errors
    /// [`DepotError::Missing`] if there is no such object.
    pub async fn read(
        &self,
        blob: BlobId,
        variant: Variant,
        range: Range<u64>,
    ) -> Result<Reader, DepotError> {
        let path = path(blob, variant);
        let options = GetOptions::new().with_range(Some(range));
        let opened = self.objects.get_opts(&path, options).await;
        let opened = opened.map_err(failed("open an object", &path))?;
        let range = opened.range.clone();
        let source = match opened.payload {
            // Its own stream would read 8 KiB at a time, each on a blocking thread.
            GetResultPayload::File(mut file, _) => Source::File(Arc::new(
                blocking("seek in a blob", move || {
                    file.seek(SeekFrom::Start(range.start)).map(|_| file)
                })
                .await?,
            )),
            GetResultPayload::Stream(pieces) => Source::Stream { pieces, rest: Bytes::new() },
        };
        Ok(Reader { source, left: opened.range.end - opened.range.start })
    }

    /// Deletes the object, if there is one.
    ///
    /// # Errors
    /// If it is there and stays.
    pub async fn delete(&self, blob: BlobId, variant: Variant) -> Result<(), DepotError> {
        let path = path(blob, variant);
        match self.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("delete an object", &path)(error)),
        }
    }

    /// Begins to list the objects of one kind, in no particular order.
    #[must_use]
    pub fn list(&self, variant: Variant) -> Listing {
        Listing(self.objects.list(Some(&ObjectPath::from(folder(variant)))))
    }
}

impl Reader {
    /// Bytes that are still to come.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes, at most [`PIECE_BYTES_MAX`], or `None` after the last.
    ///
    /// # Errors
    /// If they cannot be read, or the object is shorter than it was when it was opened.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DepotError> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
        let piece = match &mut self.source {
            Source::File(file) => {
                let file = Arc::clone(file);
                blocking("read a blob", move || {
                    let mut piece = Vec::with_capacity(wanted);
                    file.as_ref().take(wanted as u64).read_to_end(&mut piece)?;
                    Ok(Bytes::from(piece))
                })
                .await?
            }
            Source::Stream { pieces, rest } => {
                if rest.is_empty() {
                    let next = pieces.try_next().await;
                    let next =
                        next.map_err(|source| DepotError::Objects { doing: "read a blob", source });
                    *rest = next?.unwrap_or_default();
                }
                rest.split_to(rest.len().min(wanted))
            }
        };
        if piece.is_empty() {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(DepotError::Disk { doing: "read a blob", source });
        }
        self.left -= piece.len() as u64;
        Ok(Some(piece))
    }
}

impl Listing {
    /// The next objects, at most `limit`; fewer only at the end. Objects whose name is no blob id
    /// are somebody else's and left out.
    ///
    /// # Errors
    /// If the object store cannot be read on.
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Found>, DepotError> {
        let mut page = Vec::new();
        while page.len() < limit {
            let Some(object) = self.0.next().await else { break };
            let object =
                object.map_err(|source| DepotError::Objects { doing: "list objects", source })?;
            let blob = object.location.filename().and_then(|name| name.parse().ok());
            let Some(blob) = blob else { continue };
            let changed = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
            page.push(Found { blob, changed: Timestamp(changed) });
        }
        Ok(page)
    }
}

const fn folder(variant: Variant) -> &'static str {
    match variant {
        Variant::Original => "blobs",
        Variant::Thumbnail => "thumbnails",
    }
}

fn path(blob: BlobId, variant: Variant) -> ObjectPath {
    let name = blob.to_string();
    ObjectPath::from_iter([folder(variant), &name[..2], &name])
}

fn failed(
    doing: &'static str,
    path: &ObjectPath,
) -> impl FnOnce(object_store::Error) -> DepotError {
    let path = path.clone();
    move |source| match source {
        object_store::Error::NotFound { .. } => DepotError::Missing(path),
        source => DepotError::Objects { doing, source },
    }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DepotError> {
    let done = task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|source| DepotError::Disk { doing, source })
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::staging::Staging;

    const BLOB: BlobId = BlobId([0xab; 16]);
    const ORIGINAL: Variant = Variant::Original;

    async fn read(depot: &Depot, range: Range<u64>) -> Vec<u8> {
        let mut reader = depot.read(BLOB, ORIGINAL, range).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            assert!(piece.len() <= PIECE_BYTES_MAX);
            bytes.extend_from_slice(&piece);
        }
        bytes
    }

    #[tokio::test]
    async fn publishes_by_renaming_and_again() {
        let root = tempfile::tempdir().unwrap();
        let (staging, depot) =
            (Staging::open(root.path()).unwrap(), Depot::local(root.path()).unwrap());
        assert!(matches!(depot.publish(BLOB).await, Err(DepotError::Missing(_))));
        staging.create(BLOB).unwrap().append(&[Bytes::from_static(b"skein")]).unwrap();
        depot.publish(BLOB).await.unwrap();
        depot.publish(BLOB).await.unwrap();
        assert!(staging.reopen(BLOB, 0).unwrap().is_none());
        let file = root.path().join("blobs/ab").join(BLOB.to_string());
        assert_eq!(fs::read(file).unwrap(), b"skein");
    }

    #[tokio::test]
    async fn reads_ranges_from_files_and_from_streams() {
        let root = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..700_000u32).map(|i| (i % 251) as u8).collect();
        for depot in
            [Depot::local(root.path()).unwrap(), Depot { objects: Arc::new(InMemory::new()) }]
        {
            depot.put(BLOB, ORIGINAL, bytes.clone().into()).await.unwrap();
            assert_eq!(depot.size(BLOB, ORIGINAL).await.unwrap(), Some(700_000));
            assert_eq!(depot.size(BLOB, Variant::Thumbnail).await.unwrap(), None);
            for range in [0..700_000, 0..1, 262_143..524_289, 699_999..700_000] {
                let part = &bytes[range.start as usize..range.end as usize];
                assert!(read(&depot, range.clone()).await == part, "{range:?}");
            }
            let found = depot.list(ORIGINAL).next_page(10).await.unwrap();
            assert_eq!(found.iter().map(|found| found.blob).collect::<Vec<_>>(), [BLOB]);
            depot.delete(BLOB, ORIGINAL).await.unwrap();
            depot.delete(BLOB, ORIGINAL).await.unwrap();
            let gone = depot.read(BLOB, ORIGINAL, 0..1).await;
            assert!(matches!(gone, Err(DepotError::Missing(_))));
        }
    }

    #[tokio::test]
    async fn says_when_a_file_shrinks_under_a_reader() {
        let root = tempfile::tempdir().unwrap();
        let depot = Depot::local(root.path()).unwrap();
        depot.put(BLOB, ORIGINAL, vec![1; 600_000].into()).await.unwrap();
        let mut reader = depot.read(BLOB, ORIGINAL, 0..600_000).await.unwrap();
        reader.next().await.unwrap();
        let path = root.path().join("blobs/ab").join(BLOB.to_string());
        File::options().write(true).open(path).unwrap().set_len(300_000).unwrap();
        reader.next().await.unwrap();
        assert!(reader.next().await.is_err());
    }

    #[tokio::test]
    async fn lists_in_pages() {
        let root = tempfile::tempdir().unwrap();
        let depot = Depot::local(root.path()).unwrap();
        for byte in 0..7 {
            let blob = BlobId([byte; 16]);
            depot.put(blob, Variant::Thumbnail, Bytes::from_static(b"x")).await.unwrap();
        }
        let mut listing = depot.list(Variant::Thumbnail);
        let mut sizes = Vec::new();
        for _ in 0..3 {
            sizes.push(listing.next_page(4).await.unwrap().len());
        }
        assert_eq!(sizes, [4, 3, 0]);
        assert!(depot.list(ORIGINAL).next_page(4).await.unwrap().is_empty());
    }
}
