//! Files that are being sent to a conversation: which, and who may take them.

use async_trait::async_trait;
use skein_core::{
    coming::{Coming, Destination},
    id::{AccountId, BlobId, ConversationId},
    port::resource::{UploadOf, UploadSpec},
};

use crate::StoreError;

/// An upload, complete or not, for whoever wants the bytes of its blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followable {
    /// Whose.
    pub account: AccountId,
    /// What it is.
    pub spec: UploadSpec,
    /// Bytes that its last checkpoint covers.
    pub durable: u64,
    /// Whose members may take the bytes, if its account has said.
    pub conversation: Option<ConversationId>,
}

/// Keeps for whom uploads are meant.
#[async_trait]
pub trait ComingFiles: Send + Sync {
    /// Says for whom an upload is meant. The last word counts.
    ///
    /// # Errors
    /// Refused with `not_found` if there is no such upload any more, also if its id was used again
    /// since.
    async fn address_upload(
        &self,
        upload: UploadOf,
        destination: Destination,
    ) -> Result<(), StoreError>;

    /// The upload that makes, or has made, this blob.
    async fn upload_of(&self, blob: BlobId) -> Result<Option<Followable>, StoreError>;

    /// Files that are being sent to the conversation, the one that was touched last first, at most
    /// `limit`.
    async fn coming_to(
        &self,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<Coming>, StoreError>;
}
