//! The second connection: how a session moves to another node, or away from one that has fallen
//! silent, without a moment in which it has none.
//!
//! While it is made, the first goes on as if nothing were. Once it is welcomed, whatever has no
//! answer yet is asked again over it, in the old order: the ids of drafts make that harmless, and
//! since either node takes up the drafts in that order, whichever is first with each, the order in
//! the log stays the same.

#[cfg(test)]
mod tests;

use super::{Aside, Effect, Link, Session, WELCOME_TIMEOUT};
use crate::{
    id::{LogId, Seq},
    port::directory::ChatNode,
    sync::{CloseReason, StopReason},
    time::Timestamp,
};

/// A connection that is made beside the live one.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    pub(super) to: Aside,
    since: Timestamp,
    /// When its hello was sent.
    hello: Option<Timestamp>,
    /// The server wants it, or does not serve; else it is made because the server is silent.
    pub(super) wanted: bool,
}

impl Session {
    /// Where it is in each log that it follows, as a hello says it over whichever connection.
    #[must_use]
    pub fn cursors(&self) -> Vec<(LogId, Seq)> {
        self.logs.cursors()
    }

    /// The server goes away and names the node that takes this session.
    pub fn handle_moving(&mut self, node: ChatNode, now: Timestamp) {
        if !matches!(self.link, Link::Live { .. }) {
            return;
        }
        match &mut self.beside {
            // It leads away from this node already.
            Some(beside) => beside.wanted = true,
            None => self.dial_beside(Aside::Node(node), true, now),
        }
    }

    /// The connection that [`Effect::DialBeside`] asked for is there.
    pub fn handle_beside_dialed(&mut self, now: Timestamp) {
        let Some(beside) = self.beside.as_mut().filter(|beside| beside.hello.is_none()) else {
            return;
        };
        beside.hello = Some(now);
        let cursors = self.cursors();
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
            self.attempt_failed = true;
            let random = self.draw();
            self.ear.not_before = now + self.ear.backoff.failed(random);
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
        self.listen(now);
    }

    /// When to call that.
    pub(super) fn beside_timeouts(&self) -> impl Iterator<Item = Timestamp> {
        [Some(self.listen_due()), self.beside_due()].into_iter().flatten()
    }

    pub(super) fn dial_beside(&mut self, to: Aside, wanted: bool, now: Timestamp) {
        self.beside = Some(Beside { to: to.clone(), since: now, hello: None, wanted });
        self.effects.push_back(Effect::DialBeside { to });
    }

    fn beside_due(&self) -> Option<Timestamp> {
        self.beside.as_ref().map(|beside| beside.since + WELCOME_TIMEOUT)
    }
}
