//! Uploads to an object store, through the spool.
//!
//! A write is: append to the spooled part and sync it; hash the same bytes. Then it is received: it
//! survives whatever happens to the client. When a part is full, the courier takes it to the object
//! store and records the checkpoint; from then on its bytes are durable, and any node can go on from
//! there. The last part goes there when the upload is finished, in this order:
//!
//! 1. the hash of all bytes is checked; a wrong one ends the upload;
//! 2. the last part goes to the object store; a file of one part is put there whole, and 5 follows;
//! 3. the record says `completing`: from here on all is there, and the client is not needed;
//! 4. the parts are joined;
//! 5. the store makes the blob visible, in one transaction.
//!
//! A crash before 3 leaves an upload that is continued: here at its last byte, elsewhere at its last
//! recorded part. One after 3 leaves an upload that the next opening or the sweeper completes. A
//! file of one part that was put and not recorded is put again, or swept when the upload expires.
//!
//! What lies in the spool beyond the record is taken as it is found, without knowing whether a loss
//! of power left it whole, and its full parts reach the object store and the record. If the hash is
//! wrong in the end, that may be why: then an upload that was resumed anywhere begins anew, and the
//! client is told that the bytes are not what it announced once all came through one opening.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{counter, histogram};
use skein_blob::{
    depot::DepotError,
    multipart,
    spool::{PART_BYTES, Spooled},
    thumbnail,
    tree::TreeHasher,
};
use skein_core::{
    port::resource::{BlobInfo, Offsets, OpenUpload, UploadSink, Variant},
    refusal::{Code, Refusal},
    time::Timestamp,
};
use skein_store::upload::Checkpoint;
use tokio::time::Instant;

use super::{
    Opening, beyond, completing,
    courier::{AHEAD_BYTES_MAX, Courier, Note},
    incomplete, unknown_end, wrong_hash,
};
use crate::{
    ResourceError, follow, incoming::Lane, metric, reach::End, role::on_disk, table::Slot,
};

/// An upload whose bytes arrive is recorded so many times in the time after which it would expire.
const TOUCHES_BEFORE_EXPIRY: u32 = 4;

/// An upload that can take the next byte.
#[derive(Debug)]
pub(crate) struct Arriving {
    spooled: Spooled,
    /// Over all bytes up to the end of the spooled ones.
    hasher: TreeHasher,
    /// Whether some bytes came through an earlier opening.
    found: bool,
    /// When the record was last touched, as far as this opening knows.
    touched: Timestamp,
}

#[derive(Clone)]
struct Sink {
    opening: Opening,
    lane: Arc<Lane>,
    courier: Courier,
}

/// Where the record says that an upload stands.
struct Stand {
    /// The first part that the object store does not have.
    first: u64,
    hasher: TreeHasher,
    held: Option<multipart::Parts>,
}

/// Opens an upload whose record stands at `checkpoint`.
///
/// An earlier opening here leaves nothing in memory for this one: meanwhile, the upload may have
/// gone on at another node.
pub(super) async fn open(
    opening: Opening,
    lane: Arc<Lane>,
    slot: &mut Slot,
    checkpoint: Checkpoint,
) -> Result<OpenUpload, ResourceError> {
    slot.arriving = None;
    let blob = opening.blob;
    let (checkpoint, stand) = match stand(&checkpoint) {
        Some(stand) => (checkpoint, stand),
        None => {
            let durable = checkpoint.durable;
            tracing::error!(%blob, durable, "the parts of an upload are unknown; it starts again");
            opening.begin_anew(multipart::Parts::restore(&checkpoint.parts)).await?;
            (Checkpoint::default(), Stand { first: 0, hasher: TreeHasher::new(), held: None })
        }
    };
    let Stand { first, hasher, held } = stand;
    let (spool, size, touched) = (lane.spool.clone(), opening.spec.size, opening.parts.clock.now());
    let kept = lane.kept.from(blob, first);
    let (arriving, backlog) = on_disk("open an upload again", move || {
        let spooled = spool.resume(blob, first, kept, size)?;
        let found = spooled.length() > 0;
        Arriving { spooled, hasher, found, touched }.catch_up(first)
    })
    .await?;
    let offsets = Offsets { received: arriving.spooled.length(), durable: checkpoint.durable };
    slot.arriving = Some(arriving);
    opening.reach.begin(offsets.received);
    let courier = Courier::send(opening.clone(), Arc::clone(&lane), checkpoint, held, backlog);
    let sink = Box::new(Sink { opening, lane, courier });
    Ok(OpenUpload::Partial { blob, offsets, sink })
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
    /// A write. While the disk works, the state is out of the slot; if it fails, it stays out, and
    /// the next opening looks what is there.
    async fn take_bytes(&self, mut chunks: Vec<Bytes>) -> Result<Offsets, ResourceError> {
        let opening = &self.opening;
        let size = opening.spec.size;
        loop {
            // Before anything is taken in, and before the slot is: where the object store is slow,
            // this waits long, and another opening must not wait with it.
            let place = self.courier.place().await?;
            let mut slot = opening.seat.slot().await;
            slot.check(opening.generation)?;
            let mut arriving = slot.arriving.take().ok_or_else(unknown_end)?;
            let adding: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
            let received = arriving.spooled.length();
            if received + adding > size {
                slot.arriving = Some(arriving);
                return Err(beyond(size).into());
            }
            if adding > 0 && received - self.courier.durable() >= AHEAD_BYTES_MAX {
                // Earlier openings left this much.
                slot.arriving = Some(arriving);
                drop((slot, place));
                self.courier.room(received).await?;
                continue;
            }
            let now = first_bytes(&mut chunks, arriving.spooled.room());
            let taken = on_disk("append to an upload", move || {
                let full = arriving.append(&now, size)?;
                Ok((arriving, full))
            });
            let (mut arriving, full) = taken.await?;
            let note = full.or_else(|| arriving.sign_of_life(opening));
            let now_received = arriving.spooled.length();
            slot.arriving = Some(arriving);
            if let Some(note) = note {
                place.send(note);
            }
            opening.parts.reaches.received(opening.blob, now_received);
            counter!(metric::RECEIVED_BYTES).increment(now_received - received);
            if chunks.is_empty() {
                return Ok(Offsets { received: now_received, durable: self.courier.durable() });
            }
        }
    }

    /// Finishes: see the order of the steps above.
    async fn make_visible(&self) -> Result<BlobInfo, ResourceError> {
        let begun = Instant::now();
        let opening = &self.opening;
        let mut slot = opening.seat.slot().await;
        slot.check(opening.generation)?;
        let arriving = slot.arriving.take().ok_or_else(unknown_end)?;
        let (received, size) = (arriving.spooled.length(), opening.spec.size);
        if received < size {
            slot.arriving = Some(arriving);
            return Err(incomplete(received, size).into());
        }
        let Arriving { spooled, hasher, found, .. } = arriving;
        let last = spooled.part();
        drop(spooled);
        if hasher.finalize() != opening.spec.hash {
            return Err(self.reject(last, found).await?.into());
        }
        let info = if last == 0 { self.put_whole().await? } else { self.join(last).await? };
        histogram!(metric::FINISH_SECONDS).record(begun.elapsed());
        Ok(info)
    }

    /// Steps 2 and 5 for a file of one part.
    async fn put_whole(&self) -> Result<BlobInfo, ResourceError> {
        let Opening { parts, spec, blob, seat, .. } = &self.opening;
        let (spool, blob) = (self.lane.spool.clone(), *blob);
        let place = self.lane.place().await?;
        let bytes = on_disk("read an upload", move || spool.read(blob, 0)).await?;
        let dimensions = if spec.media_type.is_image() {
            let end = bytes.len().min(usize::try_from(thumbnail::HEADER_BYTES_MAX).unwrap_or(0));
            completing::probe(parts, bytes[..end].to_vec()).await?
        } else {
            None
        };
        parts.depot.put(blob, Variant::Original, bytes).await?;
        drop(place);
        let (account, id) = seat.key();
        let info = completing::record(parts, account, id, blob, dimensions).await?;
        parts.incoming.remove(blob).await?;
        Ok(info)
    }

    /// Steps 2 to 5, once the parts before the last are there.
    async fn join(&self, last: u64) -> Result<BlobInfo, ResourceError> {
        let opening = &self.opening;
        let held = self.courier.delivered(last * PART_BYTES).await?;
        let mut held = held.ok_or_else(Refusal::internal)?;
        let place = self.lane.place().await?;
        let (spool, blob) = (self.lane.spool.clone(), opening.blob);
        let bytes = on_disk("read the last part", move || spool.read(blob, last)).await?;
        match self.lane.multipart.put_next(blob, &mut held, bytes).await {
            Err(DepotError::Missing(_)) => {
                return Err(opening.parts_lost(Some(held)).await?.into());
            }
            other => other?,
        }
        drop(place);
        counter!(metric::PARTS).increment(1);
        let recorded = held.save();
        let durable = opening.spec.size;
        let all = Checkpoint { durable, hash_state: Vec::new(), parts: recorded.clone() };
        opening.checkpoint(all, true).await?;
        let (account, _) = opening.seat.key();
        let job = completing::Job::opened(account, &opening.spec, blob, recorded);
        let done = completing::finish(&opening.parts, &job).await?;
        Ok(done.ok_or_else(|| begins_anew("its parts were lost"))?)
    }

    /// The hash is wrong. The record goes back to its beginning first, which only the last opening
    /// can do; then the parts are given up. If all bytes came through this opening, the upload ends.
    async fn reject(&self, last: u64, found: bool) -> Result<Refusal, ResourceError> {
        // Nothing more goes there once the courier is done, whether well or not.
        if let Err(refusal) = self.courier.delivered(last * PART_BYTES).await {
            tracing::debug!(code = %refusal.code, "an upload of wrong bytes was not all delivered");
        }
        let wrong = wrong_hash();
        if !found {
            self.opening.parts.reaches.ended(self.opening.blob, End::Broken(wrong.clone()));
        }
        let anew = self.opening.begin_anew(self.courier.held()).await?;
        if found {
            return Ok(anew);
        }
        self.opening.discard().await?;
        Ok(wrong)
    }
}

impl Arriving {
    /// Appends bytes that the part under way has room for. If that fills it and more will follow,
    /// turns to the next and answers what the courier has to know.
    fn append(&mut self, chunks: &[Bytes], size: u64) -> std::io::Result<Option<Note>> {
        self.spooled.append(chunks)?;
        self.hasher.update_all(chunks);
        if self.spooled.room() > 0 || self.spooled.length() == size {
            return Ok(None);
        }
        let part = self.spooled.part();
        self.spooled.turn()?;
        Ok(Some(Note::Full { part, hash_state: self.hasher.save_before_more() }))
    }

    /// Hashes what was found in the spool, from the part `first` on. Answers the full parts too.
    fn catch_up(mut self, first: u64) -> std::io::Result<(Self, Vec<Note>)> {
        let Self { spooled, hasher, .. } = &mut self;
        let (mut backlog, mut at) = (Vec::new(), first);
        let mut close = |hasher: &TreeHasher, end: u64| {
            while at < end {
                let hash_state = hasher.save_before_more();
                backlog.push(Note::Full { part: at, hash_state });
                at += 1;
            }
        };
        spooled.replay(|part, piece| {
            close(hasher, part);
            hasher.update(piece);
        })?;
        close(hasher, spooled.part());
        Ok((self, backlog))
    }

    /// A note for the courier if the record has not been touched for long.
    fn sign_of_life(&mut self, opening: &Opening) -> Option<Note> {
        let now = opening.parts.clock.now();
        let due = self.touched + opening.parts.config.upload_expiry() / TOUCHES_BEFORE_EXPIRY;
        (now >= due).then(|| {
            self.touched = now;
            Note::Alive
        })
    }
}

impl Opening {
    /// The object store does not have the parts any more, as far as it says.
    pub(super) async fn parts_lost(
        &self,
        held: Option<multipart::Parts>,
    ) -> Result<Refusal, ResourceError> {
        // Where even the bucket is gone, somebody may bring it back: nothing is given up.
        self.parts.depot.reach().await?;
        let blob = self.blob;
        tracing::error!(%blob, "the object store has given the parts of an upload up");
        self.begin_anew(held).await
    }

    /// The record stays, and begins at nothing; then what the object store has is given up, and what
    /// lies here. In this order, since a later opening elsewhere may be filling the same parts: the
    /// record refuses this one then. A crash in between leaves parts that the bucket's lifecycle
    /// removes. Answers what to tell the client, which opens the upload again.
    pub(super) async fn begin_anew(
        &self,
        held: Option<multipart::Parts>,
    ) -> Result<Refusal, ResourceError> {
        self.checkpoint(Checkpoint::default(), false).await?;
        self.parts.reaches.ended(self.blob, End::Broken(follow::not_now()));
        if let (Some(multipart), Some(held)) = (self.parts.depot.multipart(), held) {
            multipart.abort(self.blob, &held).await?;
        }
        self.parts.incoming.remove(self.blob).await?;
        Ok(begins_anew("its bytes were damaged on their way"))
    }
}

/// What a checkpoint says; `None` if it is not one of this form.
fn stand(checkpoint: &Checkpoint) -> Option<Stand> {
    let Checkpoint { durable, hash_state, parts } = checkpoint;
    if parts.is_empty() && *durable == 0 {
        return Some(Stand { first: 0, hasher: TreeHasher::new(), held: None });
    }
    let held = multipart::Parts::restore(parts)?;
    if *durable == 0 {
        return (held.count() == 0).then(|| Stand {
            first: 0,
            hasher: TreeHasher::new(),
            held: Some(held),
        });
    }
    let (hasher, covered) = TreeHasher::restore(hash_state).ok()?;
    let fits = covered == *durable && held.count() * PART_BYTES == *durable;
    fits.then(|| Stand { first: held.count(), hasher, held: Some(held) })
}

/// Takes the first chunks, `max` bytes of them at most.
fn first_bytes(chunks: &mut Vec<Bytes>, max: u64) -> Vec<Bytes> {
    let mut room = usize::try_from(max).unwrap_or(usize::MAX);
    let mut whole = 0;
    while let Some(chunk) = chunks.get(whole).filter(|chunk| chunk.len() <= room) {
        room -= chunk.len();
        whole += 1;
    }
    let mut first: Vec<Bytes> = chunks.drain(..whole).collect();
    if let Some(next) = chunks.first_mut().filter(|_| room > 0) {
        first.push(next.split_to(room));
    }
    first
}

fn begins_anew(why: &str) -> Refusal {
    Refusal::new(Code::Incomplete, format!("the upload begins again, because {why}"))
}
