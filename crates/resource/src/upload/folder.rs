//! Uploads beside the blobs.
//!
//! A write is: append to the staged file and sync it; hash the same bytes; record the checkpoint
//! (durable offset and hash state) in the store. Only then is it acknowledged, so acknowledged
//! bytes survive `kill -9`. A crash in between leaves bytes behind the checkpoint, which the next
//! opening cuts off.
//!
//! Finishing is, in this order:
//!
//! 1. the hash of all bytes is checked; a wrong one ends the upload;
//! 2. the header of a picture is read for its dimensions;
//! 3. the staged file is renamed into the depot;
//! 4. the store makes the blob visible, in one transaction.
//!
//! The rename comes before the record, because a visible blob without its bytes would break
//! invariant 6, while bytes in the depot without a record are visible to nobody. A crash between 3
//! and 4 leaves an open upload whose staged file is gone and whose bytes are in the depot: the next
//! opening takes step 4 at once. It need not hash again, for the name in the depot is given only
//! after step 1. If nobody opens it again, the upload expires and the sweeper deletes those bytes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::counter;
use skein_blob::{
    staging::{StagedFile, Staging},
    thumbnail,
    tree::TreeHasher,
};
use skein_core::{
    id::BlobId,
    port::resource::{BlobInfo, Offsets, OpenUpload, UploadSink, Variant},
    refusal::Refusal,
};
use skein_store::upload::Checkpoint;

use super::{Opening, beyond, completing, incomplete, unknown_end, wrong_hash};
use crate::{ResourceError, metric, reach::End, role::on_disk, table::Slot};

/// An upload that can take the next byte.
#[derive(Debug)]
pub(crate) struct Staged {
    blob: BlobId,
    /// All its bytes are durable and recorded in a checkpoint.
    file: StagedFile,
    /// Over all those bytes.
    hasher: TreeHasher,
}

#[derive(Clone)]
struct Sink {
    opening: Opening,
    staging: Staging,
}

/// Opens an upload whose record stands at `checkpoint`.
pub(super) async fn open(
    opening: Opening,
    staging: Staging,
    slot: &mut Slot,
    checkpoint: Checkpoint,
) -> Result<OpenUpload, ResourceError> {
    let blob = opening.blob;
    let sink = Sink { opening, staging };
    let staged = match slot.staged.take() {
        Some(staged) if staged.blob == blob => staged,
        _ => match sink.load(checkpoint).await? {
            Some(staged) => staged,
            None => return sink.complete_published().await.map(OpenUpload::Complete),
        },
    };
    let received = staged.file.length();
    slot.staged = Some(staged);
    sink.opening.reach.begin(received);
    let offsets = Offsets { received, durable: received };
    Ok(OpenUpload::Partial { blob, offsets, sink: Box::new(sink) })
}

#[async_trait]
impl UploadSink for Sink {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<Offsets, Refusal> {
        let sink = self.clone();
        self.opening.parts.to_end(async move { sink.take_bytes(chunks).await }).await
    }

    async fn finish(self: Box<Self>) -> Result<BlobInfo, Refusal> {
        let parts = Arc::clone(&self.opening.parts);
        parts.to_end(async move { self.make_visible().await }).await
    }
}

impl Sink {
    /// A write. While it runs, the state is out of the slot; if it fails, it stays out, and the
    /// next opening loads the last checkpoint.
    async fn take_bytes(&self, chunks: Vec<Bytes>) -> Result<Offsets, ResourceError> {
        let opening = &self.opening;
        let mut slot = opening.seat.slot().await;
        slot.check(opening.generation)?;
        let mut staged = slot.staged.take().ok_or_else(unknown_end)?;
        let adding: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let received = staged.file.length();
        if adding == 0 || received + adding > opening.spec.size {
            slot.staged = Some(staged);
            return if adding == 0 {
                Ok(Offsets { received, durable: received })
            } else {
                Err(beyond(opening.spec.size).into())
            };
        }
        let staged = on_disk("append to an upload", move || {
            staged.file.append(&chunks)?;
            staged.hasher.update_all(&chunks);
            Ok(staged)
        });
        let staged = staged.await?;
        let durable = staged.file.length();
        let hash_state = staged.hasher.save();
        let checkpoint = Checkpoint { durable, hash_state, ..Checkpoint::default() };
        opening.checkpoint(checkpoint, false).await?;
        slot.staged = Some(staged);
        opening.parts.reaches.received(opening.blob, durable);
        counter!(metric::RECEIVED_BYTES).increment(adding);
        Ok(Offsets { received: durable, durable })
    }

    /// Finishes: see the order of the steps above.
    async fn make_visible(&self) -> Result<BlobInfo, ResourceError> {
        let opening = &self.opening;
        let mut slot = opening.seat.slot().await;
        slot.check(opening.generation)?;
        let staged = slot.staged.take().ok_or_else(unknown_end)?;
        let (received, size) = (staged.file.length(), opening.spec.size);
        if received < size {
            slot.staged = Some(staged);
            return Err(incomplete(received, size).into());
        }
        let Staged { blob, file, hasher } = staged;
        if hasher.finalize() != opening.spec.hash {
            let wrong = wrong_hash();
            opening.parts.reaches.ended(blob, End::Broken(wrong.clone()));
            opening.discard().await?;
            return Err(wrong.into());
        }
        let dimensions = self.probe_staged(file).await?;
        opening.parts.depot.publish(blob).await?;
        self.record(dimensions).await
    }

    /// Finds where the upload stands from its checkpoint, the staged file and the depot. `None` if
    /// its bytes are in the depot: a crash came between the rename and the record.
    async fn load(&self, checkpoint: Checkpoint) -> Result<Option<Staged>, ResourceError> {
        let Opening { parts, spec, blob, .. } = &self.opening;
        let (blob, durable) = (*blob, checkpoint.durable);
        let staging = self.staging.clone();
        let staged = on_disk("open an upload again", move || {
            let Some(mut file) = staging.reopen(blob, durable)? else { return Ok(None) };
            let hasher = rehash(&mut file, &checkpoint)?;
            Ok(Some(Staged { blob, file, hasher }))
        });
        if let Some(staged) = staged.await? {
            return Ok(Some(staged));
        }
        if durable == spec.size && parts.depot.size(blob, Variant::Original).await? == Some(durable)
        {
            return Ok(None);
        }
        if durable > 0 {
            tracing::error!(%blob, durable, "the bytes of an upload are gone; it starts again");
        }
        let staging = self.staging.clone();
        let file = on_disk("create an upload", move || staging.create(blob)).await?;
        Ok(Some(Staged { blob, file, hasher: TreeHasher::new() }))
    }

    /// Steps 2 and 4 for a blob that reached the depot before a crash.
    async fn complete_published(&self) -> Result<BlobInfo, ResourceError> {
        let Opening { parts, spec, blob, .. } = &self.opening;
        let image = spec.media_type.is_image();
        let dimensions = completing::dimensions(parts, *blob, image, spec.size).await?;
        self.record(dimensions).await
    }

    async fn probe_staged(
        &self,
        mut file: StagedFile,
    ) -> Result<Option<(u32, u32)>, ResourceError> {
        if !self.opening.spec.media_type.is_image() {
            return Ok(None);
        }
        let limits = *self.opening.parts.studio.limits();
        on_disk("read a picture's header", move || {
            Ok(thumbnail::probe(&file.head(thumbnail::HEADER_BYTES_MAX)?, &limits))
        })
        .await
    }

    async fn record(&self, dimensions: Option<(u32, u32)>) -> Result<BlobInfo, ResourceError> {
        let (account, id) = self.opening.seat.key();
        completing::record(&self.opening.parts, account, id, self.opening.blob, dimensions).await
    }
}

/// The hash over all bytes of the file: restored as far as the checkpoint covers, then read again,
/// which is at most one part. A state from another version costs reading the whole file.
fn rehash(file: &mut StagedFile, checkpoint: &Checkpoint) -> std::io::Result<TreeHasher> {
    let restored = TreeHasher::restore(&checkpoint.hash_state).ok();
    let (mut hasher, covered) = restored
        .filter(|(_, covered)| *covered <= checkpoint.durable)
        .unwrap_or_else(|| (TreeHasher::new(), 0));
    file.replay(covered, |piece| hasher.update(piece))?;
    Ok(hasher)
}
