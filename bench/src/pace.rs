//! An open loop: messages are due at fixed times, whether or not earlier ones have arrived, and a
//! latency counts from when the message was due. A server that stalls therefore shows the whole
//! stall, in every message that was due meanwhile, and not only in the one that met it.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// Messages that one lane may fall behind before they are given up: at any rate that is allowed
/// here, over a second of one lane's share with the default number of pairs.
const LANE_MESSAGES_MAX: usize = 1024;
/// Between the plan and the first message, so that everyone is ready.
const LEAD: Duration = Duration::from_millis(200);

/// Which message is due when, and on which lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    start: Instant,
    rate_per_second: u64,
    messages: u64,
    lanes: u64,
}

/// The messages that are due on one lane, by their numbers.
pub(crate) type Lane = mpsc::Receiver<u64>;

impl Pace {
    /// `messages` at `rate_per_second`, dealt to `lanes` in turn, from a moment from now on.
    pub(crate) fn new(rate_per_second: u32, messages: u64, lanes: u32) -> Self {
        let start = Instant::now() + LEAD;
        Self { start, rate_per_second: rate_per_second.into(), messages, lanes: lanes.into() }
    }

    /// When a message is due.
    pub(crate) fn due(&self, message: u64) -> Instant {
        self.start + Duration::from_nanos(message * 1_000_000_000 / self.rate_per_second)
    }

    /// When the last one is due.
    pub(crate) fn end(&self) -> Instant {
        self.due(self.messages)
    }

    /// Messages in all.
    pub(crate) const fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that are due on a lane.
    pub(crate) const fn share(&self, lane: u64) -> u64 {
        (self.messages + self.lanes - 1 - lane) / self.lanes
    }

    /// How many messages of its lane are due before this one.
    pub(crate) const fn place(&self, message: u64) -> u64 {
        message / self.lanes
    }

    /// Starts the clock. A thread of its own, since tokio's timers are only good to a millisecond.
    /// It ends with the last message, and gives the number of those for which a lane had no room.
    pub(crate) fn start(self) -> (Vec<Lane>, thread::JoinHandle<u64>) {
        let (feeds, lanes): (Vec<_>, Vec<_>) =
            (0..self.lanes).map(|_| mpsc::channel(LANE_MESSAGES_MAX)).unzip();
        let clock = thread::spawn(move || {
            let mut unsent = 0;
            let turns = feeds.iter().cycle();
            for (message, feed) in (0..self.messages).zip(turns) {
                let early = self.due(message).saturating_duration_since(Instant::now());
                if !early.is_zero() {
                    thread::sleep(early);
                }
                if feed.try_send(message).is_err() {
                    unsent += 1;
                }
            }
            unsent
        });
        (lanes, clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn deals_every_message_once_and_not_too_early() {
        let pace = Pace::new(10_000, 100, 3);
        let (lanes, clock) = pace.start();
        for (number, mut lane) in (0..).zip(lanes) {
            let mut expected = number;
            while let Some(message) = lane.recv().await {
                assert!(Instant::now() >= pace.due(message));
                assert_eq!(message, expected);
                assert_eq!(pace.place(message), (message - number) / 3);
                expected += 3;
            }
            assert_eq!(pace.share(number), (expected - number) / 3);
        }
        assert_eq!(clock.join().unwrap(), 0);
        assert_eq!((0..3).map(|lane| pace.share(lane)).sum::<u64>(), 100);
    }
}
