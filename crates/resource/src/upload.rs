//! Uploads: opening and resuming, taking bytes, and the steps that make a blob visible.
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
//!
//! A wrong hash deletes the record first and the file second: a crash in between leaves a file that
//! the store does not know, which the sweeper deletes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use skein_blob::{staging::StagedFile, thumbnail, tree::TreeHasher};
use skein_core::{
    id::{AccountId, BlobId},
    port::resource::{BlobInfo, Offsets, OpenUpload, Thumbnail, UploadSink, UploadSpec, Variant},
    refusal::{Code, Refusal},
};
use skein_store::upload::{self, Checkpoint, UploadState};

use crate::{
    ResourceError,
    role::{Parts, on_disk},
    table::{Progress, Seat},
};

/// One opening of an upload.
#[derive(Clone)]
struct Opening {
    parts: Arc<Parts>,
    seat: Seat,
    spec: UploadSpec,
    generation: u64,
    /// What the store calls it.
    recorded: upload::Opening,
}

/// See [`Resource::open_upload`](skein_core::port::resource::Resource::open_upload).
pub(crate) async fn open(
    parts: Arc<Parts>,
    account: AccountId,
    spec: UploadSpec,
) -> Result<OpenUpload, Refusal> {
    if spec.size > parts.config.file_bytes_max {
        let (size, max) = (spec.size, parts.config.file_bytes_max);
        let message = format!("the file has {size} bytes; this server takes files up to {max}");
        return Err(Refusal::new(Code::FileTooLarge, message));
    }
    let seat = parts.table.seat((account, spec.id));
    let mut slot = seat.slot().await;
    let name = BlobId(rand::random());
    let (quota, now) = (parts.config.quota(), parts.clock.now());
    let state = parts.records.open_upload(account, spec.clone(), name, quota, now).await;
    let (blob, checkpoint, recorded) = match state.map_err(|error| error.into_refusal())? {
        UploadState::Complete(info) => return Ok(OpenUpload::Complete(info)),
        UploadState::Receiving { blob, checkpoint, opening }
        | UploadState::Completing { blob, checkpoint, opening } => (blob, checkpoint, opening),
    };
    slot.generation += 1;
    let generation = slot.generation;
    let opening = Opening { parts, seat: seat.clone(), spec, generation, recorded };
    let progress = match slot.progress.take() {
        Some(progress) if progress.blob == blob => progress,
        _ => match opening.load(blob, checkpoint).await.map_err(ResourceError::into_refusal)? {
            Some(progress) => progress,
            None => {
                let info = opening.complete_published(blob).await;
                return info.map(OpenUpload::Complete).map_err(ResourceError::into_refusal);
            }
        },
    };
    let received = progress.file.length();
    slot.progress = Some(progress);
    let offsets = Offsets { received, durable: received };
    Ok(OpenUpload::Partial { blob, offsets, sink: Box::new(opening) })
}

#[async_trait]
impl UploadSink for Opening {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<Offsets, Refusal> {
        let opening = self.clone();
        self.parts.to_end(async move { opening.take_bytes(chunks).await }).await
    }

    async fn finish(self: Box<Self>) -> Result<BlobInfo, Refusal> {
        let parts = Arc::clone(&self.parts);
        parts.to_end(async move { self.make_visible().await }).await
    }
}

impl Opening {
    /// A write. While it runs, the state is out of the slot; if it fails, it stays out, and the
    /// next opening loads the last checkpoint.
    async fn take_bytes(&self, chunks: Vec<Bytes>) -> Result<Offsets, Refusal> {
        let mut slot = self.seat.slot().await;
        slot.check(self.generation)?;
        let mut progress = slot.progress.take().ok_or_else(unknown_end)?;
        let adding: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let received = progress.file.length();
        if adding == 0 || received + adding > self.spec.size {
            slot.progress = Some(progress);
            return if adding == 0 {
                Ok(Offsets { received, durable: received })
            } else {
                Err(beyond(self.spec.size))
            };
        }
        let written = on_disk("append to an upload", move || {
            progress.file.append(&chunks)?;
            progress.hasher.update_all(&chunks);
            Ok(progress)
        });
        let progress = written.await.map_err(ResourceError::into_refusal)?;
        let durable = progress.file.length();
        let hash_state = progress.hasher.save();
        let checkpoint = Checkpoint { durable, hash_state, ..Checkpoint::default() };
        let ((account, id), now) = (self.seat.key(), self.parts.clock.now());
        let records = &self.parts.records;
        let recorded =
            records.checkpoint_upload(account, id, self.recorded, checkpoint, false, now).await;
        recorded.map_err(|error| error.into_refusal())?;
        slot.progress = Some(progress);
        Ok(Offsets { received: durable, durable })
    }

    /// Finishes: see the order of the steps above.
    async fn make_visible(&self) -> Result<BlobInfo, Refusal> {
        let mut slot = self.seat.slot().await;
        slot.check(self.generation)?;
        let progress = slot.progress.take().ok_or_else(unknown_end)?;
        let (received, size) = (progress.file.length(), self.spec.size);
        if received < size {
            slot.progress = Some(progress);
            let message = format!("{received} of {size} bytes are here");
            return Err(Refusal::new(Code::Incomplete, message));
        }
        let Progress { blob, file, hasher } = progress;
        if hasher.finalize() != self.spec.hash {
            self.discard(blob).await.map_err(ResourceError::into_refusal)?;
            let message = "the bytes do not have the BLAKE3 that was announced; start again";
            return Err(Refusal::new(Code::WrongHash, message));
        }
        let info = async {
            let dimensions = self.probe_staged(file).await?;
            self.parts.depot.publish(blob).await?;
            self.record(dimensions).await
        };
        info.await.map_err(ResourceError::into_refusal)
    }

    /// Finds where the upload stands from its checkpoint, the staged file and the depot. `None` if
    /// its bytes are in the depot: a crash came between the rename and the record.
    async fn load(
        &self,
        blob: BlobId,
        checkpoint: Checkpoint,
    ) -> Result<Option<Progress>, ResourceError> {
        let durable = checkpoint.durable;
        let staging = self.parts.staging.clone();
        let staged = on_disk("open an upload again", move || {
            let Some(mut file) = staging.reopen(blob, durable)? else { return Ok(None) };
            let hasher = rehash(&mut file, &checkpoint)?;
            Ok(Some(Progress { blob, file, hasher }))
        });
        if let Some(progress) = staged.await? {
            return Ok(Some(progress));
        }
        if durable == self.spec.size
            && self.parts.depot.size(blob, Variant::Original).await? == Some(durable)
        {
            return Ok(None);
        }
        if durable > 0 {
            tracing::error!(%blob, durable, "the bytes of an upload are gone; it starts again");
        }
        let staging = self.parts.staging.clone();
        let file = on_disk("create an upload", move || staging.create(blob)).await?;
        Ok(Some(Progress { blob, file, hasher: TreeHasher::new() }))
    }

    /// Steps 2 and 4 for a blob that reached the depot before a crash.
    async fn complete_published(&self, blob: BlobId) -> Result<BlobInfo, ResourceError> {
        let mut header = Vec::new();
        let end = self.spec.size.min(thumbnail::HEADER_BYTES_MAX);
        if self.spec.media_type.is_image() && end > 0 {
            let mut reader = self.parts.depot.read(blob, Variant::Original, 0..end).await?;
            while let Some(piece) = reader.next().await? {
                header.extend_from_slice(&piece);
            }
        }
        let limits = *self.parts.studio.limits();
        let probed =
            on_disk("read a picture's header", move || Ok(thumbnail::probe(&header, &limits)));
        self.record(probed.await?).await
    }

    async fn probe_staged(
        &self,
        mut file: StagedFile,
    ) -> Result<Option<(u32, u32)>, ResourceError> {
        if !self.spec.media_type.is_image() {
            return Ok(None);
        }
        let limits = *self.parts.studio.limits();
        on_disk("read a picture's header", move || {
            Ok(thumbnail::probe(&file.head(thumbnail::HEADER_BYTES_MAX)?, &limits))
        })
        .await
    }

    async fn record(&self, dimensions: Option<(u32, u32)>) -> Result<BlobInfo, ResourceError> {
        let ((account, id), now) = (self.seat.key(), self.parts.clock.now());
        let info = self.parts.records.complete_upload(account, id, dimensions, now).await?;
        if info.thumbnail == Thumbnail::Pending {
            self.parts.pictures.notify_one();
        }
        Ok(info)
    }

    async fn discard(&self, blob: BlobId) -> Result<(), ResourceError> {
        let (account, id) = self.seat.key();
        self.parts.records.discard_upload(account, id, None).await?;
        let staging = self.parts.staging.clone();
        on_disk("remove an upload", move || staging.remove(blob)).await?;
        Ok(())
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

fn unknown_end() -> Refusal {
    Refusal::new(Code::Internal, "an earlier write failed; open the upload again")
}

fn beyond(size: u64) -> Refusal {
    let message = format!("more bytes than the {size} that were announced");
    Refusal::new(Code::BeyondSize, message)
}
