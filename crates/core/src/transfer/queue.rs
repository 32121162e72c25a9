//! Which of many transfers are under way: a few at a time, in the order in which they were queued,
//! and each until it is complete, given up, or refused for good.
//!
//! The queue itself is kept by the shell, and anybody may pause, resume or cancel what is in it, also
//! another process. So this machine is told what stands there
//! ([`handle_listed`](Queue::handle_listed)), says what is to be started and stopped, and what to
//! write down. A try that was stopped counts as under way until its end was handed in
//! ([`handle_ended`](Queue::handle_ended)): nothing is ever tried twice at a time.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::{Next, Patience};
use crate::{id::TransferId, refusal::Refusal, time::Timestamp};

/// Transfers that are under way at a time. One alone would leave the path idle while the server
/// finishes it; many would each be late.
pub const RUNNING_MAX: usize = 2;

/// Where a queued transfer stands. The numbers are kept by clients: stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransferState {
    /// Its turn has not come, or nobody is there to carry it out.
    Queued = 1,
    /// The file is being read to know its hash.
    Hashing = 2,
    /// Bytes are on their way.
    Running = 3,
    /// It was interrupted, and goes on by itself.
    Waiting = 4,
    /// Somebody has paused it.
    Paused = 5,
    /// It is complete.
    Done = 6,
    /// It cannot be done, until somebody resumes it.
    Failed = 7,
    /// Somebody did not want it any more.
    Cancelled = 8,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It is complete.
    Done,
    /// It was stopped, as was asked for.
    Stopped,
    /// The connection was lost, or something that passes was in the way.
    Lost {
        /// Whether bytes have moved.
        progressed: bool,
    },
    /// The server said no.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whether bytes have moved.
        progressed: bool,
    },
    /// The next try would end alike.
    Failed,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEffect {
    /// Try this one.
    Start(TransferId),
    /// End the try, and say when it has ended.
    Stop(TransferId),
    /// Write down where it stands, unless somebody has paused or cancelled it meanwhile.
    Keep(TransferId, TransferState),
}

/// The machine.
#[derive(Debug, Default)]
pub struct Queue {
    jobs: BTreeMap<TransferId, Job>,
    online: bool,
    effects: VecDeque<QueueEffect>,
}

#[derive(Debug)]
struct Job {
    state: TransferState,
    trying: Trying,
    patience: Patience,
    hold: Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trying {
    No,
    Yes,
    /// Its try was told to end.
    Stopping,
}

/// What keeps a job from its next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Nothing,
    /// The backoff after a lost connection. A new connection ends it.
    Lost(Timestamp),
    /// The server wants to be left alone until then.
    Refused(Timestamp),
}

impl TransferState {
    /// All states.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Hashing,
        Self::Running,
        Self::Waiting,
        Self::Paused,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| *state as u32 == number)
    }

    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Hashing => "hashing",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it goes on by itself when there is a connection.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Hashing | Self::Running | Self::Waiting)
    }

    /// Whether nothing more will come of it unless somebody asks.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

impl Queue {
    /// What is written down, after all that this machine has said: the transfers that may still be
    /// carried out, each with its state. What is not among them is none of the queue's business any
    /// more.
    pub fn handle_listed(&mut self, listed: &[(TransferId, TransferState)]) {
        for (id, state) in listed.iter().filter(|(_, state)| state.is_active()) {
            let job = self.jobs.entry(*id).or_insert_with(|| Job::new(*state));
            if !job.state.is_active() {
                // Resumed: whatever was in the way is for the next try to find out.
                let trying = job.trying;
                *job = Job { trying, ..Job::new(*state) };
            }
        }
        let wanted: BTreeMap<_, _> = listed.iter().copied().collect();
        for (id, job) in &mut self.jobs {
            let state = wanted.get(id).copied().unwrap_or(TransferState::Cancelled);
            if state.is_active() {
                continue;
            }
            job.state = state;
            if job.trying == Trying::Yes {
                job.trying = Trying::Stopping;
                self.effects.push_back(QueueEffect::Stop(*id));
            }
        }
        self.tidy();
    }

    /// There is a session with the server, or none.
    pub fn handle_online(&mut self, online: bool) {
        if online && !self.online {
            for job in self.jobs.values_mut() {
                if matches!(job.hold, Hold::Lost(_)) {
                    job.hold = Hold::Nothing;
                }
            }
        }
        self.online = online;
    }

    /// What a try is doing: hashing or running.
    pub fn handle_doing(&mut self, id: TransferId, state: TransferState) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.trying == Trying::Yes && job.state != state && state.is_active() {
            job.keep(id, state, &mut self.effects);
        }
    }

    /// A try has ended. `random` is drawn evenly from all numbers.
    pub fn handle_ended(&mut self, id: TransferId, ended: &Ended, random: u64, now: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.trying = Trying::No;
        let (next, lost) = match ended {
            Ended::Done => {
                job.keep(id, TransferState::Done, &mut self.effects);
                return self.tidy();
            }
            Ended::Failed => (Next::GiveUp, false),
            Ended::Stopped => (Next::Retry(std::time::Duration::ZERO), true),
            Ended::Lost { progressed } => {
                job.patience_after(*progressed);
                (job.patience.lost(random), true)
            }
            Ended::Refused { refusal, progressed } => {
                job.patience_after(*progressed);
                (job.patience.refused(refusal, random), false)
            }
        };
        if job.state.is_active() {
            match next {
                Next::GiveUp => job.keep(id, TransferState::Failed, &mut self.effects),
                Next::Retry(delay) => {
                    let until = now + delay;
                    job.hold = if lost { Hold::Lost(until) } else { Hold::Refused(until) };
                    job.keep(id, TransferState::Waiting, &mut self.effects);
                }
            }
        }
        self.tidy();
    }

    /// When to call [`poll_effect`](Self::poll_effect) again, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if !self.online || self.trying() >= RUNNING_MAX {
            return None;
        }
        self.jobs.values().filter(|job| job.is_candidate()).filter_map(|job| job.hold.end()).min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self, now: Timestamp) -> Option<QueueEffect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if !self.online || self.trying() >= RUNNING_MAX {
            return None;
        }
        let due = |job: &Job| job.is_candidate() && job.hold.end().is_none_or(|end| end <= now);
        let (id, job) = self.jobs.iter_mut().find(|(_, job)| due(job))?;
        job.trying = Trying::Yes;
        job.hold = Hold::Nothing;
        Some(QueueEffect::Start(*id))
    }

    /// Whether nothing is left that goes on by itself.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.effects.is_empty()
            && self.jobs.values().all(|job| job.trying == Trying::No && !job.state.is_active())
    }

    /// Tries under way, and those that were told to end.
    fn trying(&self) -> usize {
        self.jobs.values().filter(|job| job.trying != Trying::No).count()
    }

    /// Forgets what is over. What is paused comes again with the list.
    fn tidy(&mut self) {
        self.jobs.retain(|_, job| job.trying != Trying::No || job.state.is_active());
    }
}

impl Job {
    fn new(state: TransferState) -> Self {
        let (trying, hold) = (Trying::No, Hold::Nothing);
        Self { state, trying, patience: Patience::endless(), hold }
    }

    fn is_candidate(&self) -> bool {
        self.state.is_active() && self.trying == Trying::No
    }

    const fn patience_after(&mut self, progressed: bool) {
        if progressed {
            self.patience.progressed();
        }
    }

    fn keep(&mut self, id: TransferId, state: TransferState, effects: &mut VecDeque<QueueEffect>) {
        self.state = state;
        effects.push_back(QueueEffect::Keep(id, state));
    }
}

impl Hold {
    const fn end(self) -> Option<Timestamp> {
        match self {
            Self::Nothing => None,
            Self::Lost(until) | Self::Refused(until) => Some(until),
        }
    }
}
