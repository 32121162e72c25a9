//! Uploads: opening and resuming, and what the two ways to a visible blob have in common.
//!
//! `folder` is the way beside the blobs: a write is durable when it is answered, and the file is
//! renamed into place at the end. `spooled` is the way to an object store: a write is synced here,
//! and durable once its whole part is there. Both check the hash of all bytes before anybody can see
//! the blob, and tell in their own words what a crash between any two of their steps leaves.
//!
//! Every opening is counted by the store, which refuses the checkpoints of all but the last: a node
//! that was thought dead, or a connection that was, changes nothing any more. Within one process the
//! slot of the `table` does the same, so that only the last opening writes to the disk.

pub(crate) mod completing;
mod courier;
pub(crate) mod folder;
pub(crate) mod spooled;

use std::{sync::Arc, time::Duration};

use skein_blob::multipart;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    port::resource::{OpenUpload, UploadSpec, Variant},
    refusal::{Code, Refusal},
};
use skein_store::upload::{self, Checkpoint, StaleUpload, UploadState};
use tokio::{sync::OwnedMutexGuard, time::timeout};

use crate::{
    ResourceError,
    incoming::Incoming,
    reach::{End, Hold},
    role::Parts,
    table::{Seat, Slot},
};

/// How often an upload is opened for one request: once, and again if what was there had to be given
/// up.
const OPENINGS_MAX: usize = 2;
/// How long an opening waits for an earlier one that is at work in this process.
const SLOT_PATIENCE: Duration = Duration::from_secs(3);
/// When to try again while an earlier opening finishes: most need less than this from here on.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// One opening of an upload.
#[derive(Clone)]
struct Opening {
    parts: Arc<Parts>,
    seat: Seat,
    spec: UploadSpec,
    blob: BlobId,
    generation: u64,
    /// Where those who follow it listen.
    reach: Hold,
    /// What the store calls it.
    recorded: upload::Opening,
}

/// See [`Resource::open_upload`](skein_core::port::resource::Resource::open_upload).
pub(crate) async fn open(
    parts: Arc<Parts>,
    account: AccountId,
    spec: UploadSpec,
) -> Result<OpenUpload, Refusal> {
    let max = parts.config.file_bytes_max.min(parts.incoming.file_bytes_max());
    if spec.size > max {
        let size = spec.size;
        let message = format!("the file has {size} bytes; this server takes files up to {max}");
        return Err(Refusal::new(Code::FileTooLarge, message));
    }
    let seat = parts.table.seat((account, spec.id));
    // Another opening may be finishing for longer than anybody's patience. Whoever gives up waiting must not come to open it
    // after all: by then the client may have opened it at another node.
    let slot = timeout(SLOT_PATIENCE, seat.slot()).await.map_err(|_| busy())?;
    let there = Arc::clone(&parts);
    parts.to_end(open_there(there, seat, slot, account, spec)).await
}

async fn open_there(
    parts: Arc<Parts>,
    seat: Seat,
    mut slot: OwnedMutexGuard<Slot>,
    account: AccountId,
    spec: UploadSpec,
) -> Result<OpenUpload, ResourceError> {
    for _ in 0..OPENINGS_MAX {
        let name = BlobId(rand::random());
        let (quota, now) = (parts.config.quota(), parts.clock.now());
        let state = parts.records.open_upload(account, spec.clone(), name, quota, now).await;
        let (checkpoint, recorded) = match state? {
            UploadState::Complete(info) => return Ok(OpenUpload::Complete(info)),
            UploadState::Completing { checkpoint, opening } => {
                let blob = opening.blob;
                let job = completing::Job::opened(account, &spec, blob, checkpoint.parts);
                match completing::finish(&parts, &job).await? {
                    Some(info) => return Ok(OpenUpload::Complete(info)),
                    None => continue,
                }
            }
            UploadState::Receiving { checkpoint, opening } => (checkpoint, opening),
        };
        slot.generation += 1;
        let generation = slot.generation;
        let (parts, seat) = (Arc::clone(&parts), seat.clone());
        let blob = recorded.blob;
        let reach = parts.reaches.hold(blob);
        let opening = Opening { parts, seat, spec, blob, generation, reach, recorded };
        return match opening.parts.incoming.clone() {
            Incoming::Folder(staging) => {
                folder::open(opening, staging, &mut slot, checkpoint).await
            }
            Incoming::Spool(lane) => spooled::open(opening, lane, &mut slot, checkpoint).await,
        };
    }
    tracing::error!("an upload that was given up is still there");
    Err(Refusal::internal().into())
}

/// See [`Resource::discard_upload`](skein_core::port::resource::Resource::discard_upload).
pub(crate) async fn discard(
    parts: Arc<Parts>,
    account: AccountId,
    id: UploadId,
) -> Result<(), Refusal> {
    let seat = parts.table.seat((account, id));
    let slot = timeout(SLOT_PATIENCE, seat.slot()).await.map_err(|_| busy())?;
    let there = Arc::clone(&parts);
    parts.to_end(discard_there(there, seat, slot)).await
}

async fn discard_there(
    parts: Arc<Parts>,
    seat: Seat,
    mut slot: OwnedMutexGuard<Slot>,
) -> Result<(), ResourceError> {
    // Once its record is gone, nobody would know of parts that stay at a store that is away.
    parts.depot.reach().await?;
    let (account, id) = seat.key();
    let Some(gone) = parts.records.cancel_upload(account, id).await? else { return Ok(()) };
    // Whoever has it open here is told with the next bytes; elsewhere, with the next checkpoint.
    let generation = slot.generation + 1;
    *slot = Slot { generation, ..Slot::default() };
    remove_bytes(&parts, &gone).await
}

/// Removes the bytes of an upload whose record is gone.
pub(crate) async fn remove_bytes(parts: &Parts, gone: &StaleUpload) -> Result<(), ResourceError> {
    parts.reaches.ended(gone.blob, thrown_away());
    parts.incoming.remove(gone.blob).await?;
    let held = multipart::Parts::restore(&gone.parts);
    if let (Some(multipart), Some(held)) = (parts.depot.multipart(), held) {
        multipart.abort(gone.blob, &held).await?;
    }
    // Its bytes are there if a crash came before the last step of finishing.
    parts.depot.delete(gone.blob, Variant::Original).await?;
    Ok(())
}

impl Opening {
    /// Records where the upload stands.
    async fn checkpoint(
        &self,
        checkpoint: Checkpoint,
        completing: bool,
    ) -> Result<(), ResourceError> {
        let ((account, id), now) = (self.seat.key(), self.parts.clock.now());
        let records = &self.parts.records;
        let recorded =
            records.checkpoint_upload(account, id, self.recorded, checkpoint, completing, now);
        Ok(recorded.await?)
    }

    /// Throws the upload away: the record first and the bytes second. A crash in between leaves
    /// bytes that the store does not know, which the sweeper deletes.
    async fn discard(&self) -> Result<(), ResourceError> {
        let (account, id) = self.seat.key();
        self.parts.records.discard_upload(account, id, self.blob, None).await?;
        self.parts.reaches.ended(self.blob, thrown_away());
        self.parts.incoming.remove(self.blob).await
    }
}

/// Not `unavailable`: for that, whoever asks would go to another node, where the upload would be
/// opened away from the one that is finishing it here.
fn busy() -> Refusal {
    let message = "the upload is being finished; open it again in a moment";
    let busy = Refusal::new(Code::TimedOut, message);
    Refusal { retry_after: Some(BUSY_RETRY_AFTER), ..busy }
}

/// What those hear who follow an upload of which nothing will come.
fn thrown_away() -> End {
    End::Broken(Refusal::not_found("file"))
}

fn incomplete(received: u64, size: u64) -> Refusal {
    Refusal::new(Code::Incomplete, format!("{received} of {size} bytes are here"))
}

fn wrong_hash() -> Refusal {
    let message = "the bytes do not have the BLAKE3 that was announced; start again";
    Refusal::new(Code::WrongHash, message)
}

fn unknown_end() -> Refusal {
    Refusal::new(Code::Internal, "an earlier write failed; open the upload again")
}

fn beyond(size: u64) -> Refusal {
    let message = format!("more bytes than the {size} that were announced");
    Refusal::new(Code::BeyondSize, message)
}
