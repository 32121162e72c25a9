//! Takes full parts of one upload to the object store, one after the other, while the next bytes
//! arrive, and records each in the store: then it is durable.
//!
//! The name of the unfinished object is recorded before its first part goes there, so that no part
//! is ever there unknown. No more than [`AHEAD_BYTES_MAX`] of an upload lie here, over all openings:
//! who brings more waits until the object store has the first of it. When something fails, the courier says what and ends, and
//! whoever uploads opens the upload again; what lies here then is the first that the next courier
//! takes. A courier goes on while its queue is not empty, also when the client has gone.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use skein_blob::{depot::DepotError, multipart, spool::PART_BYTES};
use skein_core::refusal::{Code, Refusal};
use skein_store::upload::Checkpoint;
use tokio::{
    sync::{
        mpsc::{self, OwnedPermit},
        watch,
    },
    time::timeout,
};

use super::Opening;
use crate::{ResourceError, incoming::Lane, kept, metric, role::on_disk};

/// Notes that wait for the one that is under way, beside what an earlier opening left.
const NOTES_WAITING_MAX: usize = 1;
/// Bytes of an upload that may be received and not durable: three parts, the one that grows among
/// them.
pub(super) const AHEAD_BYTES_MAX: u64 = 3 * PART_BYTES;
/// How long a write waits for room: longer than one part takes with all deadlines on its way. Where
/// even this passes, somebody hangs who should not.
const ROOM_PATIENCE: Duration = Duration::from_secs(60);
/// How long a courier may still take once its process is to end. What it leaves here, the next one
/// takes.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// The way to the courier. It ends its work when all clones are gone.
#[derive(Clone)]
pub(super) struct Courier {
    notes: mpsc::Sender<Note>,
    state: watch::Receiver<State>,
}

/// What the courier is told.
pub(super) enum Note {
    /// A part is full, and a byte will follow it.
    Full {
        /// Its number.
        part: u64,
        /// The hash state over all bytes up to its end.
        hash_state: Vec<u8>,
    },
    /// Bytes arrive, too few for a part: the record is touched, so that nobody takes the upload for
    /// a forgotten one.
    Alive,
}

/// What has been done so far.
#[derive(Clone, Default)]
struct State {
    /// What the store's record says.
    recorded: Checkpoint,
    /// The unfinished object, once there is one.
    held: Option<multipart::Parts>,
    /// Why the courier has ended.
    failed: Option<Refusal>,
}

/// The courier at work.
struct Work {
    opening: Opening,
    lane: Arc<Lane>,
    state: watch::Sender<State>,
}

impl Courier {
    /// Sends a courier on the way, for an upload whose record stands at `recorded`, with the full
    /// parts that lie here already.
    pub(super) fn send(
        opening: Opening,
        lane: Arc<Lane>,
        recorded: Checkpoint,
        held: Option<multipart::Parts>,
        backlog: Vec<Note>,
    ) -> Self {
        let (notes, queue) = mpsc::channel(NOTES_WAITING_MAX);
        let (sender, state) = watch::channel(State { recorded, held, failed: None });
        let shutdown = opening.parts.shutdown.clone();
        let work = Work { opening, lane, state: sender };
        let stop = shutdown.clone();
        shutdown.spawn(async move {
            tokio::select! {
                () = work.run(backlog, queue) => {}
                () = stop.begun_for(STOP_PATIENCE) => {}
            }
        });
        Self { notes, state }
    }

    /// Waits until there is room for one more note.
    pub(super) async fn place(&self) -> Result<OwnedPermit<Note>, Refusal> {
        match timeout(ROOM_PATIENCE, self.notes.clone().reserve_owned()).await {
            Ok(place) => place.map_err(|_| self.failure()),
            Err(_) => Err(ResourceError::too_slow().into_refusal()),
        }
    }

    /// Waits until an upload with so many bytes may take more.
    pub(super) async fn room(&self, received: u64) -> Result<(), Refusal> {
        let enough = (received + 1).saturating_sub(AHEAD_BYTES_MAX);
        match timeout(ROOM_PATIENCE, self.delivered(enough)).await {
            Ok(delivered) => delivered.map(|_| ()),
            Err(_) => Err(ResourceError::too_slow().into_refusal()),
        }
    }

    /// Bytes of the upload that are durable.
    pub(super) fn durable(&self) -> u64 {
        self.state.borrow().recorded.durable
    }

    /// Waits until so many bytes are durable. Answers the object that they are in.
    pub(super) async fn delivered(&self, bytes: u64) -> Result<Option<multipart::Parts>, Refusal> {
        let mut state = self.state.clone();
        let done = state.wait_for(|state| state.recorded.durable >= bytes).await;
        done.map(|state| state.held.clone()).map_err(|_| self.failure())
    }

    /// The unfinished object, as far as there is one.
    pub(super) fn held(&self) -> Option<multipart::Parts> {
        self.state.borrow().held.clone()
    }

    fn failure(&self) -> Refusal {
        self.state.borrow().failed.clone().unwrap_or_else(Refusal::internal)
    }
}

impl Work {
    async fn run(self, backlog: Vec<Note>, mut queue: mpsc::Receiver<Note>) {
        let mut backlog = backlog.into_iter();
        loop {
            let note = match backlog.next() {
                Some(note) => note,
                None => match queue.recv().await {
                    Some(note) => note,
                    None => return,
                },
            };
            let done = match note {
                Note::Full { part, hash_state } => self.deliver(part, hash_state).await,
                Note::Alive => self.touch().await,
            };
            if let Err(error) = done {
                let refusal = self.explain(error).await;
                self.state.send_modify(|state| state.failed = Some(refusal));
                return;
            }
        }
    }

    async fn deliver(&self, part: u64, hash_state: Vec<u8>) -> Result<(), ResourceError> {
        let place = self.lane.place().await?;
        let known = self.state.borrow().held.clone();
        let mut held = match known {
            Some(held) => held,
            None => self.begin().await?,
        };
        let (spool, blob) = (self.lane.spool.clone(), self.opening.blob);
        let bytes = on_disk("read a part", move || spool.read(blob, part)).await?;
        self.lane.multipart.put_next(blob, &mut held, bytes).await?;
        drop(place);
        counter!(metric::PARTS).increment(1);
        let durable = (part + 1) * PART_BYTES;
        let recorded = Checkpoint { durable, hash_state, parts: held.save() };
        self.opening.checkpoint(recorded.clone(), false).await?;
        // Before anybody hears that the part is durable: who finishes the upload then removes what
        // is here of it, and nothing may be kept after that.
        let kept = self.keep(part).await;
        self.state.send_modify(|state| {
            state.recorded = recorded;
            state.held = Some(held);
        });
        if kept {
            return Ok(());
        }
        let spool = self.lane.spool.clone();
        on_disk("release a part", move || spool.release(blob, part)).await
    }

    /// Whether the part stays here, for those who follow the upload.
    async fn keep(&self, part: u64) -> bool {
        let Opening { parts, blob, .. } = &self.opening;
        if !self.is_for_somebody().await || !kept::leaves_room(&self.lane).await {
            return false;
        }
        if let Err(error) = kept::make_room(parts, &self.lane).await {
            // A part that does not stay is no loss to the upload.
            tracing::debug!(error.cause = %error, "no room was made for those who follow uploads");
        }
        self.lane.kept.keep(*blob, part)
    }

    /// Whether somebody may want to read the upload before it is complete.
    async fn is_for_somebody(&self) -> bool {
        let found = self.opening.parts.records.upload_of(self.opening.blob).await;
        // Where the store cannot say it, nothing is kept: whoever follows asks again later.
        found.is_ok_and(|found| found.is_some_and(|upload| upload.conversation.is_some()))
    }

    /// Begins the object, and records its name.
    async fn begin(&self) -> Result<multipart::Parts, ResourceError> {
        let held = self.lane.multipart.begin(self.opening.blob).await?;
        let recorded = Checkpoint { parts: held.save(), ..Checkpoint::default() };
        let kept = self.opening.checkpoint(recorded.clone(), false).await;
        if let Err(error) = kept {
            if error.is_refused(Code::Superseded) || error.is_refused(Code::NotFound) {
                self.lane.multipart.abort(self.opening.blob, &held).await?;
            }
            return Err(error);
        }
        self.state.send_modify(|state| {
            state.recorded = recorded;
            state.held = Some(held.clone());
        });
        Ok(held)
    }

    async fn touch(&self) -> Result<(), ResourceError> {
        let recorded = self.state.borrow().recorded.clone();
        self.opening.checkpoint(recorded, false).await
    }

    /// What to tell whoever uploads. If the object store has given the unfinished object up, all
    /// that it had is gone, and the upload begins anew.
    async fn explain(&self, error: ResourceError) -> Refusal {
        if !matches!(error, ResourceError::Depot(DepotError::Missing(_))) {
            return error.into_refusal();
        }
        match self.opening.parts_lost(self.held()).await {
            Ok(refusal) => refusal,
            Err(error) => error.into_refusal(),
        }
    }

    fn held(&self) -> Option<multipart::Parts> {
        self.state.borrow().held.clone()
    }
}
