//! How a rule for the window stands behind quinn's `Controller`. The rule is told what arrives, in
//! packets and in seconds since the path is in use, and says how many packets may be under way.

use std::{
    any::Any, collections::VecDeque, fmt::Debug, marker::PhantomData, sync::Arc, time::Instant,
};

use quinn_proto::{
    RttEstimator,
    congestion::{Controller, ControllerFactory},
};

/// Packets of the first window (RFC 9002, section 7.2).
pub(super) const PACKETS_INITIAL: f64 = 10.0;
/// Packets of the smallest window (RFC 9002, section 7.2).
pub(super) const PACKETS_MIN: f64 = 2.0;

/// A rule for the window.
pub(super) trait Rule: Debug + Clone + Default + Send + Sync + 'static {
    /// An acknowledgement has arrived.
    fn on_batch(&mut self, batch: &Batch);

    /// Packets were found lost, the last of which was sent at a time.
    fn on_loss(&mut self, now: f64, sent: f64);

    /// Nothing has arrived for long (RFC 9002, section 7.6).
    fn on_blackout(&mut self);

    /// Packets that may be under way.
    fn window(&self) -> f64;
}

/// What one acknowledgement brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// When it came.
    pub(super) now: f64,
    /// When the last packet of it was sent.
    pub(super) sent: f64,
    /// Round trip of that packet.
    pub(super) rtt: f64,
    /// The smoothed round trip (RFC 9002, section 5.3).
    pub(super) rtt_smoothed: f64,
    /// Packets that it is the first to acknowledge.
    pub(super) packets: f64,
    /// Whether the window was what held the sender.
    pub(super) is_full: bool,
}

/// Tells round trips apart: one ends when a packet is acknowledged that was sent after it began.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    began: f64,
}

impl Round {
    /// Whether this acknowledgement ends it. The next begins.
    pub(super) fn ends(&mut self, batch: &Batch) -> bool {
        let ends = batch.sent >= self.began;
        if ends {
            self.began = batch.now;
        }
        ends
    }
}

/// The least that was measured lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Least(VecDeque<(f64, f64)>);

impl Least {
    /// Takes a value in, and gives back the least of the last so many seconds.
    pub(super) fn measure(&mut self, now: f64, value: f64, seconds: f64) -> f64 {
        // What came earlier and is not less will never be the least again.
        while self.0.back().is_some_and(|(_, other)| *other >= value) {
            self.0.pop_back();
        }
        self.0.push_back((now, value));
        while self.0.front().is_some_and(|(at, _)| *at < now - seconds) {
            self.0.pop_front();
        }
        self.0.front().map_or(value, |(_, least)| *least)
    }
}

/// Makes the controller of each new path.
#[derive(Debug, Default)]
pub(super) struct Factory<R>(PhantomData<R>);

impl<R: Rule> ControllerFactory for Factory<R> {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Follower::<R> {
            rule: R::default(),
            epoch: now,
            packet: current_mtu,
            bytes: 0,
            sent: None,
            rtt_smoothed: 0.0,
            is_full: false,
        })
    }
}

/// What quinn drives: it sums up what an acknowledgement brings, and follows the rule.
#[derive(Debug, Clone)]
struct Follower<R> {
    rule: R,
    epoch: Instant,
    packet: u16,
    /// Of the acknowledgement that is told packet by packet.
    bytes: u64,
    sent: Option<Instant>,
    rtt_smoothed: f64,
    is_full: bool,
}

impl<R> Follower<R> {
    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.epoch).as_secs_f64()
    }
}

impl<R: Rule> Controller for Follower<R> {
    fn on_ack(
        &mut self,
        _now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.bytes += bytes;
        self.sent = self.sent.max(Some(sent));
        self.rtt_smoothed = rtt.get().as_secs_f64();
        self.is_full |= !app_limited;
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        _in_flight: u64,
        _app_limited: bool,
        _largest: Option<u64>,
    ) {
        let Some(sent) = self.sent.take() else { return };
        let batch = Batch {
            now: self.seconds(now),
            sent: self.seconds(sent),
            rtt: now.saturating_duration_since(sent).as_secs_f64(),
            rtt_smoothed: self.rtt_smoothed,
            packets: self.bytes as f64 / f64::from(self.packet),
            is_full: self.is_full,
        };
        (self.bytes, self.is_full) = (0, false);
        self.rule.on_batch(&batch);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            self.rule.on_blackout();
        } else {
            self.rule.on_loss(self.seconds(now), self.seconds(sent));
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.packet = new_mtu;
    }

    fn window(&self) -> u64 {
        (self.rule.window().max(PACKETS_MIN) * f64::from(self.packet)) as u64
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        (PACKETS_INITIAL * f64::from(self.packet)) as u64
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A path that a rule has for itself, for the tests of the rules.
#[cfg(test)]
pub(super) mod lane {
    use super::*;

    /// Packets a second, and seconds of a round trip without a queue.
    pub(crate) const RATE: f64 = 4_000.0;
    pub(crate) const BASE: f64 = 0.08;

    /// What a run comes to, from its half on.
    #[derive(Debug)]
    pub(crate) struct Ridden {
        /// Packets in the queue on average.
        pub(crate) waiting: f64,
        /// Which part of the path was used.
        pub(crate) used: f64,
    }

    /// Follows a rule for so many seconds, acknowledging packet by packet.
    pub(crate) fn ride<R: Rule>(rule: &mut R, seconds: f64) -> Ridden {
        let (mut now, mut busy_until, mut rtt_smoothed) = (0.0, 0.0_f64, BASE);
        let mut under_way = VecDeque::new();
        let (mut waiting, mut count) = (0.0, 0.0);
        while now < seconds {
            while under_way.len() as f64 + 1.0 < rule.window() {
                busy_until = busy_until.max(now) + 1.0 / RATE;
                under_way.push_back((now, busy_until + BASE));
            }
            let (sent, arrived) = under_way.pop_front().expect("a window lets a packet go");
            now = arrived;
            let rtt = now - sent;
            rtt_smoothed += (rtt - rtt_smoothed) / 8.0;
            if now > seconds / 2.0 {
                waiting += (rtt - BASE) * RATE - 1.0;
                count += 1.0;
            }
            let batch = Batch { now, sent, rtt, rtt_smoothed, packets: 1.0, is_full: true };
            rule.on_batch(&batch);
        }
        Ridden { waiting: waiting / count, used: count / (RATE * seconds / 2.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_of_the_time_that_was_asked_for() {
        let mut least = Least::default();
        for (now, value, expected) in
            [(0.0, 5.0, 5.0), (1.0, 3.0, 3.0), (2.0, 4.0, 3.0), (3.5, 6.0, 4.0), (9.0, 7.0, 7.0)]
        {
            assert_eq!(least.measure(now, value, 2.0), expected, "at {now}");
        }
    }
}
