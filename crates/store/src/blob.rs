//! Complete blobs and who may see them.

use async_trait::async_trait;
use skein_core::{
    id::{AccountId, BlobId},
    policy::BlobStanding,
    port::resource::{BlobInfo, Thumbnail},
    time::Timestamp,
};

use crate::StoreError;

/// What all accounts together store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageUse {
    /// Complete blobs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Uploads that are not complete.
    pub open_uploads: u64,
    /// The bytes that these announced.
    pub open_bytes: u64,
}

/// Keeps the records of complete blobs; the bytes are the crate `blob`'s business.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// The blob, if it is complete.
    async fn blob(&self, id: BlobId) -> Result<Option<BlobInfo>, StoreError>;

    /// What the account is to the blob.
    async fn blob_standing(
        &self,
        account: AccountId,
        blob: BlobId,
    ) -> Result<BlobStanding, StoreError>;

    /// [Charged bytes](crate::upload::charged_bytes) of the account's blobs and open uploads.
    async fn used_bytes(&self, account: AccountId) -> Result<u64, StoreError>;

    /// Blobs whose thumbnail is pending, the oldest first, at most `limit`.
    async fn pending_thumbnails(&self, limit: usize) -> Result<Vec<BlobInfo>, StoreError>;

    /// Counts a try at a pending thumbnail. Answers how many there were before; it is called before
    /// the work, which may end the process.
    async fn begin_thumbnail(&self, blob: BlobId) -> Result<u64, StoreError>;

    /// Records what became of a thumbnail. One that is pending still has its tries forgotten.
    async fn set_thumbnail(&self, blob: BlobId, state: Thumbnail) -> Result<(), StoreError>;

    /// Blobs that were completed before `before` and that no entry refers to, at most `limit`.
    async fn unreferenced_blobs(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<BlobId>, StoreError>;

    /// Forgets a blob that no entry refers to. False if one does by now, or there is no such blob:
    /// then its bytes must stay.
    async fn delete_unreferenced_blob(&self, blob: BlobId) -> Result<bool, StoreError>;

    /// What all accounts together store. Reads every record: for operators.
    async fn storage_use(&self) -> Result<StorageUse, StoreError>;

    /// Which of these names belong to a complete blob or to an open upload.
    async fn known_blobs(&self, names: &[BlobId]) -> Result<Vec<BlobId>, StoreError>;
}
