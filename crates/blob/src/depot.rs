//! Complete blobs and thumbnails in an object store: `blobs/<first two hex digits>/<blob id>` and
//! `thumbnails/…` alike.
//!
//! The local form keeps them as files under the root that also holds the folder of [`staging`], so
//! that publishing is one atomic rename. The remote form keeps them in a bucket (see [`crate::s3`]):
//! small objects are put whole, large ones go there in parts while they arrive
//! (see [`crate::multipart`]). Reading, listing and deleting are the same for both.

mod error;
mod read;
pub(crate) mod request;

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use object_store::{
    ObjectStore, ObjectStoreExt, local::LocalFileSystem, multipart::MultipartStore,
    path::Path as ObjectPath,
};
use skein_core::{id::BlobId, port::resource::Variant};

use self::request::{Line, Operation};
pub use self::{
    error::DepotError,
    read::{Listing, PIECE_BYTES_MAX, Reader},
};
use crate::{multipart::Multipart, staging};

/// Keeps complete blobs.
#[derive(Debug, Clone)]
pub struct Depot {
    objects: Arc<dyn ObjectStore>,
    line: Line,
    /// Only of the remote form.
    multipart: Option<Multipart>,
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
        let objects = Arc::new(files.with_fsync(true));
        Ok(Self { objects, line: Line::Folder, multipart: None })
    }

    /// Keeps blobs in a store on another machine, where a small request may take `deadline`.
    pub(crate) fn remote<S: ObjectStore + MultipartStore>(
        store: Arc<S>,
        deadline: Duration,
    ) -> Self {
        let line = Line::Remote(deadline);
        let multipart = Some(Multipart { store: store.clone(), line });
        Self { objects: store, line, multipart }
    }

    /// The way for large objects into a remote store; `None` for the local form.
    #[must_use]
    pub const fn multipart(&self) -> Option<&Multipart> {
        self.multipart.as_ref()
    }

    /// Moves the staged file into the depot of the local form. Durable on return. Doing it again is
    /// fine.
    ///
    /// # Errors
    /// [`DepotError::Missing`] if the blob is neither staged nor here.
    pub async fn publish(&self, blob: BlobId) -> Result<(), DepotError> {
        let staged = ObjectPath::from_iter([staging::FOLDER.to_owned(), blob.to_string()]);
        let published = path(blob, Variant::Original);
        let renamed = self.objects.rename(&staged, &published);
        match self.line.ask(Operation::Publish, &published, renamed).await {
            Err(DepotError::Missing(_)) => match self.size(blob, Variant::Original).await? {
                Some(_) => Ok(()),
                None => Err(DepotError::Missing(staged)),
            },
            other => other,
        }
    }

    /// Stores a small object whole. Durable on return. Doing it again replaces it.
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
        let put = self.objects.put(&path, bytes.into());
        self.line.ask(Operation::Put, &path, put).await.map(|_| ())
    }

    /// Bytes in the object, or `None` if there is none.
    ///
    /// # Errors
    /// If the object store cannot be asked.
    pub async fn size(&self, blob: BlobId, variant: Variant) -> Result<Option<u64>, DepotError> {
        let path = path(blob, variant);
        match self.line.ask(Operation::Look, &path, self.objects.head(&path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(DepotError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the object, if there is one.
    ///
    /// # Errors
    /// If it is there and stays.
    pub async fn delete(&self, blob: BlobId, variant: Variant) -> Result<(), DepotError> {
        let path = path(blob, variant);
        match self.line.ask(Operation::Delete, &path, self.objects.delete(&path)).await {
            Err(DepotError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    /// Whether the object store answers and has the bucket: lists a folder that nobody has. Looking
    /// for an object would not do, as a store without the bucket says the same of each.
    ///
    /// # Errors
    /// If it does not answer; [`DepotError::Unusable`] if the bucket is not there.
    pub async fn reach(&self) -> Result<(), DepotError> {
        let path = path(BlobId([0; 16]), Variant::Original);
        let listed = self.objects.list_with_delimiter(Some(&path));
        match self.line.ask(Operation::List, &path, listed).await {
            Err(DepotError::Missing(_)) => {
                Err(DepotError::Unusable("the object store has no such bucket".into()))
            }
            other => other.map(|_| ()),
        }
    }

    /// Whether the object store does all that it is needed for: puts an object under a name that
    /// the caller drew for this, looks for it, lists it and deletes it. For operators.
    ///
    /// # Errors
    /// The first that it does not do.
    pub async fn check(&self, name: BlobId) -> Result<(), DepotError> {
        let variant = Variant::Thumbnail;
        self.put(name, variant, Bytes::from_static(b"skein")).await?;
        let found = self.size(name, variant).await;
        let listed = self.list(variant).next_page(1).await;
        self.delete(name, variant).await?;
        if found?.is_none() {
            return Err(DepotError::Missing(path(name, variant)));
        }
        listed.map(|_| ())
    }
}

const fn folder(variant: Variant) -> &'static str {
    match variant {
        Variant::Original => "blobs",
        Variant::Thumbnail => "thumbnails",
    }
}

pub(crate) fn path(blob: BlobId, variant: Variant) -> ObjectPath {
    let name = blob.to_string();
    ObjectPath::from_iter([folder(variant), &name[..2], &name])
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

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
        let remote = Depot::remote(Arc::new(InMemory::new()), Duration::from_secs(10));
        for depot in [Depot::local(root.path()).unwrap(), remote] {
            depot.check(BlobId([9; 16])).await.unwrap();
            depot.reach().await.unwrap();
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
