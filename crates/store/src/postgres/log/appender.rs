//! Gathers the appends of this process into batches.
//!
//! One task holds what waits. Whenever a connection for appends is free, it takes what has gathered
//! meanwhile and lets a task of its own commit it. A conversation is in one batch at a time: its
//! drafts are appended in the order in which they were submitted, and no two connections of this
//! process ever wait for each other's lock.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use deadpool_postgres::Pool;
use skein_core::{
    entry::Draft,
    id::{AccountId, ConversationId},
    time::Timestamp,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::{Id, JoinError, JoinHandle, JoinSet},
    time::timeout,
};
use tracing::{Instrument, Span};

use super::{batch, draft};
use crate::{
    StoreError,
    log::Appended,
    metric,
    postgres::{
        fault::{Broken, Fault},
        tries::CALL_MAX,
    },
};

/// What an append does, to follow "the store failed to".
pub(super) const DOING: &str = "append to a log";
/// Appends in one transaction at most. Beyond a few hundred, the cost of the commit no longer shows,
/// and the first of the batch would wait for the last.
const BATCH_JOBS_MAX: usize = 512;
/// Appends on their way to the task that gathers; a further one waits outside.
const QUEUE_JOBS_MAX: usize = 1024;
/// Appends that the task holds; until there is room again, the queue fills up. What is taken from it
/// to be given up comes on top for that moment.
const WAITING_JOBS_MAX: usize = 2048;
/// Batches that are not done, those included that only look for locks.
const BATCHES_MAX: usize = 32;

/// An append that waits for its answer.
pub(super) struct Job {
    pub(super) author: AccountId,
    pub(super) draft: Draft,
    pub(super) digest: [u8; 32],
    pub(super) now: Timestamp,
    /// Whether a commit that held it was not answered: it may be in the log already.
    pub(super) uncertain: bool,
    /// The caller's, so that what happens to the append is logged under the id of its request.
    pub(super) span: Span,
    begun: Instant,
    answer: oneshot::Sender<Result<Appended, StoreError>>,
}

impl Job {
    /// Tells the caller.
    pub(super) fn answer(self, result: Result<Appended, Fault>) {
        if result.is_ok() {
            metric::append(self.begun.elapsed());
        }
        // The caller may have gone away: then nobody waits for the answer.
        self.answer.send(result.map_err(|fault| fault.while_doing(DOING))).ok();
    }

    /// Tells the caller to try again: this, or what comes before it, could not be appended.
    pub(super) fn give_up(self) {
        self.answer(Err(Fault::Broken(Broken::Busy("the conversation cannot be appended to"))));
    }

    /// Whether the caller has been told meanwhile that it took too long.
    pub(super) fn is_late(&self) -> bool {
        self.begun.elapsed() >= CALL_MAX
    }
}

/// The right to commit a batch. Only those that make no progress give it back before they are done.
pub(super) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.freed.notify_one();
    }
}

/// The way to the task that gathers.
pub(in crate::postgres) struct Appender {
    /// Taken only by `close`.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Appender {
    /// Starts the task. At most `batches_max` batches are committed at the same time.
    pub(in crate::postgres) fn start(
        pool: Pool,
        batches_max: usize,
        try_timeout: Duration,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        let gatherer = Gatherer {
            pool,
            slots: Arc::new(Semaphore::new(batches_max)),
            freed: Arc::new(Notify::new()),
            try_timeout,
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            batches: JoinSet::new(),
            held: HashMap::new(),
        };
        let task = tokio::spawn(gatherer.run(jobs));
        Self { queue: Mutex::new(Some(queue)), task: Mutex::new(Some(task)) }
    }

    /// Appends a draft. If the caller goes away meanwhile, it is appended all the same.
    pub(in crate::postgres) async fn append(
        &self,
        author: AccountId,
        draft: Draft,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        let span = tracing::info_span!("store", store.operation = DOING);
        let (answer, answered) = oneshot::channel();
        let digest = draft::digest(&draft);
        let begun = Instant::now();
        let job =
            Job { author, draft, digest, now, uncertain: false, span: span.clone(), begun, answer };
        let closed = || Fault::Broken(Broken::Busy("the store is closed")).while_doing(DOING);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let submitted = async {
            let queue = queue.ok_or_else(closed)?;
            queue.send(job).await.map_err(|_| closed())?;
            drop(queue);
            answered.await.map_err(|_| closed())?
        };
        let result = timeout(CALL_MAX, submitted.instrument(span)).await;
        result.unwrap_or_else(|_| Err(Fault::timed_out().while_doing(DOING)))
    }

    /// Takes no more, and waits until what was submitted is answered.
    pub(in crate::postgres) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(error.cause = %error, "appends were not awaited");
        }
    }
}

/// The task that gathers.
struct Gatherer {
    pool: Pool,
    slots: Arc<Semaphore>,
    /// Told whenever there is one of them again.
    freed: Arc<Notify>,
    try_timeout: Duration,
    /// In the order of submission.
    waiting: VecDeque<Job>,
    /// Conversations of the batches that are under way.
    busy: HashSet<ConversationId>,
    batches: JoinSet<HashSet<ConversationId>>,
    /// Which conversations each batch has.
    held: HashMap<Id, Vec<ConversationId>>,
}

impl Gatherer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut open = true;
        while open || !self.waiting.is_empty() || !self.batches.is_empty() {
            let room = WAITING_JOBS_MAX.saturating_sub(self.waiting.len());
            let mut arrived = Vec::new();
            tokio::select! {
                count = jobs.recv_many(&mut arrived, room), if open && room > 0 => {
                    open = count > 0;
                    self.waiting.extend(arrived);
                }
                Some(ended) = self.batches.join_next_with_id() => self.end(ended, &mut jobs),
                () = self.freed.notified() => {}
            }
            while self.begin() {}
            metric::queue(jobs.len() + self.waiting.len());
        }
    }

    /// Begins a batch with what waits for nothing but a slot. False if there is nothing, or no slot.
    fn begin(&mut self) -> bool {
        if self.batches.len() == BATCHES_MAX || self.slots.available_permits() == 0 {
            return false;
        }
        let mut batch = Vec::new();
        let mut taken = HashSet::new();
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for job in self.waiting.drain(..) {
            let conversation = job.draft.conversation;
            if batch.len() == BATCH_JOBS_MAX || self.busy.contains(&conversation) {
                kept.push_back(job);
            } else {
                taken.insert(conversation);
                batch.push(job);
            }
        }
        self.waiting = kept;
        if batch.is_empty() {
            return false;
        }
        metric::batch(batch.len());
        self.busy.extend(&taken);
        // Nobody else takes slots, so there still is one.
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok();
        let slot = Slot { permit, freed: Arc::clone(&self.freed) };
        let commit = batch::commit(self.pool.clone(), batch, self.try_timeout, slot);
        let task = self.batches.spawn(commit);
        self.held.insert(task.id(), taken.into_iter().collect());
        true
    }

    fn end(
        &mut self,
        ended: Result<(Id, HashSet<ConversationId>), JoinError>,
        jobs: &mut mpsc::Receiver<Job>,
    ) {
        let (id, given_up) = match ended {
            Ok((id, given_up)) => (id, Some(given_up)),
            Err(error) => {
                // Its callers hear so, as their answers are gone with it.
                tracing::error!(error.cause = %error, "a batch of appends has panicked");
                (error.id(), None)
            }
        };
        let held = self.held.remove(&id).unwrap_or_default();
        for conversation in &held {
            self.busy.remove(conversation);
        }
        self.give_up(&given_up.unwrap_or_else(|| held.into_iter().collect()), jobs);
    }

    /// Answers what waits behind appends that were given up. Otherwise a later message of an author
    /// could get into the log before an earlier one that is being tried again.
    fn give_up(&mut self, conversations: &HashSet<ConversationId>, jobs: &mut mpsc::Receiver<Job>) {
        if conversations.is_empty() {
            return;
        }
        // What is in the queue may have been submitted before its caller heard of the refusal.
        for _ in 0..jobs.len() {
            self.waiting.extend(jobs.try_recv());
        }
        let (behind, kept): (Vec<_>, _) =
            self.waiting.drain(..).partition(|job| conversations.contains(&job.draft.conversation));
        self.waiting = kept.into();
        behind.into_iter().for_each(Job::give_up);
    }
}
