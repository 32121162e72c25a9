//! Uploads under way: what has to survive `kill -9` so that they continue where they were.

use async_trait::async_trait;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    port::resource::{BlobInfo, Thumbnail, UploadSpec},
    refusal::{Code, Refusal},
    time::Timestamp,
};

use crate::StoreError;

/// Bytes that a file counts against the quota at least. Each costs records and an inode, so without
/// this an account could store any number of empty ones. What was counted is persisted: stable.
pub const FILE_BYTES_CHARGED_MIN: u64 = 4096;

/// Bytes that a file of `size` bytes counts against the quota.
#[must_use]
pub const fn charged_bytes(size: u64) -> u64 {
    if size < FILE_BYTES_CHARGED_MIN { FILE_BYTES_CHARGED_MIN } else { size }
}

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadState {
    /// Bytes are missing.
    Receiving {
        /// The last checkpoint.
        checkpoint: Checkpoint,
        /// Which opening this is: to be named with every change, so that an earlier one, perhaps at
        /// a node that was thought dead, changes nothing any more.
        opening: Opening,
    },
    /// All bytes are there and verified; the object store is making one object of them.
    Completing {
        /// The last checkpoint, which covers all bytes.
        checkpoint: Checkpoint,
        /// As above.
        opening: Opening,
    },
    /// The blob is visible.
    Complete(BlobInfo),
}

/// One opening of an upload. The number alone would not tell it from an opening of an upload that
/// got the same id after this one was thrown away: that one has another blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// What the blob will be called.
    pub blob: BlobId,
    /// How often the upload was opened, this time included.
    pub number: u64,
}

/// A point from which an upload can continue after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Bytes that are durable in staging.
    pub durable: u64,
    /// The state of the hash over the first bytes, in the form of the crate `blob`.
    pub hash_state: Vec<u8>,
    /// What an object store calls the parts that it has, in the form of the crate `blob`; empty
    /// where there are none.
    pub parts: Vec<u8>,
}

/// How much an account may store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// [Charged bytes](charged_bytes) of all its blobs and open uploads together.
    pub bytes: u64,
    /// Open uploads.
    pub open_uploads: u64,
}

impl Quota {
    /// Whether a file of `size` bytes has room beside [charged bytes](charged_bytes) `stored` and
    /// `open` uploads: one rule for every store.
    pub(crate) fn has_room(self, stored: u64, open: u64, size: u64) -> Result<(), Refusal> {
        if open >= self.open_uploads {
            let message = format!("{open} uploads are open already; finish one of them first");
            return Err(Refusal::new(Code::TooMany, message));
        }
        let charged = charged_bytes(size);
        if stored.saturating_add(charged) > self.bytes {
            let left = self.bytes.saturating_sub(stored);
            let message =
                format!("the file takes {charged} bytes and your storage has room for {left}");
            return Err(Refusal::new(Code::Quota, message));
        }
        Ok(())
    }
}

/// The answer to an opening that describes another file than the first one did.
pub(crate) fn other_file() -> Refusal {
    let message = "this upload id was used for another file; draw a new one";
    Refusal::new(Code::UploadConflict, message)
}

/// The answer to a checkpoint of an earlier opening.
pub(crate) fn superseded() -> Refusal {
    let message = "the upload was opened again elsewhere; it goes on there";
    Refusal::new(Code::Superseded, message)
}

/// The answer to a checkpoint of an upload that has all its bytes.
pub(crate) fn has_all_bytes() -> Refusal {
    let message = "all bytes of the upload are there already; it takes no more";
    Refusal::new(Code::BeyondSize, message)
}

/// The blob that an upload of `uploader` has become. One with `dimensions` gets a thumbnail.
pub(crate) fn completed(
    blob: BlobId,
    uploader: AccountId,
    spec: UploadSpec,
    dimensions: Option<(u32, u32)>,
) -> BlobInfo {
    BlobInfo {
        id: blob,
        uploader,
        size: spec.size,
        media_type: spec.media_type,
        hash: spec.hash,
        dimensions,
        thumbnail: if dimensions.is_some() { Thumbnail::Pending } else { Thumbnail::None },
    }
}

/// An open upload as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: UploadId,
    /// What its blob will be called.
    pub blob: BlobId,
    /// Bytes in the whole file.
    pub size: u64,
    /// Bytes that are durable.
    pub durable: u64,
    /// Whether all bytes are there and one object is being made of them.
    pub completing: bool,
    /// When it was opened last, or its last checkpoint.
    pub touched: Timestamp,
}

/// Where an upload stands in the list of the open ones. It goes to the end whenever it is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadPlace {
    /// When it was opened last, or its last checkpoint.
    pub touched: Timestamp,
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: UploadId,
}

impl UploadPlace {
    /// Before all that there are: accounts are numbered from one on.
    pub(crate) const BEGINNING: Self =
        Self { touched: Timestamp(0), account: AccountId(0), id: UploadId([0; 16]) };
}

/// An upload whose bytes are all there and verified, and which is not yet complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletingUpload {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: UploadId,
    /// What its blob will be called.
    pub blob: BlobId,
    /// Bytes in the whole file.
    pub size: u64,
    /// What the client says the bytes are.
    pub media_type: MediaType,
    /// What an object store calls the parts, of which one object is to be made.
    pub parts: Vec<u8>,
}

/// An upload that is to be thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleUpload {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: UploadId,
    /// What its blob would have been called.
    pub blob: BlobId,
    /// When it was opened last, or its last checkpoint.
    pub touched: Timestamp,
    /// What an object store calls the parts that it has, to be given up.
    pub parts: Vec<u8>,
}

/// Keeps uploads under way.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Opens an upload under the name `blob`, or finds the one that has been opened with the same
    /// account and id, whose blob keeps its first name. Earlier openings are superseded. An opening
    /// counts as a touch: whoever looks for stale uploads leaves it alone.
    ///
    /// # Errors
    /// Refused with `upload_conflict` if size, media type or hash differ from the first time, with
    /// `quota` or `too_many` if `quota` has no room.
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
        blob: BlobId,
        quota: Quota,
        now: Timestamp,
    ) -> Result<UploadState, StoreError>;

    /// Records a checkpoint. Returns once it is durable. With `completing`, it covers all bytes, and
    /// the upload takes no more, except that one again.
    ///
    /// # Errors
    /// Refused with `not_found` if the upload was thrown away, also if its id was used again since, or
    /// is complete, with `superseded` if it was opened again, with `beyond_size` if it is completing and the checkpoint is not.
    async fn checkpoint_upload(
        &self,
        account: AccountId,
        id: UploadId,
        opening: Opening,
        checkpoint: Checkpoint,
        completing: bool,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Makes the blob visible (invariant 6). A blob with `dimensions` gets a pending thumbnail.
    /// Completing it again answers the same.
    ///
    /// # Errors
    /// Refused with `not_found` if the upload was thrown away, also if its id was used again since:
    /// that one has another blob, whose bytes nobody has checked.
    async fn complete_upload(
        &self,
        account: AccountId,
        id: UploadId,
        blob: BlobId,
        dimensions: Option<(u32, u32)>,
        now: Timestamp,
    ) -> Result<BlobInfo, StoreError>;

    /// Uploads that have been completing since before `before`, the longest untouched first, at most
    /// `limit`: whoever was completing them may be gone.
    async fn completing_uploads(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<CompletingUpload>, StoreError>;

    /// Open uploads that come after `after` in their list, the longest untouched first, at most
    /// `limit`: for operators.
    async fn open_uploads(
        &self,
        after: Option<UploadPlace>,
        limit: usize,
    ) -> Result<Vec<UploadRecord>, StoreError>;

    /// Throws an open upload away, whose blob would be called `blob`; given a time, only one that was
    /// neither opened nor recorded since then. Whether there was one. One that is completing stays,
    /// unless no time is given.
    async fn discard_upload(
        &self,
        account: AccountId,
        id: UploadId,
        blob: BlobId,
        untouched_since: Option<Timestamp>,
    ) -> Result<bool, StoreError>;

    /// Throws an upload away because its account does not want it any more. Answers what it was, so
    /// that its bytes can follow; `None` if there is none, or all its bytes are there.
    async fn cancel_upload(
        &self,
        account: AccountId,
        id: UploadId,
    ) -> Result<Option<StaleUpload>, StoreError>;

    /// Receiving uploads neither opened nor recorded since `before`, the longest untouched first, at most
    /// `limit`; or those that follow on `after`.
    async fn stale_uploads(
        &self,
        before: Timestamp,
        after: Option<StaleUpload>,
        limit: usize,
    ) -> Result<Vec<StaleUpload>, StoreError>;
}
