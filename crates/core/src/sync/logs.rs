//! All logs that a session follows: one timeline each, and whose turn it is to be read.

use std::collections::{BTreeMap, VecDeque};

use super::Timeline;
use crate::{
    entry::{Body, ContactStepKind, Entry},
    id::{AccountId, LogId, Seq},
};

/// Pages asked for at a time, over all logs.
pub const READS_IN_FLIGHT_MAX: usize = 8;

/// The timelines of one account. The session and this agree on what is applied; only the shell
/// stores.
#[derive(Debug)]
pub(super) struct Logs {
    account: AccountId,
    history_entries: u64,
    followed: BTreeMap<LogId, Followed>,
    /// Logs that want a page, in the order in which they began to.
    wanting: VecDeque<LogId>,
    reads_in_flight: usize,
}

#[derive(Debug)]
struct Followed {
    timeline: Timeline,
    /// It is in `wanting`.
    queued: bool,
}

/// A page to ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) log: LogId,
    pub(super) after: Seq,
    pub(super) limit: usize,
}

impl Logs {
    /// Follows the account's personal log and those that have a cursor. Of a conversation that
    /// becomes known later, it wants the last `history_entries`.
    pub(super) fn new(
        account: AccountId,
        cursors: Vec<(LogId, Seq)>,
        history_entries: u64,
    ) -> Self {
        let mut logs = Self {
            account,
            history_entries,
            followed: BTreeMap::new(),
            wanting: VecDeque::new(),
            reads_in_flight: 0,
        };
        logs.follow(LogId::Personal(account), Seq::ZERO);
        for (log, seq) in cursors {
            logs.followed.insert(log, Followed::starting_at(seq));
        }
        logs
    }

    pub(super) fn cursor(&self, log: LogId) -> Option<Seq> {
        self.followed.get(&log).map(|followed| followed.timeline.applied())
    }

    pub(super) fn cursors(&self) -> Vec<(LogId, Seq)> {
        let cursor = |(log, followed): (&LogId, &Followed)| (*log, followed.timeline.applied());
        self.followed.iter().map(cursor).collect()
    }

    pub(super) const fn reads_in_flight(&self) -> usize {
        self.reads_in_flight
    }

    pub(super) fn wants_reads(&self) -> bool {
        !self.wanting.is_empty()
    }

    /// Someone said how far logs reach.
    pub(super) fn handle_heads(&mut self, heads: impl IntoIterator<Item = (LogId, Seq)>) {
        for (log, head) in heads {
            let from = self.first_wanted(log, head);
            self.follow(log, from).timeline.handle_head(head);
            self.queue(log);
        }
    }

    /// Answers begin to come: logs that were in doubt when the last connection ended still are.
    pub(super) fn connected(&mut self) {
        let all: Vec<LogId> = self.followed.keys().copied().collect();
        for log in all {
            self.queue(log);
        }
    }

    /// No answer will come to what was asked.
    pub(super) fn disconnected(&mut self) {
        for followed in self.followed.values_mut() {
            followed.timeline.disconnected();
            followed.queued = false;
        }
        self.wanting.clear();
        self.reads_in_flight = 0;
    }

    /// An entry came by itself. Answers it if it is to be stored now.
    pub(super) fn handle_live(&mut self, log: LogId, entry: Entry) -> Option<Entry> {
        // The entry itself is news of an unknown log: what was before it may be missing.
        let from = self.first_wanted(log, Seq(entry.seq.0.saturating_sub(1)));
        let fresh = self.follow(log, from).timeline.handle_live(entry);
        if let Some(entry) = &fresh {
            self.note(log, entry);
        }
        self.queue(log);
        fresh
    }

    /// A page came. Answers what is to be stored, or nothing if it was not asked for.
    pub(super) fn handle_page(
        &mut self,
        log: LogId,
        after: Seq,
        entries: Vec<Entry>,
        head: Seq,
    ) -> Option<Vec<Entry>> {
        let timeline = self.asked(log, after)?;
        let fresh = timeline.handle_page(after, entries, head);
        self.reads_in_flight -= 1;
        for entry in &fresh {
            self.note(log, entry);
        }
        self.queue(log);
        Some(fresh)
    }

    /// A page was refused, for now or for good. Answers whether it had been asked for.
    pub(super) fn handle_refused(&mut self, log: LogId, after: Seq, for_good: bool) -> bool {
        let Some(timeline) = self.asked(log, after) else { return false };
        timeline.handle_refused(after);
        self.reads_in_flight -= 1;
        if for_good {
            self.followed.remove(&log);
        } else {
            self.queue(log);
        }
        true
    }

    /// The next page to ask for now, if any.
    pub(super) fn poll_read(&mut self) -> Option<Read> {
        while self.reads_in_flight < READS_IN_FLIGHT_MAX {
            let log = self.wanting.pop_front()?;
            let Some(followed) = self.followed.get_mut(&log) else { continue };
            followed.queued = false;
            if let Some(fetch) = followed.timeline.poll_fetch() {
                self.reads_in_flight += 1;
                return Some(Read { log, after: fetch.after, limit: fetch.limit });
            }
        }
        None
    }

    fn asked(&mut self, log: LogId, after: Seq) -> Option<&mut Timeline> {
        let timeline = &mut self.followed.get_mut(&log)?.timeline;
        timeline.is_fetching(after).then_some(timeline)
    }

    fn follow(&mut self, log: LogId, from: Seq) -> &mut Followed {
        self.followed.entry(log).or_insert_with(|| Followed::starting_at(from))
    }

    /// Where to start in a log that is not followed yet. One's personal log says who one's contacts
    /// are, and is wanted from its beginning.
    fn first_wanted(&self, log: LogId, head: Seq) -> Seq {
        match log {
            LogId::Personal(_) => Seq::ZERO,
            LogId::Conversation(_) => Seq(head.0.saturating_sub(self.history_entries)),
        }
    }

    /// An acceptance in one's personal log names a conversation to follow.
    fn note(&mut self, log: LogId, entry: &Entry) {
        let Body::Contact(step) = &entry.body else { return };
        let Some(conversation) = step.conversation.map(LogId::Conversation) else { return };
        if log == LogId::Personal(self.account)
            && step.kind == ContactStepKind::Accepted
            && !self.followed.contains_key(&conversation)
        {
            // Its first entries may have been announced before this one was.
            self.follow(conversation, Seq::ZERO).timeline.doubt();
            self.queue(conversation);
        }
    }

    fn queue(&mut self, log: LogId) {
        if let Some(followed) = self.followed.get_mut(&log)
            && !followed.queued
            && followed.timeline.wants_page()
        {
            followed.queued = true;
            self.wanting.push_back(log);
        }
    }
}

impl Followed {
    const fn starting_at(seq: Seq) -> Self {
        Self { timeline: Timeline::starting_at(seq), queued: false }
    }
}
