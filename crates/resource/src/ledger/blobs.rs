//! The blobs of the store in memory.

use std::collections::HashSet;

use async_trait::async_trait;
use skein_core::{
    id::{AccountId, BlobId},
    policy::BlobStanding,
    port::resource::{BlobInfo, Thumbnail},
    time::Timestamp,
};
use skein_store::{
    StoreError,
    blob::{Blobs, StorageUse},
};

use super::{Ledger, fault};

#[async_trait]
impl Blobs for Ledger {
    async fn blob(&self, id: BlobId) -> Result<Option<BlobInfo>, StoreError> {
        Ok(self.book().blobs.get(&id).map(|blob| blob.0.clone()))
    }

    async fn blob_standing(
        &self,
        account: AccountId,
        blob: BlobId,
    ) -> Result<BlobStanding, StoreError> {
        let uploader = self.book().blobs.get(&blob).is_some_and(|blob| blob.0.uploader == account);
        Ok(BlobStanding { uploader, shared_with: false })
    }

    async fn used_bytes(&self, account: AccountId) -> Result<u64, StoreError> {
        Ok(self.book().used(account))
    }

    async fn pending_thumbnails(&self, limit: usize) -> Result<Vec<BlobInfo>, StoreError> {
        let book = self.book();
        let infos = book.blobs.values().map(|blob| &blob.0);
        let pending = infos.filter(|info| info.thumbnail == Thumbnail::Pending);
        Ok(pending.take(limit).cloned().collect())
    }

    async fn begin_thumbnail(&self, blob: BlobId) -> Result<u64, StoreError> {
        let mut book = self.book();
        let tries = book.tries.entry(blob).or_default();
        *tries += 1;
        Ok(*tries - 1)
    }

    async fn set_thumbnail(&self, blob: BlobId, state: Thumbnail) -> Result<(), StoreError> {
        let mut book = self.book();
        if std::mem::take(&mut book.fail_thumbnail) {
            return Err(fault("record a thumbnail"));
        }
        if let Some((info, _)) = book.blobs.get_mut(&blob) {
            info.thumbnail = state;
        }
        book.tries.remove(&blob);
        Ok(())
    }

    async fn unreferenced_blobs(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<BlobId>, StoreError> {
        let book = self.book();
        let old = book.blobs.iter().filter(|(_, (_, completed))| *completed < before);
        let loose = old.map(|(id, _)| *id).filter(|id| !book.referenced.contains(id));
        Ok(loose.take(limit).collect())
    }

    async fn delete_unreferenced_blob(&self, blob: BlobId) -> Result<bool, StoreError> {
        let mut book = self.book();
        if book.referenced.contains(&blob) || book.blobs.remove(&blob).is_none() {
            return Ok(false);
        }
        book.uploads.retain(|_, upload| upload.blob != blob);
        Ok(true)
    }

    async fn storage_use(&self) -> Result<StorageUse, StoreError> {
        let book = self.book();
        let open = book.records();
        Ok(StorageUse {
            blobs: book.blobs.len() as u64,
            blob_bytes: book.blobs.values().map(|blob| blob.0.size).sum(),
            open_uploads: open.len() as u64,
            open_bytes: open.iter().map(|upload| upload.size).sum(),
        })
    }

    async fn known_blobs(&self, names: &[BlobId]) -> Result<Vec<BlobId>, StoreError> {
        let book = self.book();
        let known: HashSet<_> = book.uploads.values().map(|upload| upload.blob).collect();
        Ok(names.iter().copied().filter(|name| known.contains(name)).collect())
    }
}
