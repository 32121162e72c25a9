//! What the chat nodes ask of the resource role. Whether an account may do it has been decided
//! before: see [`policy`](crate::policy).

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    refusal::Refusal,
};

/// Downloads that follow uploads in one process of the resource role: each holds a file open for as
/// long as a sender may take, and a stream of the connection to its chat node, of which other calls
/// need some too.
pub const FOLLOWERS_MAX: usize = 512;

/// A file that a client wants to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSpec {
    /// The client's id for it, unique to the account. Opening it again resumes.
    pub id: UploadId,
    /// Bytes in the whole file.
    pub size: u64,
    /// What the client says the bytes are.
    pub media_type: MediaType,
    /// BLAKE3 of the whole file.
    pub hash: [u8; 32],
}

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offsets {
    /// Bytes that the server has taken in: where the next one goes. They survive what happens to the
    /// client, and may be lost with the server.
    pub received: u64,
    /// Bytes that survive `kill -9` of the server and a loss of its power; in a cluster, the loss of
    /// its machine. Never more than `received`.
    pub durable: u64,
}

/// A complete and verified blob (invariant 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// The blob.
    pub id: BlobId,
    /// Who uploaded it.
    pub uploader: AccountId,
    /// Bytes.
    pub size: u64,
    /// What the uploader says the bytes are.
    pub media_type: MediaType,
    /// BLAKE3 of the whole, checked by the server.
    pub hash: [u8; 32],
    /// If the bytes begin like a picture within the decode limits: its width and height in pixels.
    pub dimensions: Option<(u32, u32)>,
    /// Whether there is a small version.
    pub thumbnail: Thumbnail,
}

/// Whether a blob has a small version. The numbers are stored: stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thumbnail {
    /// The blob is no picture.
    None = 0,
    /// It is being made.
    Pending = 1,
    /// It can be downloaded.
    Ready = 2,
    /// The picture could not be decoded within the limits.
    Failed = 3,
}

/// Which bytes of a blob to download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The bytes that were uploaded.
    Original,
    /// A JPEG of at most [`THUMBNAIL_EDGE_PX`](crate::limit::THUMBNAIL_EDGE_PX) on the longer edge.
    Thumbnail,
}

/// Keeps blobs.
#[async_trait]
pub trait Resource: Send + Sync {
    /// Opens or resumes an upload. Whoever had it open before is superseded.
    ///
    /// # Errors
    /// `file_too_large`, `quota`, `upload_conflict`, `too_many` open uploads.
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
    ) -> Result<OpenUpload, Refusal>;

    /// Throws an upload of the account away, with its bytes, unless all of them are there. Whoever has
    /// it open is superseded. One that is not known is none to throw away: no error.
    ///
    /// # Errors
    /// `timed_out` while its last bytes are worked on; `unavailable` if the bytes cannot be reached.
    async fn discard_upload(&self, account: AccountId, id: UploadId) -> Result<(), Refusal>;

    /// Opens a complete blob for reading from `offset`, at most `length` bytes or to its end.
    ///
    /// # Errors
    /// `not_found`; `wrong_offset` beyond the end; for a thumbnail `thumbnail_pending` or
    /// `bad_picture`.
    async fn open_download(
        &self,
        blob: BlobId,
        variant: Variant,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal>;

    /// Opens the original of a blob that may not be complete yet, for reading from `offset` on: what
    /// is not there is given as it is received. The source ends after its last byte once the blob is
    /// complete, and not before; one that will never be ends with an error.
    ///
    /// # Errors
    /// As [`open_download`](Self::open_download); `unavailable` if the bytes that are here cannot be
    /// given before the blob is complete.
    async fn follow_upload(
        &self,
        upload: UploadOf,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal>;
}

/// Names an upload and what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadOf {
    /// Whose.
    pub account: AccountId,
    /// What its account calls it.
    pub id: UploadId,
    /// The blob that it is going to be. Its account may use the id again once it is thrown away.
    pub blob: BlobId,
}

/// What opening an upload answers.
pub enum OpenUpload {
    /// All bytes were there already: a retry after the last answer was lost.
    Complete(BlobInfo),
    /// Bytes are missing.
    Partial {
        /// What the blob will be called.
        blob: BlobId,
        /// Where the next byte goes, and how far it is durable.
        offsets: Offsets,
        /// Takes the bytes.
        sink: Box<dyn UploadSink>,
    },
}

/// Takes the bytes of one upload, in order. Dropping it leaves the upload open to be resumed.
#[async_trait]
pub trait UploadSink: Send {
    /// Takes the next bytes. They are durable once the offsets say so.
    ///
    /// # Errors
    /// `beyond_size` if the file would get larger than announced, `superseded` if the upload was
    /// opened again, `unavailable` or `internal` if the bytes cannot be stored: open it again.
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<Offsets, Refusal>;

    /// All bytes have been written: checks the hash and makes the blob visible.
    ///
    /// # Errors
    /// `incomplete` if bytes are missing (the upload stays open); `wrong_hash` (the upload is
    /// thrown away).
    async fn finish(self: Box<Self>) -> Result<BlobInfo, Refusal>;
}

/// What opening a download answers.
pub struct OpenDownload {
    /// Bytes of the whole variant.
    pub size: u64,
    /// What the bytes of this variant are.
    pub media_type: MediaType,
    /// BLAKE3 of the original; of a thumbnail nothing is promised.
    pub hash: Option<[u8; 32]>,
    /// Bytes that the source will give.
    pub length: u64,
    /// Gives the bytes.
    pub source: Box<dyn DownloadSource>,
}

/// Gives the bytes of one download, in order.
#[async_trait]
pub trait DownloadSource: Send {
    /// The next bytes, or `None` after the last. A piece has at most 256 KiB.
    ///
    /// # Errors
    /// `internal` if the bytes cannot be read. Of an upload that is followed: `timed_out` if it stands
    /// still for [`FOLLOW_IDLE_TIMEOUT`](crate::limit::FOLLOW_IDLE_TIMEOUT), `unavailable` or
    /// `draining` if it cannot be followed here any more, `wrong_hash` or `not_found` if it will
    /// never be a blob.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal>;
}
