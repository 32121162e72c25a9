//! Carries the queue out: a shell around [`Queue`], in the one process that has the right to.
//!
//! Each try is a task. What the machine is told comes from the home, where any process may write, from
//! the session's state, and from the tries; what it says is started, stopped and written down here.

use std::{
    collections::HashMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use skein_core::{
    id::{TransferId, UploadId},
    time::Timestamp,
    transfer::{Ended, Queue, QueueEffect, RUNNING_MAX, TransferState},
};
use skein_wire::pb::{reply, request};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::{AbortHandle, JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    Failure, Progress, Transfer,
    job::{Outcome, Work, state_of},
};
use crate::{Client, Error, Event, Status, client::bad_answer};

/// How often it is looked whether another process has changed the queue.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often at most it is told how far a transfer is.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How often at most that is kept, for other processes to see. Each time costs a sync of the disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Words of the tries that wait. A word about progress that finds no room is left out.
const WORDS_MAX: usize = 64;
/// How long to wait before the server is asked again to throw an upload away.
const DISCARD_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A try and what it leaves to the next.
struct Slot {
    work: Arc<Mutex<Work>>,
    task: Option<AbortHandle>,
    shown: Transfer,
    kept_at: Instant,
}

/// What a task has to say at its end.
enum Task {
    Tried(TransferId, Outcome),
    Discarded(UploadId, bool),
}

struct Runner {
    client: Client,
    /// The right to carry the queue out: given back when this is dropped, after the tasks.
    tasks: JoinSet<Task>,
    _right: fs::File,
    started: Instant,
    queue: Queue,
    slots: HashMap<TransferId, Slot>,
    words: mpsc::Receiver<(TransferId, Progress)>,
    words_in: mpsc::Sender<(TransferId, Progress)>,
    /// What the server is being told to throw away.
    discarding: Option<UploadId>,
    version: i64,
    online: bool,
}

impl Client {
    /// Carries out the queue of transfers for as long as this is polled and the client is connected;
    /// tells how they are going as [`Event::Transfer`]. Of several processes one does so, and another
    /// takes over when that ends. Dropping this stops all tries where they are.
    ///
    /// # Errors
    /// [`Error::NotConnected`] before [`connect`](Self::connect); if the session has ended for good,
    /// or the home cannot be used.
    pub async fn run_transfers(&self) -> Result<(), Error> {
        self.carry_out(false).await
    }

    /// Carries out the queue as [`run_transfers`](Self::run_transfers) does, until nothing is left
    /// that goes on by itself. Where another process is at it, waits for that.
    ///
    /// # Errors
    /// As there.
    pub async fn finish_transfers(&self) -> Result<(), Error> {
        self.carry_out(true).await
    }

    async fn carry_out(&self, until_idle: bool) -> Result<(), Error> {
        let mut status = self.handle()?.status;
        let right = loop {
            if let Some(right) = self.home.try_carry_out()? {
                break right;
            }
            if until_idle && self.nothing_to_do().await? {
                return Ok(());
            }
            match tokio::time::timeout(LOOK_EVERY, status.changed()).await {
                Ok(Err(_)) => return Ok(()),
                Ok(Ok(())) => check(&status)?,
                Err(_) => {}
            }
        };
        self.home.no_transfer_runs().await?;
        let (words_in, words) = mpsc::channel(WORDS_MAX);
        let runner = Runner {
            client: self.clone(),
            tasks: JoinSet::new(),
            _right: right,
            started: Instant::now(),
            queue: Queue::default(),
            slots: HashMap::new(),
            words,
            words_in,
            discarding: None,
            version: 0,
            online: false,
        };
        runner.run(status, until_idle).await
    }

    async fn nothing_to_do(&self) -> Result<bool, Error> {
        let unfinished = self.home.unfinished_transfers().await?;
        let idle = unfinished.iter().all(|(_, state)| !state.is_active());
        Ok(idle && self.home.unwanted_uploads().await?.is_empty())
    }
}

impl Runner {
    async fn run(
        mut self,
        mut status: watch::Receiver<Status>,
        until_idle: bool,
    ) -> Result<(), Error> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.look().await?;
        loop {
            check(&status)?;
            self.online = status.borrow_and_update().has_session();
            self.queue.handle_online(self.online);
            self.carry_out().await?;
            self.discard().await?;
            if until_idle && self.queue.is_idle() && self.client.nothing_to_do().await? {
                return Ok(());
            }
            let due = self.queue.poll_timeout();
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return Ok(()) },
                () = self.client.queue_changed.notified() => self.look().await?,
                _ = looks.tick() => self.look_if_changed().await?,
                Some(word) = self.words.recv() => self.hear(word.0, word.1).await?,
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.ended(done).await?;
                }
                () = sleep_until(self.started, due) => {}
            }
        }
    }

    /// Reads the queue as it is kept.
    async fn look(&mut self) -> Result<(), Error> {
        let listed = self.client.home.unfinished_transfers().await?;
        self.queue.handle_listed(&listed);
        // What is over or paused leaves nothing behind; a paused file may be long at rest.
        let active = |id| listed.iter().any(|(one, state)| *one == id && state.is_active());
        self.slots.retain(|id, slot| slot.task.is_some() || active(*id));
        Ok(())
    }

    async fn look_if_changed(&mut self) -> Result<(), Error> {
        let version = self.client.home.version().await?;
        if std::mem::replace(&mut self.version, version) != version {
            self.look().await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self) -> Result<(), Error> {
        while let Some(effect) = self.queue.poll_effect(self.now()) {
            match effect {
                QueueEffect::Start(id) => self.start(id).await?,
                QueueEffect::Stop(id) => self.stop(id),
                QueueEffect::Keep(id, state) => self.keep(id, state, None).await?,
            }
        }
        Ok(())
    }

    fn stop(&self, id: TransferId) {
        if let Some(task) = self.slots.get(&id).and_then(|slot| slot.task.as_ref()) {
            task.abort();
        }
    }

    async fn start(&mut self, id: TransferId) -> Result<(), Error> {
        let row = self.client.home.transfer(id).await?;
        let Some(row) = row.filter(|row| row.shown.state.is_active()) else {
            // Somebody has changed it since it was looked.
            self.queue.handle_ended(id, &Ended::Stopped, 0, self.now());
            return self.look().await;
        };
        let slot = self.slots.entry(id).or_insert_with(|| Slot {
            work: Arc::new(Mutex::new(Work::New)),
            task: None,
            shown: row.shown.clone(),
            kept_at: Instant::now(),
        });
        let (client, work) = (self.client.clone(), Arc::clone(&slot.work));
        let words = self.words_in.clone();
        let told = std::sync::Mutex::new((None, Instant::now()));
        let watcher = Arc::new(move |progress: Progress| {
            let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if told.0 != Some(progress.phase) || told.1.elapsed() >= TELL_EVERY {
                *told = (Some(progress.phase), Instant::now());
                // Without room for it, the next word says it.
                words.try_send((id, progress)).ok();
            }
        });
        slot.task = Some(self.tasks.spawn(async move {
            let mut work = work.lock().await;
            Task::Tried(id, client.try_transfer(&row, &mut work, watcher).await)
        }));
        Ok(())
    }

    /// Takes in how a try is going.
    async fn hear(&mut self, id: TransferId, progress: Progress) -> Result<(), Error> {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.task.is_some()) else {
            return Ok(());
        };
        let state = state_of(progress.phase);
        self.queue.handle_doing(id, state);
        let shown = &mut slot.shown;
        shown.state = state;
        shown.bytes_per_second = progress.bytes_per_second;
        if state == TransferState::Running {
            (shown.done, shown.resent) = (progress.done, progress.resent);
        }
        let event = Event::Transfer(shown.clone());
        if state == TransferState::Running && slot.kept_at.elapsed() >= KEEP_EVERY {
            slot.kept_at = Instant::now();
            self.client.home.keep_progress(id, progress.done, progress.resent).await?;
        }
        // Nobody needs to listen.
        self.client.events.send(event).ok();
        Ok(())
    }

    async fn ended(
        &mut self,
        done: Result<(tokio::task::Id, Task), JoinError>,
    ) -> Result<(), Error> {
        let (id, outcome) = match done {
            Ok((_, Task::Discarded(upload, discarded))) => {
                self.discarding = None;
                if discarded {
                    self.client.home.upload_discarded(upload).await?;
                }
                return Ok(());
            }
            Ok((_, Task::Tried(id, outcome))) => (id, outcome),
            Err(error) => {
                let is_it = |slot: &Slot| slot.task.as_ref().is_some_and(|t| t.id() == error.id());
                let found = self.slots.iter().find(|(_, slot)| is_it(slot));
                let Some(id) = found.map(|(id, _)| *id) else { return Ok(()) };
                if let Some(slot) = self.slots.get_mut(&id) {
                    // It ended at some await: only what is on disk is known to be whole.
                    slot.work = Arc::new(Mutex::new(Work::New));
                }
                let ended = if error.is_cancelled() { Ended::Stopped } else { Ended::Failed };
                let error = (ended == Ended::Failed).then(|| Error::home(error));
                (id, Outcome { ended, error })
            }
        };
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.task = None;
            slot.shown.bytes_per_second = None;
            let (bytes, resent) = (slot.shown.done, slot.shown.resent);
            self.client.home.keep_progress(id, bytes, resent).await?;
        }
        self.queue.handle_ended(id, &outcome.ended, rand::random(), self.now());
        // What the machine makes of it comes with the reason for it.
        while let Some(effect) = self.queue.poll_effect(self.now()) {
            match effect {
                QueueEffect::Keep(one, TransferState::Failed) if one == id => {
                    let failure = outcome.error.as_ref().map(Failure::from);
                    self.keep(id, TransferState::Failed, failure).await?;
                }
                QueueEffect::Keep(id, state) => self.keep(id, state, None).await?,
                QueueEffect::Start(id) => self.start(id).await?,
                QueueEffect::Stop(id) => self.stop(id),
            }
        }
        self.tell_last(id).await
    }

    async fn keep(
        &mut self,
        id: TransferId,
        state: TransferState,
        failure: Option<Failure>,
    ) -> Result<(), Error> {
        self.client.home.keep_transfer(id, state, failure).await
    }

    /// Tells where a transfer stands whose try has ended.
    async fn tell_last(&mut self, id: TransferId) -> Result<(), Error> {
        let Some(row) = self.client.home.transfer(id).await? else { return Ok(()) };
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.shown = row.shown.clone();
        }
        if !row.shown.state.is_active() {
            self.slots.remove(&id);
        }
        self.client.events.send(Event::Transfer(row.shown)).ok();
        Ok(())
    }

    /// Lets the server throw away what nobody wants any more, once no try is at it.
    async fn discard(&mut self) -> Result<(), Error> {
        if !self.online || self.discarding.is_some() {
            return Ok(());
        }
        let unwanted = self.client.home.unwanted_uploads().await?;
        let trying =
            |id: &TransferId| self.slots.get(id).is_some_and(|slot: &Slot| slot.task.is_some());
        let Some((_, upload)) = unwanted.into_iter().find(|(id, _)| !trying(id)) else {
            return Ok(());
        };
        self.discarding = Some(upload);
        let client = self.client.clone();
        self.tasks.spawn(async move {
            let discarded = client.discard_upload(upload).await;
            if let Err(error) = &discarded {
                tracing::debug!("the server was not told to throw an upload away: {error}");
                tokio::time::sleep(DISCARD_AGAIN_AFTER).await;
            }
            let settled = match discarded {
                Ok(()) => true,
                // Asking again would be answered alike; the server throws it away in time.
                Err(Error::Refused(refusal)) => !refusal.code.is_transient(),
                Err(_) => false,
            };
            Task::Discarded(upload, settled)
        });
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Client {
    pub(super) async fn discard_upload(&self, upload: UploadId) -> Result<(), Error> {
        let id = upload.0.to_vec().into();
        let discard = skein_wire::pb::DiscardUpload { id };
        match self.ask(request::Kind::DiscardUpload(discard)).await? {
            reply::Kind::Discarded(_) => Ok(()),
            _ => Err(bad_answer("that an upload was discarded")),
        }
    }
}

/// Whether the session may still come back.
fn check(status: &watch::Receiver<Status>) -> Result<(), Error> {
    match &*status.borrow() {
        Status::Stopped(reason) => Err(Error::Stopped(reason.clone())),
        Status::Broken { reason } => Err(Error::home(reason.clone())),
        _ => Ok(()),
    }
}

async fn sleep_until(started: Instant, due: Option<Timestamp>) {
    match due {
        Some(due) => tokio::time::sleep_until((started + due.since(Timestamp(0))).into()).await,
        None => std::future::pending().await,
    }
}

// At most so many tries and one discard are tasks at a time: the queue sees to that.
const _: () = assert!(RUNNING_MAX < WORDS_MAX);
