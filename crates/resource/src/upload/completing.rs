//! The last steps of an upload, which whoever finds it there takes: the opening that has all its
//! bytes, the next opening after a crash, or the sweeper of any node.
//!
//! By then the hash of all bytes was checked and the record says `completing`, with the names of all
//! parts. What is left to do is: join the parts to an object, look that it is there, and let the
//! store make the blob visible. Each step may be repeated, and two nodes may take them at once. If
//! the object store has neither the parts nor the object, the upload is given up: its client finds
//! that it has to begin anew.

use skein_blob::{multipart, thumbnail};
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    port::resource::{BlobInfo, Thumbnail, UploadSpec, Variant},
};
use skein_store::upload::CompletingUpload;

use super::thrown_away;
use crate::{ResourceError, metric, reach::End, role::Parts, role::on_disk};
use metrics::counter;
use skein_blob::depot::DepotError;

/// An upload that is to be completed.
#[derive(Debug)]
pub(crate) struct Job {
    account: AccountId,
    id: UploadId,
    blob: BlobId,
    size: u64,
    image: bool,
    /// The parts as they were recorded.
    recorded: Vec<u8>,
}

impl Job {
    /// The upload that was opened with `spec`.
    pub(super) fn opened(
        account: AccountId,
        spec: &UploadSpec,
        blob: BlobId,
        recorded: Vec<u8>,
    ) -> Self {
        let image = spec.media_type.is_image();
        Self { account, id: spec.id, blob, size: spec.size, image, recorded }
    }
}

impl From<CompletingUpload> for Job {
    fn from(found: CompletingUpload) -> Self {
        let CompletingUpload { account, id, blob, size, media_type, parts } = found;
        Self { account, id, blob, size, image: media_type.is_image(), recorded: parts }
    }
}

/// Takes the last steps. `None` if the upload had to be given up.
pub(crate) async fn finish(parts: &Parts, job: &Job) -> Result<Option<BlobInfo>, ResourceError> {
    let held = multipart::Parts::restore(&job.recorded);
    if let (Some(multipart), Some(held)) = (parts.depot.multipart(), &held) {
        match multipart.complete(job.blob, held).await {
            // Perhaps they have been joined already.
            Ok(()) | Err(DepotError::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let size = parts.depot.size(job.blob, Variant::Original).await?;
    if size != Some(job.size) {
        let blob = job.blob;
        // Where even the bucket is gone, somebody may bring it back: nothing is given up.
        parts.depot.reach().await?;
        tracing::error!(%blob, object.size = size, "the parts of an upload are gone; it starts again");
        give_up(parts, job, held).await?;
        return Ok(None);
    }
    let dimensions = dimensions(parts, job.blob, job.image, job.size).await?;
    let info = record(parts, job.account, job.id, job.blob, dimensions).await?;
    parts.incoming.remove(job.blob).await?;
    Ok(Some(info))
}

/// Makes the blob visible, whose bytes are in the depot.
pub(crate) async fn record(
    parts: &Parts,
    account: AccountId,
    id: UploadId,
    blob: BlobId,
    dimensions: Option<(u32, u32)>,
) -> Result<BlobInfo, ResourceError> {
    let now = parts.clock.now();
    let info = parts.records.complete_upload(account, id, blob, dimensions, now).await?;
    parts.reaches.ended(blob, End::Complete);
    counter!(metric::BLOBS).increment(1);
    if info.thumbnail == Thumbnail::Pending {
        parts.pictures.notify_one();
    }
    Ok(info)
}

/// Width and height of a picture whose bytes are in the depot.
pub(crate) async fn dimensions(
    parts: &Parts,
    blob: BlobId,
    image: bool,
    size: u64,
) -> Result<Option<(u32, u32)>, ResourceError> {
    let end = size.min(thumbnail::HEADER_BYTES_MAX);
    if !image || end == 0 {
        return Ok(None);
    }
    let mut header = Vec::new();
    let mut reader = parts.depot.read(blob, Variant::Original, 0..end).await?;
    while let Some(piece) = reader.next().await? {
        header.extend_from_slice(&piece);
    }
    probe(parts, header).await
}

/// Width and height of a picture that begins like this.
pub(crate) async fn probe(
    parts: &Parts,
    header: Vec<u8>,
) -> Result<Option<(u32, u32)>, ResourceError> {
    let limits = *parts.studio.limits();
    on_disk("read a picture's header", move || Ok(thumbnail::probe(&header, &limits))).await
}

async fn give_up(
    parts: &Parts,
    job: &Job,
    held: Option<multipart::Parts>,
) -> Result<(), ResourceError> {
    if let (Some(multipart), Some(held)) = (parts.depot.multipart(), held) {
        multipart.abort(job.blob, &held).await?;
    }
    parts.records.discard_upload(job.account, job.id, job.blob, None).await?;
    parts.reaches.ended(job.blob, thrown_away());
    parts.depot.delete(job.blob, Variant::Original).await?;
    parts.incoming.remove(job.blob).await
}
