//! One batch of appends: a transaction that allots sequence numbers in many conversations, in two
//! round trips. The first locks the logs and reads the facts under that lock, the second writes and
//! commits; rights are decided in between, by the policy.
//!
//! A batch that another transaction is in the way of is tried again; if that does not help, or if
//! something in it cannot be written, it is divided, so that nobody suffers for a neighbour.

mod facts;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::{Duration, Instant},
};

use deadpool_postgres::Pool;
use tokio::time::{sleep, timeout};
use tracing::{Instrument, Span};

use self::{facts::Facts, plan::Plan};
use super::appender::{Job, Slot};
use crate::{
    log::Appended,
    postgres::{
        db::Db,
        fault::{Fault, Remedy},
        pool,
        tries::Tries,
    },
};
use skein_core::{id::ConversationId, refusal::Refusal};

/// Tries of a batch before it is divided.
const WHOLE_TRIES_MAX: u32 = 3;
/// How long a batch is tried before it is divided: less than one wait for a lock.
const WHOLE_MAX: Duration = Duration::from_millis(200);

/// Some of the jobs of a batch, in order.
struct Part {
    jobs: Vec<Job>,
    tries: Tries,
    begun: Instant,
    count: u32,
    /// Whether it waits for locks. What had to wait too long for one, perhaps that of a node that is
    /// frozen, looks every now and then whether it is free, and leaves the connection to others.
    waits: bool,
    /// Whether another part follows that has to come after this one.
    holds_up_others: bool,
}

/// What became of one try.
enum Tried {
    Done,
    Again(Part, Duration),
    Divided(Vec<Part>),
    /// The only job of the part got an error.
    Failed(ConversationId),
    /// There is no use in trying anything of the batch.
    Away(Part),
}

/// Appends the jobs and answers them. Gives `slot` back as soon as all that is left to do is to look
/// for locks.
///
/// A job whose author may try it again takes along what follows in its conversation: otherwise a
/// later message of an author would get into the log before an earlier one. The answer says in which
/// conversations that was so, because more of them may wait elsewhere.
pub(super) async fn commit(
    pool: Pool,
    jobs: Vec<Job>,
    try_timeout: Duration,
    slot: Slot,
) -> HashSet<ConversationId> {
    let mut given_up = HashSet::new();
    let mut slot = Some(slot);
    let mut parts = VecDeque::from([Part::new(jobs, true, false)]);
    while let Some(mut part) = parts.pop_front() {
        part.forget_hopeless(&mut given_up);
        if part.jobs.is_empty() {
            continue;
        }
        let span = part.span();
        match part.try_once(&pool, try_timeout).instrument(span).await {
            Tried::Done => {}
            Tried::Again(part, pause) => {
                if !part.waits && parts.iter().all(|other| other.count > 0) {
                    slot = None;
                }
                // Others need not wait for what this one waits for.
                let is_next = part.holds_up_others || parts.is_empty();
                if is_next || part.count > 1 {
                    sleep(pause).await;
                }
                if is_next { parts.push_front(part) } else { parts.push_back(part) }
            }
            Tried::Divided(divided) => {
                for part in divided.into_iter().rev() {
                    parts.push_front(part);
                }
            }
            Tried::Failed(conversation) => {
                given_up.insert(conversation);
            }
            Tried::Away(part) => {
                parts.push_front(part);
                for job in parts.drain(..).flat_map(|part| part.jobs) {
                    given_up.insert(job.draft.conversation);
                    job.give_up();
                }
            }
        }
    }
    drop(slot);
    given_up
}

impl Part {
    fn new(jobs: Vec<Job>, waits: bool, holds_up_others: bool) -> Self {
        let begun = Instant::now();
        Self { jobs, tries: Tries::new(begun), begun, count: 0, waits, holds_up_others }
    }

    /// A span under that of the first job, so that what happens is logged under the id of its
    /// request, and linked to all others.
    fn span(&self) -> Span {
        let parent = self.jobs.first().map_or_else(Span::none, |job| job.span.clone());
        let span =
            tracing::info_span!(parent: &parent, "store.batch", batch.jobs = self.jobs.len());
        for job in self.jobs.iter().skip(1) {
            span.follows_from(&job.span);
        }
        span
    }

    /// Drops the jobs whose callers have been told that the database is away: their answer has
    /// nowhere to go, and a client would not expect its message any more. With them, what shares a
    /// conversation with one that was given up.
    fn forget_hopeless(&mut self, given_up: &mut HashSet<ConversationId>) {
        let late = self.jobs.iter().filter(|job| job.is_late());
        given_up.extend(late.map(|job| job.draft.conversation));
        for job in self.jobs.extract_if(.., |job| given_up.contains(&job.draft.conversation)) {
            job.give_up();
        }
    }

    async fn try_once(mut self, pool: &Pool, try_timeout: Duration) -> Tried {
        let tried = timeout(try_timeout, append(pool, &mut self.jobs, self.waits)).await;
        match tried.unwrap_or_else(|_| Err(Fault::timed_out())) {
            Ok(answers) => {
                tracing::debug!("a batch of appends is committed");
                for (job, answer) in self.jobs.into_iter().zip(answers) {
                    job.answer(answer.map_err(Fault::Refused));
                }
                Tried::Done
            }
            Err(fault) => self.after(fault),
        }
    }

    fn after(mut self, fault: Fault) -> Tried {
        let now = Instant::now();
        let next = self.tries.next(&fault, now);
        self.count += 1;
        let spent = now.saturating_duration_since(self.begun);
        match (fault.remedy(), next) {
            (Remedy::Again, Some(pause)) => {
                let enough = self.count >= WHOLE_TRIES_MAX || spent >= WHOLE_MAX;
                if enough && self.waits && self.conversations() > 1 {
                    tracing::warn!(error.cause = %fault, "a batch of appends is divided");
                    return Tried::Divided(self.by_conversation());
                }
                tracing::debug!(error.cause = %fault, "a batch of appends is tried again");
                self.waits &= !enough;
                Tried::Again(self, pause)
            }
            (Remedy::Wait, Some(pause)) => {
                tracing::debug!(error.cause = %fault, "a batch of appends is tried again");
                Tried::Again(self, pause)
            }
            (Remedy::Wait | Remedy::Leave, _) => {
                tracing::warn!(error.cause = %fault, "a batch of appends is given up");
                Tried::Away(self)
            }
            (Remedy::Again | Remedy::None, _) if self.jobs.len() > 1 => {
                tracing::warn!(error.cause = %fault, "appends of a batch are made one by one");
                Tried::Divided(self.one_by_one())
            }
            (Remedy::Again | Remedy::None, _) => {
                let Some(job) = self.jobs.pop() else { return Tried::Done };
                let conversation = job.draft.conversation;
                job.answer(Err(fault));
                Tried::Failed(conversation)
            }
        }
    }

    fn conversations(&self) -> usize {
        let all: BTreeSet<_> = self.jobs.iter().map(|job| job.draft.conversation).collect();
        all.len()
    }

    fn by_conversation(self) -> Vec<Self> {
        let mut groups: BTreeMap<_, Vec<Job>> = BTreeMap::new();
        for job in self.jobs {
            groups.entry(job.draft.conversation).or_default().push(job);
        }
        groups.into_values().map(|jobs| Self::new(jobs, false, false)).collect()
    }

    fn one_by_one(self) -> Vec<Self> {
        let last = self.jobs.len() - 1;
        let single = |(place, job)| Self::new(vec![job], self.waits, place != last);
        self.jobs.into_iter().enumerate().map(single).collect()
    }
}

/// Appends all of the jobs that may be appended, in one transaction.
async fn append(
    pool: &Pool,
    jobs: &mut [Job],
    waits: bool,
) -> Result<Vec<Result<Appended, Refusal>>, Fault> {
    let db = Db::new(pool::take(pool).await?, false);
    let planned = match Facts::read(&db, jobs, waits).await {
        Ok(facts) => Plan::make(facts, jobs),
        Err(fault) => Err(fault),
    };
    let plan = match planned {
        Ok(plan) if !plan.is_empty() => plan,
        nothing => {
            let is_answer = nothing.as_ref().map_or_else(Fault::is_answer, |_| true);
            if is_answer && db.command("ROLLBACK").await.is_ok() {
                db.release();
            }
            return nothing.map(|plan| plan.answers);
        }
    };
    for place in &plan.fresh {
        jobs[*place].uncertain = true;
    }
    let written = plan.write(&db).await;
    let is_over = match &written {
        Ok(()) => true,
        // To prepare a statement takes locks as well: then `COMMIT` was not sent.
        Err(fault) => fault.is_answer() && db.command("ROLLBACK").await.is_ok(),
    };
    if is_over {
        db.release();
    }
    written.map(|()| plan.answers)
}
