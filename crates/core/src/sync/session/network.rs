//! What a session does when its device has another network: the connection moves there, and unless
//! the new path shows at once that it works, another connection is made beside it. Whichever of
//! the two works first is used. Where there is no way to the server's address any more, but one to
//! another of its addresses, nothing can move there and the other connection is made at once.
//!
//! An interface that comes and goes must not make the session do so: moves are at least
//! [`MOVE_INTERVAL`] apart, and what happens in between is one change.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Aside, Effect, Link, Session};
use crate::time::Timestamp;

/// The least time from one move to the next.
pub const MOVE_INTERVAL: Duration = Duration::from_millis(500);

/// Moves so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Moves {
    last: Option<Timestamp>,
    /// The network has changed again since.
    again: bool,
    /// When there was no way to move last.
    stranded: Option<Timestamp>,
}

impl Session {
    /// The network of the device has changed: another interface, address or route.
    pub fn handle_network_changed(&mut self, now: Timestamp) {
        if self.has_just_moved(now) {
            self.moves.again = true;
        } else {
            self.change_network(now);
        }
    }

    /// The device has no way to the address of the server any more, but one to another of its
    /// addresses, as where IPv4 goes and IPv6 stays. If a way comes back meanwhile, the connection
    /// goes on.
    pub fn handle_stranded(&mut self, now: Timestamp) {
        let live = matches!(self.link, Link::Live { .. });
        // What is known to be silent is being left already.
        if !live || self.ear.is_silent() || is_recent(self.moves.stranded, now) {
            return;
        }
        self.moves.stranded = Some(now);
        self.ear.cut_off();
        if self.beside.is_none() {
            self.dial_beside(Aside::First, false, now);
        }
    }

    /// Whether it is worth saying hello with the first packets of the next connection: that uses up
    /// a ticket, of which there are few. After an attempt over the same network that came to nothing
    /// they are kept for when there is another network.
    #[must_use]
    pub const fn speaks_early(&self) -> bool {
        !self.attempt_failed
    }

    /// A person is looking: does not sit out a wait.
    pub fn nudge(&mut self, now: Timestamp) {
        match self.link {
            Link::Waiting { .. } => {
                self.attempt_failed = false;
                self.dial();
            }
            Link::Live { .. } if self.ear.is_silent() => {
                self.attempt_failed = false;
                self.ear.backoff.reset();
                self.ear.not_before = now;
                if self.beside.is_none() {
                    self.dial_beside(Aside::First, false, now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn has_just_moved(&self, now: Timestamp) -> bool {
        is_recent(self.moves.last, now)
    }

    /// Moves again if the network has changed since the last time.
    pub(super) fn handle_move_timeout(&mut self, now: Timestamp) {
        if self.move_due().is_some_and(|due| due <= now) {
            self.change_network(now);
        }
    }

    /// When to call that.
    pub(super) fn move_due(&self) -> Option<Timestamp> {
        self.moves.last.filter(|_| self.moves.again).map(|last| last + MOVE_INTERVAL)
    }

    fn change_network(&mut self, now: Timestamp) {
        if matches!(self.link, Link::Idle | Link::Stopped(_)) {
            return;
        }
        self.moves = Moves { last: Some(now), again: false, ..self.moves };
        // Whatever failed before failed over another network.
        self.attempt_failed = false;
        self.ear.backoff.reset();
        self.ear.not_before = now;
        self.effects.push_back(Effect::Move);
        match self.link {
            Link::Live { .. } => {
                self.ear.moved(now);
                // A handshake cannot move (RFC 9000, section 9): one that has begun begins anew.
                if let Some(beside) = self.beside.take() {
                    self.effects.push_back(Effect::HangupBeside);
                    self.dial_beside(beside.to, beside.wanted, now);
                }
            }
            Link::Connecting | Link::AwaitingWelcome { .. } | Link::Waiting { .. } => self.dial(),
            Link::Idle | Link::Stopped(_) => {}
        }
    }
}

/// Whether that was less than [`MOVE_INTERVAL`] ago.
fn is_recent(at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_some_and(|at| now.since(at) < MOVE_INTERVAL)
}
