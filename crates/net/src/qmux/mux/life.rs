//! Whether the peer is there: what is asked of it when it is silent, and when it is taken for gone.

use std::time::Duration;

use tokio::time::Instant;

use super::{End, Mux};

impl Mux {
    /// How long a ping and its answer take together.
    #[must_use]
    pub const fn round_trip(&self) -> Duration {
        self.pings.round_trip()
    }

    /// Pings that were sent; the peer answers each.
    #[must_use]
    pub const fn pings(&self) -> u64 {
        self.pings.next()
    }

    /// Asks for a sign of life now.
    pub fn ping(&mut self) {
        self.pings.want();
        self.bells.output.notify_one();
    }

    /// When [`tick`](Self::tick) is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        let gone = self.heard_at + self.idle_timeout();
        match self.config.keep_alive {
            Some(every) => gone.min(self.heard_at.max(self.sent_at) + every),
            None => gone,
        }
    }

    /// Does what is due: asks whether the peer is there, or takes it for gone.
    pub fn tick(&mut self, now: Instant) {
        if now >= self.heard_at + self.idle_timeout() {
            self.finish(End::Lost("nothing was heard from the peer".into()));
        } else if now >= self.due() {
            self.sent_at = now;
            self.ping();
        }
    }

    /// The shorter of what the two sides have told (RFC 9000, section 10.1).
    fn idle_timeout(&self) -> Duration {
        let peer = self.peer.map_or(0, |peer| peer.idle_timeout_ms);
        let ours = self.config.idle_timeout;
        if peer == 0 { ours } else { ours.min(Duration::from_millis(peer)) }
    }
}
