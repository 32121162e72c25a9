//! Pings: they measure the path, show that the peer lives, and that it has what was sent before.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Violation;
use crate::transport::ROUND_TRIP_UNKNOWN;

/// How far apart the pings are that go along with what is sent, at least.
const INTERVAL: Duration = Duration::from_millis(250);

/// How many times as long as a sample the estimate may be. More is no path that has become shorter.
const AWAY_TIMES: u32 = 8;

#[derive(Debug)]
pub(super) struct Pings {
    /// The number of the next ping.
    next: u64,
    wanted: bool,
    /// The last ping, while it has no answer.
    waiting: Option<Instant>,
    sent_at: Option<Instant>,
    /// The highest ping that was answered.
    answered: Option<u64>,
    /// The peer's last ping, and whether it is still to be answered. One answer does for all before.
    asked: Option<u64>,
    owed: bool,
    round_trip: Option<Duration>,
}

impl Pings {
    pub(super) const fn new(round_trip: Option<Duration>) -> Self {
        Self {
            next: 0,
            wanted: true,
            waiting: None,
            sent_at: None,
            answered: None,
            asked: None,
            owed: false,
            round_trip,
        }
    }

    /// Asks, unless the last ping has no answer yet: TCP repeats that, and another would stand in the
    /// way of what waits.
    pub(super) const fn want(&mut self) {
        self.wanted |= self.waiting.is_none();
    }

    /// Something is sent: ask whether it arrives, if that was not asked just now.
    pub(super) fn accompany(&mut self, now: Instant) {
        let recent = self.sent_at.is_some_and(|sent| now < sent + INTERVAL);
        if !recent && self.waiting.is_none() {
            self.wanted = true;
        }
    }

    /// Asks whether what goes into this record arrives: the answer to the ping of this number says so.
    /// While another has no answer yet, it follows that.
    pub(super) const fn follow(&mut self) -> u64 {
        self.wanted = true;
        self.next
    }

    /// The number that the next ping will have.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) const fn answered(&self) -> Option<u64> {
        self.answered
    }

    /// Whether there is a ping to send now.
    pub(super) const fn is_due(&self) -> bool {
        self.wanted && self.waiting.is_none()
    }

    /// The ping to send now, if one is.
    pub(super) fn take_ping(&mut self, now: Instant) -> Option<u64> {
        if !self.is_due() {
            return None;
        }
        self.wanted = false;
        self.waiting = Some(now);
        self.sent_at = Some(now);
        self.next += 1;
        Some(self.next - 1)
    }

    /// The answer to send now, if one is.
    pub(super) fn take_pong(&mut self) -> Option<u64> {
        std::mem::take(&mut self.owed).then_some(self.asked).flatten()
    }

    /// The peer asks.
    pub(super) fn receive_ping(&mut self, number: u64) -> Result<(), Violation> {
        if self.asked.is_some_and(|asked| number <= asked) {
            return Err(Violation::Protocol);
        }
        self.asked = Some(number);
        self.owed = true;
        Ok(())
    }

    /// The peer answers.
    pub(super) fn receive_pong(&mut self, number: u64, now: Instant) -> Result<(), Violation> {
        if number >= self.next {
            return Err(Violation::Protocol);
        }
        self.answered = self.answered.max(Some(number));
        if number + 1 == self.next
            && let Some(sent) = self.waiting.take()
        {
            let sample = now.saturating_duration_since(sent);
            // RFC 6298, section 2; but one that was away with the path is no reason to take it for
            // long.
            let smoothed = match self.round_trip {
                Some(before) if before < AWAY_TIMES * sample => (before * 7 + sample) / 8,
                _ => sample,
            };
            self.round_trip = Some(smoothed);
        }
        Ok(())
    }

    pub(super) const fn round_trip(&self) -> Duration {
        match self.round_trip {
            Some(round_trip) => round_trip,
            None => ROUND_TRIP_UNKNOWN,
        }
    }
}
