//! The second connection: how a session moves to another node, or away from one that has fallen
//! silent, without a moment in which it has none.
//!
//! While it is made, the first goes on as if nothing were. Once it is welcomed, whatever has no
//! answer yet is asked again over it, in the old order: the ids of drafts make that harmless, and
//! since either node takes up the drafts in that order, whichever is first with each, the order in
//! the log stays the same.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Effect, Link, Session, WELCOME_TIMEOUT};
use crate::{
    backoff::Backoff,
    id::{LogId, Seq},
    port::directory::ChatNode,
    refusal::{Code, Refusal},
    sync::{CloseReason, StopReason},
    time::Timestamp,
};

/// How often the shell's idle connection has to make the server answer with at least an
/// acknowledgement.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How often it is listened for signs of life while the server owes an answer.
const LISTEN_OWED: Duration = Duration::from_millis(500);
/// How often otherwise.
const LISTEN_IDLE: Duration = Duration::from_millis(2_500);
/// How long a server that owes an answer may give no sign of life, besides
/// [`ROUND_TRIPS`] round trips: longer than a busy process is not scheduled.
const SILENCE_OWED: Duration = Duration::from_millis(1_500);
/// Round trips after which a packet has either been acknowledged or lost more than once.
const ROUND_TRIPS: u32 = 3;
/// The longest round trip that is believed.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(3);
/// How long an idle connection may show no sign of life: a keep-alive and its answer may be lost.
const SILENCE_IDLE: Duration = Duration::from_millis(7_500);

/// How long a server may answer only that what it needs is unavailable, before another is looked for.
const USELESS_AFTER: Duration = Duration::from_secs(5);
/// How long at least from one look for another server to the next, and how much longer at most: if all
/// of them lack the same, haste helps nobody.
const LOOK_ELSEWHERE_INTERVAL: Duration = Duration::from_secs(30);

/// A connection that is made beside the live one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    since: Timestamp,
    /// When its hello was sent.
    hello: Option<Timestamp>,
    /// The server wants it, or does not serve; else it is made because the server is silent.
    wanted: bool,
}

/// Listens whether the server is there.
#[derive(Debug, Default)]
pub(super) struct Ear {
    listened_at: Timestamp,
    heard_at: Timestamp,
    round_trip: Duration,
    /// Second connections that came to nothing, and when to try the next.
    backoff: Backoff,
    not_before: Timestamp,
    /// Since when the server has answered only `unavailable`.
    useless_since: Option<Timestamp>,
    /// No other server is looked for before then because of that.
    elsewhere_not_before: Timestamp,
}

impl Ear {
    pub(super) fn connected(&mut self, now: Timestamp) {
        self.listened_at = now;
        self.heard_at = now;
        self.useless_since = None;
    }

    /// The server has done what it was asked.
    pub(super) const fn served(&mut self) {
        self.useless_since = None;
    }
}

impl Session {
    /// The server goes away and names the node that takes this session.
    pub fn handle_moving(&mut self, node: ChatNode, now: Timestamp) {
        if !matches!(self.link, Link::Live { .. }) {
            return;
        }
        match &mut self.beside {
            // It leads away from this node already.
            Some(beside) => beside.wanted = true,
            None => self.dial_beside(Some(node), now),
        }
    }

    /// The connection that [`Effect::DialBeside`] asked for is there.
    pub fn handle_beside_dialed(&mut self, now: Timestamp) {
        let Some(beside) = self.beside.as_mut().filter(|beside| beside.hello.is_none()) else {
            return;
        };
        beside.hello = Some(now);
        let cursors = self.logs.cursors();
        self.effects.push_back(Effect::SendHelloBeside { cursors });
    }

    /// The server has answered the hello on the second connection, which is the one in use now.
    pub fn handle_beside_welcome(
        &mut self,
        heads: impl IntoIterator<Item = (LogId, Seq)>,
        now: Timestamp,
    ) {
        if self.beside.take_if(|beside| beside.hello.is_some()).is_none() {
            return;
        }
        self.forget_connection();
        self.effects.push_back(Effect::Switch);
        self.go_live(heads, now);
    }

    /// The second connection ended, or could not be made. The first goes on, unless the server said
    /// what holds for any connection.
    pub fn handle_beside_closed(&mut self, reason: &CloseReason, now: Timestamp) {
        let Some(beside) = self.beside.take() else { return };
        if let Some(stop) = reason.stops() {
            self.forget_connection();
            self.effects.push_back(Effect::Hangup);
            self.stop(stop);
            return;
        }
        if !beside.wanted {
            let random = self.draw();
            self.ear.not_before = now + self.ear.backoff.failed(random);
        }
    }

    /// The server has refused something. If it has done nothing else for a while it may be cut off
    /// from a part that other nodes reach.
    pub(super) fn handle_unavailable(&mut self, refusal: &Refusal, now: Timestamp) {
        if refusal.code != Code::Unavailable || !matches!(self.link, Link::Live { .. }) {
            return;
        }
        let since = *self.ear.useless_since.get_or_insert(now);
        if now.since(since) < USELESS_AFTER
            || now < self.ear.elsewhere_not_before
            || self.beside.is_some()
        {
            return;
        }
        let longest_ms = u64::try_from(LOOK_ELSEWHERE_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let spread = Duration::from_millis(self.draw() % longest_ms);
        self.ear.elsewhere_not_before = now + LOOK_ELSEWHERE_INTERVAL + spread;
        self.dial_beside(None, now);
        // It goes on although signs of life are heard: they are not what is missing.
        self.beside = self.beside.map(|beside| Beside { wanted: true, ..beside });
    }

    /// What [`Effect::Listen`] asked for: whether anything has come over the live connection since
    /// the last time, and how long its packets take there and back.
    pub fn handle_listened(&mut self, heard: bool, round_trip: Duration, now: Timestamp) {
        if !matches!(self.link, Link::Live { .. }) {
            return;
        }
        self.ear.round_trip = round_trip.min(ROUND_TRIP_MAX);
        if heard {
            self.ear.heard_at = now;
            self.ear.backoff.reset();
            if self.beside.is_some_and(|beside| !beside.wanted) {
                self.hang_up_beside();
            }
        } else if self.beside.is_none() && self.is_silent(now) && self.ear.not_before <= now {
            self.dial_beside(None, now);
        }
    }

    /// The live connection is gone. If there is another on its way it takes its place.
    pub(super) fn promote(&mut self) -> bool {
        let Some(beside) = self.beside.take() else { return false };
        self.effects.push_back(Effect::Switch);
        self.enter(match beside.hello {
            Some(since) => Link::AwaitingWelcome { since },
            None => Link::Connecting,
        });
        true
    }

    /// Ends either connection for good.
    pub(super) fn stop(&mut self, stop: StopReason) {
        self.hang_up_beside();
        self.enter(Link::Stopped(stop.clone()));
        self.effects.push_back(Effect::Stopped(stop));
    }

    pub(super) fn hang_up_beside(&mut self) {
        if self.beside.take().is_some() {
            self.effects.push_back(Effect::HangupBeside);
        }
    }

    /// Does what is due while the session is live.
    pub(super) fn handle_beside_timeout(&mut self, now: Timestamp) {
        if self.beside_due().is_some_and(|due| due <= now) {
            self.effects.push_back(Effect::HangupBeside);
            self.handle_beside_closed(&CloseReason::TimedOut, now);
        }
        if self.listen_due() <= now {
            self.ear.listened_at = now;
            self.effects.push_back(Effect::Listen);
        }
    }

    /// When to call that.
    pub(super) fn beside_timeouts(&self) -> impl Iterator<Item = Timestamp> {
        [Some(self.listen_due()), self.beside_due()].into_iter().flatten()
    }

    fn dial_beside(&mut self, node: Option<ChatNode>, now: Timestamp) {
        self.beside = Some(Beside { since: now, hello: None, wanted: node.is_some() });
        self.effects.push_back(Effect::DialBeside { node });
    }

    fn beside_due(&self) -> Option<Timestamp> {
        self.beside.map(|beside| beside.since + WELCOME_TIMEOUT)
    }

    fn listen_due(&self) -> Timestamp {
        self.ear.listened_at + if self.is_owed() { LISTEN_OWED } else { LISTEN_IDLE }
    }

    fn is_silent(&self, now: Timestamp) -> bool {
        if now.since(self.ear.heard_at) >= SILENCE_IDLE {
            return true;
        }
        // Nothing need have come while nothing was asked.
        let from = self.ear.heard_at.max(self.answered_at);
        self.is_owed() && now.since(from) >= SILENCE_OWED + ROUND_TRIPS * self.ear.round_trip
    }
}
