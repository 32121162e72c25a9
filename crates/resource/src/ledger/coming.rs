//! The coming files of the store in memory.

use async_trait::async_trait;
use skein_core::{
    coming::{Coming, Destination},
    id::{BlobId, ConversationId},
    port::resource::UploadOf,
    refusal::Code,
};
use skein_store::{
    StoreError,
    coming::{ComingFiles, Followable},
};

use super::{Ledger, refuse};

#[async_trait]
impl ComingFiles for Ledger {
    async fn address_upload(
        &self,
        upload: UploadOf,
        destination: Destination,
    ) -> Result<(), StoreError> {
        let mut book = self.book();
        let found = book.uploads.get_mut(&(upload.account, upload.id));
        let found = found.filter(|found| found.blob == upload.blob);
        found.ok_or_else(|| refuse(Code::NotFound))?.destination = Some(destination);
        Ok(())
    }

    async fn upload_of(&self, blob: BlobId) -> Result<Option<Followable>, StoreError> {
        let book = self.book();
        let found = book.uploads.iter().find(|(_, upload)| upload.blob == blob);
        Ok(found.map(|((account, _), upload)| Followable {
            account: *account,
            spec: upload.spec.clone(),
            durable: upload.checkpoint.durable,
            conversation: upload.destination.as_ref().map(|towards| towards.conversation),
        }))
    }

    async fn coming_to(
        &self,
        _conversation: ConversationId,
        _limit: usize,
    ) -> Result<Vec<Coming>, StoreError> {
        unreachable!("the role lists no coming files")
    }
}
