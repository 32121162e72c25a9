//! What is on its way into the logs: drafts, in the order in which they were written.

use std::collections::VecDeque;

use thiserror::Error;

use crate::{
    backoff::Backoff, entry::Draft, id::EntryId, limit::APPENDS_IN_FLIGHT_MAX, refusal::Refusal,
    time::Timestamp,
};

/// Drafts that one outbox holds. Someone who is offline that long had better be told.
pub const DRAFTS_MAX: usize = 10_000;

/// The outbox holds [`DRAFTS_MAX`] drafts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{DRAFTS_MAX} messages are waiting to be sent already; connect first")]
pub struct OutboxFull;

/// Drafts until they are acknowledged or refused for good.
///
/// At most [`APPENDS_IN_FLIGHT_MAX`] are sent ahead of their answers. After a loss all of them are
/// sent again, in order; their ids make that harmless (invariant 2).
#[derive(Debug, Default)]
pub struct Outbox {
    drafts: VecDeque<Queued>,
    in_flight: usize,
    /// The server asked for patience: nothing is sent before then.
    paused_until: Option<Timestamp>,
    /// A draft was refused for now, and the answers to those sent with it have yet to come: they may
    /// be refusals too, and what is sent before then would overtake them.
    settling: bool,
    backoff: Backoff,
}

#[derive(Debug)]
struct Queued {
    draft: Draft,
    sent: bool,
}

/// What a refusal means for a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It will never be accepted and is here no more.
    Dropped(Draft),
    /// It is sent again later.
    Later,
    /// It is not one of those in flight.
    Unknown,
}

impl Outbox {
    /// Takes a draft, behind all others.
    ///
    /// # Errors
    /// [`OutboxFull`].
    pub fn push(&mut self, draft: Draft) -> Result<(), OutboxFull> {
        if self.drafts.len() >= DRAFTS_MAX {
            return Err(OutboxFull);
        }
        self.drafts.push_back(Queued { draft, sent: false });
        Ok(())
    }

    /// Drafts that are not acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Whether everything was acknowledged or refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Drafts that were sent and not answered.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether the draft with this id is here.
    #[must_use]
    pub fn holds(&self, id: EntryId) -> bool {
        self.drafts.iter().any(|queued| queued.draft.id == id)
    }

    /// The draft with this id, while it is in flight.
    #[must_use]
    pub fn sent(&self, id: EntryId) -> Option<&Draft> {
        self.sent_position(id).map(|at| &self.drafts[at].draft)
    }

    /// The server has appended the draft. Answers it, if it was here.
    pub fn handle_acked(&mut self, id: EntryId) -> Option<Draft> {
        let at = self.sent_position(id)?;
        self.in_flight -= 1;
        self.backoff.reset();
        self.drafts.remove(at).map(|queued| queued.draft)
    }

    /// The server has refused the draft. A refusal that passes pauses the whole outbox, so that
    /// what comes after it does not overtake it, and at least until all that is in flight is
    /// answered.
    pub fn handle_refused(
        &mut self,
        id: EntryId,
        refusal: &Refusal,
        random: u64,
        now: Timestamp,
    ) -> Verdict {
        let Some(at) = self.sent_position(id) else { return Verdict::Unknown };
        self.in_flight -= 1;
        if !refusal.code.is_transient() {
            let dropped = self.drafts.remove(at).map(|queued| queued.draft);
            return dropped.map_or(Verdict::Unknown, Verdict::Dropped);
        }
        self.drafts[at].sent = false;
        self.settling = true;
        // One bad moment refuses up to a whole window of drafts: it counts as one failure.
        if self.paused_until.is_none_or(|until| until <= now) {
            let delay = self.backoff.failed(random);
            self.paused_until = Some(now + refusal.retry_after.unwrap_or(delay).max(delay));
        }
        Verdict::Later
    }

    /// The connection is gone: whatever was in flight counts as not sent.
    pub fn disconnected(&mut self) {
        for queued in &mut self.drafts {
            queued.sent = false;
        }
        self.in_flight = 0;
    }

    /// The next draft to send now, if any.
    pub fn poll_send(&mut self, now: Timestamp) -> Option<Draft> {
        self.settling &= self.in_flight > 0;
        if self.settling
            || self.in_flight >= APPENDS_IN_FLIGHT_MAX
            || self.paused_until.is_some_and(|until| now < until)
        {
            return None;
        }
        let next = self.drafts.iter_mut().find(|queued| !queued.sent)?;
        next.sent = true;
        self.in_flight += 1;
        Some(next.draft.clone())
    }

    /// When [`poll_send`](Self::poll_send) may answer differently without anything having happened.
    #[must_use]
    pub fn poll_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        self.paused_until.filter(|until| *until > now && self.in_flight < self.drafts.len())
    }

    /// Those in flight are all among the first few: the search is short however long the queue is.
    fn sent_position(&self, id: EntryId) -> Option<usize> {
        self.drafts
            .iter()
            .take(2 * APPENDS_IN_FLIGHT_MAX)
            .position(|queued| queued.sent && queued.draft.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{entry::Content, id::ConversationId, name::Text, refusal::Code};

    fn id(number: u8) -> EntryId {
        EntryId([number; 16])
    }

    fn outbox(count: u8) -> Outbox {
        let mut outbox = Outbox::default();
        for number in 1..=count {
            let content = Content::Text(Text::parse("x").unwrap());
            let conversation = ConversationId(1);
            outbox.push(Draft { conversation, id: id(number), content }).unwrap();
        }
        outbox
    }

    fn sends(outbox: &mut Outbox, now: u64) -> Vec<u8> {
        std::iter::from_fn(|| outbox.poll_send(Timestamp(now))).map(|draft| draft.id.0[0]).collect()
    }

    #[test]
    fn sends_a_window_and_more_with_each_ack() {
        let mut outbox = outbox(66);
        assert_eq!(sends(&mut outbox, 0), (1..=64).collect::<Vec<_>>());
        assert!(outbox.handle_acked(id(66)).is_none());
        assert!(outbox.holds(id(2)) && outbox.holds(id(66)) && !outbox.holds(id(67)));
        assert!(outbox.handle_acked(id(2)).is_some());
        assert!(outbox.handle_acked(id(2)).is_none());
        assert!(!outbox.holds(id(2)));
        assert_eq!(sends(&mut outbox, 0), [65]);
        assert!(outbox.handle_acked(id(65)).is_some());
        assert_eq!(sends(&mut outbox, 0), [66]);
        assert_eq!((outbox.len(), outbox.in_flight()), (64, 64));
    }

    #[test]
    fn sends_all_again_after_a_loss() {
        let mut outbox = outbox(3);
        assert_eq!(sends(&mut outbox, 0), [1, 2, 3]);
        assert!(outbox.handle_acked(id(2)).is_some());
        outbox.disconnected();
        assert_eq!(outbox.in_flight(), 0);
        assert_eq!(sends(&mut outbox, 0), [1, 3]);
    }

    #[test]
    fn a_refusal_that_passes_pauses_and_one_that_does_not_drops() {
        let mut outbox = outbox(3);
        assert_eq!(sends(&mut outbox, 0), [1, 2, 3]);
        let busy = Refusal::limited("slower", Duration::from_secs(2));
        assert_eq!(outbox.handle_refused(id(1), &busy, 7, Timestamp(0)), Verdict::Later);
        assert_eq!(outbox.handle_refused(id(2), &busy, 7, Timestamp(5)), Verdict::Later);
        let never = Refusal::new(Code::NotContacts, "no");
        let verdict = outbox.handle_refused(id(3), &never, 7, Timestamp(5));
        assert!(matches!(verdict, Verdict::Dropped(draft) if draft.id == id(3)));
        assert_eq!(outbox.handle_refused(id(3), &never, 7, Timestamp(5)), Verdict::Unknown);
        assert_eq!(outbox.poll_timeout(Timestamp(5)), Some(Timestamp(2_000)));
        assert_eq!(sends(&mut outbox, 1_999), Vec::<u8>::new());
        assert_eq!(sends(&mut outbox, 2_000), [1, 2]);
        assert_eq!(outbox.poll_timeout(Timestamp(2_000)), None);
    }

    #[test]
    fn what_was_refused_overtakes_nothing_that_is_in_flight() {
        let mut outbox = outbox(4);
        assert_eq!(sends(&mut outbox, 0), [1, 2, 3, 4]);
        let away = Refusal::new(Code::Unavailable, "away");
        assert_eq!(outbox.handle_refused(id(1), &away, 7, Timestamp(0)), Verdict::Later);
        // The time is over, and the answers to the others have not come.
        assert_eq!(sends(&mut outbox, 100_000), Vec::<u8>::new());
        assert!(outbox.handle_acked(id(3)).is_some() && outbox.handle_acked(id(4)).is_some());
        assert_eq!(sends(&mut outbox, 100_000), Vec::<u8>::new());
        assert_eq!(outbox.handle_refused(id(2), &away, 7, Timestamp(100_000)), Verdict::Later);
        assert_eq!(sends(&mut outbox, 200_000), [1, 2]);
        // A connection that is gone answers nothing any more.
        assert_eq!(outbox.handle_refused(id(1), &away, 7, Timestamp(200_000)), Verdict::Later);
        outbox.disconnected();
        assert_eq!(sends(&mut outbox, 300_000), [1, 2]);
    }

    #[test]
    fn is_bounded() {
        let mut outbox = outbox(1);
        let draft = outbox.poll_send(Timestamp(0)).unwrap();
        for _ in 1..DRAFTS_MAX {
            outbox.push(draft.clone()).unwrap();
        }
        assert_eq!(outbox.push(draft), Err(OutboxFull));
    }
}
