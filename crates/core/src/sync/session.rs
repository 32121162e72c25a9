//! The session of one device: connects, stays connected, sends what waits and reads what is
//! missing.

mod beside;
mod ear;
mod effect;
mod network;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

pub use ear::KEEP_ALIVE;
pub use effect::{Aside, Effect, Signs, Start, Target};
pub use network::MOVE_INTERVAL;

use self::{beside::Beside, ear::Ear, network::Moves};
use super::{
    CloseReason, Link, Outbox, OutboxFull, Verdict,
    logs::{Logs, Read},
};
use crate::{
    backoff::Backoff,
    entry::{Draft, Entry},
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    refusal::Refusal,
    time::Timestamp,
};

/// Entries of an unknown conversation's past that a fresh device reads. Older ones are read when
/// someone looks at them.
pub const INITIAL_HISTORY_ENTRIES: u64 = 500;
/// How long the server may take to answer a hello.
pub const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the server may leave requests without any answer.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that was live this long worked: after it, the backoff starts over. Without it, a
/// server that welcomes and then fails would be called as fast as it answers.
pub const STEADY_AFTER: Duration = Duration::from_secs(10);

/// The machine. See the [module](super) for how to drive it.
///
/// Answers of a connection that is gone must not be handed in: the shell drops what comes after it
/// has said [`handle_closed`](Self::handle_closed) or was told [`Effect::Hangup`]. After
/// [`Effect::Switch`] the former connection's word that a draft was appended still counts, and no
/// other.
#[derive(Debug)]
pub struct Session {
    account: AccountId,
    link: Link,
    outbox: Outbox,
    logs: Logs,
    reads_paused_until: Option<Timestamp>,
    read_backoff: Backoff,
    /// When the server last answered, or was first asked after that.
    answered_at: Timestamp,
    backoff: Backoff,
    /// The node to connect to next: where the last does not serve there may be a better one.
    target: Target,
    /// A second connection that is to take the place of the live one.
    beside: Option<Beside>,
    ear: Ear,
    moves: Moves,
    /// The last attempt to connect has failed.
    attempt_failed: bool,
    random: u64,
    effects: VecDeque<Effect>,
}

impl Session {
    /// A session that continues from what is on disk. Call [`connect`](Self::connect) next.
    ///
    /// # Errors
    /// [`OutboxFull`] if there are more drafts than an outbox holds.
    pub fn new(start: Start) -> Result<Self, OutboxFull> {
        let mut outbox = Outbox::default();
        for draft in start.drafts {
            outbox.push(draft)?;
        }
        Ok(Self {
            account: start.account,
            link: Link::Idle,
            outbox,
            logs: Logs::new(start.account, start.cursors, start.history_entries),
            reads_paused_until: None,
            read_backoff: Backoff::new(),
            answered_at: Timestamp(0),
            backoff: Backoff::new(),
            target: Target::Last,
            beside: None,
            ear: Ear::default(),
            moves: Moves::default(),
            attempt_failed: false,
            random: start.seed,
            effects: VecDeque::new(),
        })
    }

    /// Whose session it is.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// Where it stands with its chat node.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// What waits to be sent or acknowledged.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Where it is in a log that it follows.
    #[must_use]
    pub fn cursor(&self, log: LogId) -> Option<Seq> {
        self.logs.cursor(log)
    }

    /// Connects, and stays connected from now on.
    pub fn connect(&mut self) {
        if self.link == Link::Idle {
            self.dial();
        }
    }

    /// Takes a draft that is on disk, and sends it as soon as it can.
    ///
    /// # Errors
    /// [`OutboxFull`]; then it is for the next session to send.
    pub fn enqueue(&mut self, draft: Draft, now: Timestamp) -> Result<(), OutboxFull> {
        self.outbox.push(draft)?;
        self.work(now);
        Ok(())
    }

    /// The connection that [`Effect::Dial`] asked for is there.
    pub fn handle_dialed(&mut self, now: Timestamp) {
        if self.link != Link::Connecting {
            return;
        }
        let cursors = self.cursors();
        self.effects.push_back(Effect::SendHello { cursors });
        self.enter(Link::AwaitingWelcome { since: now });
    }

    /// The server has answered the hello with the heads of all of the account's logs.
    pub fn handle_welcome(
        &mut self,
        heads: impl IntoIterator<Item = (LogId, Seq)>,
        now: Timestamp,
    ) {
        if !matches!(self.link, Link::AwaitingWelcome { .. }) {
            return;
        }
        self.go_live(heads, now);
    }

    /// An entry came by itself.
    pub fn handle_entry(&mut self, log: LogId, entry: Entry, now: Timestamp) {
        self.take_live(log, entry);
        self.work(now);
    }

    /// Events were dropped: these are the heads to read up to.
    pub fn handle_behind(&mut self, heads: impl IntoIterator<Item = (LogId, Seq)>, now: Timestamp) {
        self.logs.handle_heads(heads);
        self.work(now);
    }

    /// The page that [`Effect::ReadLog`] asked for.
    pub fn handle_page(
        &mut self,
        log: LogId,
        after: Seq,
        entries: Vec<Entry>,
        head: Seq,
        now: Timestamp,
    ) {
        let Some(fresh) = self.logs.handle_page(log, after, entries, head) else { return };
        self.answered(now);
        self.ear.served();
        self.read_backoff.reset();
        self.effects.extend(fresh.into_iter().map(|entry| Effect::Store { log, entry }));
        self.work(now);
    }

    /// The page that [`Effect::ReadLog`] asked for was refused. Unless that passes, the log is not,
    /// or no longer, for this account to read, and is followed no more.
    pub fn handle_page_refused(
        &mut self,
        log: LogId,
        after: Seq,
        refusal: &Refusal,
        now: Timestamp,
    ) {
        let passes = refusal.code.is_transient();
        if !self.logs.handle_refused(log, after, !passes) {
            return;
        }
        self.answered(now);
        self.handle_unavailable(refusal, now);
        if passes {
            let random = self.draw();
            let delay = self.read_backoff.failed(random);
            self.reads_paused_until = Some(now + refusal.retry_after.unwrap_or(delay).max(delay));
        }
        self.work(now);
    }

    /// The server has appended a draft, now or when it was first sent.
    pub fn handle_appended(&mut self, conversation: ConversationId, entry: Entry, now: Timestamp) {
        self.answered(now);
        self.ear.served();
        let (id, seq) = (entry.id, entry.seq);
        if self.outbox.handle_acked(id).is_some() {
            self.effects.push_back(Effect::Acked { id, conversation, seq });
        }
        self.take_live(LogId::Conversation(conversation), entry);
        self.work(now);
    }

    /// The server has refused a draft.
    pub fn handle_refused(&mut self, id: EntryId, refusal: Refusal, now: Timestamp) {
        self.answered(now);
        self.handle_unavailable(&refusal, now);
        let random = self.draw();
        match self.outbox.handle_refused(id, &refusal, random, now) {
            Verdict::Dropped(draft) => {
                self.effects.push_back(Effect::Rejected { id: draft.id, refusal });
            }
            Verdict::Later | Verdict::Unknown => {}
        }
        self.work(now);
    }

    /// The connection ended, or could not be made.
    pub fn handle_closed(&mut self, reason: &CloseReason, now: Timestamp) {
        if matches!(self.link, Link::Idle | Link::Waiting { .. } | Link::Stopped(_)) {
            return;
        }
        self.forget_connection();
        if let Some(stop) = reason.stops() {
            self.stop(stop);
            return;
        }
        self.attempt_failed |= !matches!(self.link, Link::Live { .. });
        if let Link::Live { since } = self.link
            && (now.since(since) >= STEADY_AFTER || *reason == CloseReason::Draining)
        {
            self.backoff.reset();
        }
        self.target = self.target.max(Target::after(&self.link, reason));
        if self.promote() {
            return;
        }
        let random = self.draw();
        let until = now + self.backoff.failed(random);
        self.enter(Link::Waiting { until });
        self.effects.push_back(Effect::Lost(reason.clone()));
    }

    /// Disconnects and stays away until [`connect`](Self::connect).
    pub fn disconnect(&mut self) {
        if matches!(self.link, Link::Idle | Link::Stopped(_)) {
            return;
        }
        self.forget_connection();
        self.hang_up_beside();
        self.effects.push_back(Effect::Hangup);
        self.enter(Link::Idle);
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Harmless at other times.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.handle_move_timeout(now);
        match self.link {
            Link::Waiting { until } if until <= now => self.dial(),
            Link::AwaitingWelcome { since } if since + WELCOME_TIMEOUT <= now => self.give_up(now),
            Link::Live { .. } if self.reply_due().is_some_and(|due| due <= now) => {
                self.give_up(now);
            }
            Link::Live { .. } => {
                self.handle_beside_timeout(now);
                self.work(now);
            }
            _ => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        let due = match self.link {
            Link::Idle | Link::Stopped(_) => return None,
            Link::Connecting => None,
            Link::Waiting { until } => Some(until),
            Link::AwaitingWelcome { since } => Some(since + WELCOME_TIMEOUT),
            Link::Live { .. } => {
                let reads = self.reads_paused_until.filter(|_| self.logs.wants_reads());
                let due = [self.reply_due(), self.outbox.poll_timeout(now), reads];
                due.into_iter().flatten().chain(self.beside_timeouts()).min()
            }
        };
        [due, self.move_due()].into_iter().flatten().min()
    }

    /// The next thing for the shell to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn enter(&mut self, link: Link) {
        self.link = link;
        self.effects.push_back(Effect::StateChanged);
    }

    fn dial(&mut self) {
        self.enter(Link::Connecting);
        self.effects.push_back(Effect::Dial { target: self.target });
    }

    /// The server's welcome has come over the connection that counts from now on.
    fn go_live(&mut self, heads: impl IntoIterator<Item = (LogId, Seq)>, now: Timestamp) {
        self.logs.handle_heads(heads);
        self.logs.connected();
        self.target = Target::Last;
        self.attempt_failed = false;
        self.ear.connected(now);
        self.enter(Link::Live { since: now });
        self.work(now);
    }

    /// The server is there and does not answer: only another connection can help.
    fn give_up(&mut self, now: Timestamp) {
        self.target = Target::Other;
        self.effects.push_back(Effect::Hangup);
        self.handle_closed(&CloseReason::TimedOut, now);
    }

    fn forget_connection(&mut self) {
        self.outbox.disconnected();
        self.logs.disconnected();
        self.reads_paused_until = None;
    }

    fn take_live(&mut self, log: LogId, entry: Entry) {
        if let Some(entry) = self.logs.handle_live(log, entry) {
            self.effects.push_back(Effect::Store { log, entry });
        }
    }

    /// Sends what may be sent now.
    fn work(&mut self, now: Timestamp) {
        if !matches!(self.link, Link::Live { .. }) {
            return;
        }
        let was_owed = self.is_owed();
        while let Some(draft) = self.outbox.poll_send(now) {
            self.effects.push_back(Effect::SendDraft(draft));
        }
        if self.reads_paused_until.is_none_or(|until| until <= now) {
            self.reads_paused_until = None;
            while let Some(Read { log, after, limit }) = self.logs.poll_read() {
                self.effects.push_back(Effect::ReadLog { log, after, limit });
            }
        }
        if !was_owed {
            self.answered_at = now;
        }
    }

    fn answered(&mut self, now: Timestamp) {
        self.answered_at = now;
        self.ear.answered();
    }

    fn is_owed(&self) -> bool {
        self.outbox.in_flight() + self.logs.reads_in_flight() > 0
    }

    fn reply_due(&self) -> Option<Timestamp> {
        // A server that cannot be heard is no server that does not answer.
        (self.is_owed() && !self.ear.is_silent()).then(|| self.answered_at + REPLY_TIMEOUT)
    }

    /// The next of a sequence of numbers that starts with the seed (splitmix64): enough to spread
    /// clients over time, and the same each time for the simulation.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
