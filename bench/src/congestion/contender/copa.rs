//! Copa, by Arun and Balakrishnan ("Copa: Practical Delay-Based Congestion Control for the
//! Internet", NSDI 2018), which mvfst publishes for QUIC, without the mode for competition. Here are
//! both modes, written from the paper. Left out is the pace of two windows each standing round trip,
//! since quinn paces by itself. Added is what the paper leaves open: no velocity moves the window by
//! more than was acknowledged, and a window that does not hold the sender does not grow. A step is
//! over the window at the start of the round, so that a round trip changes it by velocity / delta.

use super::rule::{Batch, Least, PACKETS_INITIAL, PACKETS_MIN, Round, Rule};

/// The inverse of how many packets a flow may have in the queue, while nobody else fills it
/// (section 2.2).
const DELTA: f64 = 0.5;
/// Over how many seconds the least round trip is taken for that of the empty path (section 2.1).
const BASE_SECONDS: f64 = 10.0;
/// The same for the standing round trip, in smoothed ones (section 2.1).
const STANDING_TRIPS: f64 = 0.5;
/// Rounds in one direction before the velocity doubles (section 2.1).
const SAME_ROUNDS: u32 = 3;
/// Over how many smoothed round trips the longest one is taken (section 2.2).
const LONGEST_TRIPS: f64 = 4.0;
/// Up to which part of the longest wait the queue is nearly empty (section 2.2).
const NEARLY_EMPTY: f64 = 0.1;
/// Smoothed round trips without a queue nearly empty, after which others are taken to fill it
/// (section 2.2).
const FULL_TRIPS: f64 = 5.0;
/// By how much 1/delta grows in a round trip of competition, and to what part of itself it goes
/// after a loss: as the window of NewReno would (section 2.2).
const COMPETE_STEP: f64 = 1.0;
const COMPETE_PART: f64 = 0.5;

/// The rule. Windows are in packets, times in seconds.
#[derive(Debug, Clone)]
pub(super) struct Copa {
    window: f64,
    delta: f64,
    base: Least,
    standing: Least,
    /// Of the round trips with their sign turned.
    longest: Least,
    is_starting: bool,
    round: Round,
    /// The window at the beginning of the round.
    window_before: f64,
    /// 1 if it grows, -1 if it shrinks, 0 at first.
    direction: f64,
    /// Rounds in that direction.
    same: u32,
    velocity: f64,
    /// When the queue was last nearly empty.
    emptied_at: f64,
    competes: bool,
    /// When 1/delta was last reduced for a loss.
    yielded_at: f64,
}

impl Default for Copa {
    fn default() -> Self {
        Self {
            window: PACKETS_INITIAL,
            delta: DELTA,
            base: Least::default(),
            standing: Least::default(),
            longest: Least::default(),
            is_starting: true,
            round: Round::default(),
            window_before: PACKETS_INITIAL,
            direction: 0.0,
            same: 0,
            velocity: 1.0,
            emptied_at: 0.0,
            competes: false,
            yielded_at: f64::NEG_INFINITY,
        }
    }
}

impl Copa {
    /// Decides about the mode, when packets wait `wait` at least and `longest` at most.
    fn look_for_others(&mut self, batch: &Batch, wait: f64, longest: f64) {
        if wait <= NEARLY_EMPTY * longest {
            self.emptied_at = batch.now;
        }
        self.competes = batch.now - self.emptied_at > FULL_TRIPS * batch.rtt_smoothed;
        if !self.competes {
            self.delta = DELTA;
        }
    }

    /// Moves the window towards the target.
    fn step(&mut self, batch: &Batch, direction: f64) {
        if direction > 0.0 && !batch.is_full {
            return;
        }
        if self.velocity > (self.delta * self.window).max(1.0) {
            self.velocity /= 2.0;
        }
        let step = (self.velocity / (self.delta * self.window_before)).min(1.0);
        self.window = (self.window + direction * step * batch.packets).max(PACKETS_MIN);
    }

    const fn turn(&mut self, direction: f64) {
        (self.direction, self.same, self.velocity) = (direction, 0, 1.0);
    }

    fn end_round(&mut self, batch: &Batch) {
        let direction = if self.window > self.window_before { 1.0 } else { -1.0 };
        if direction != self.direction || self.window == self.window_before {
            self.turn(direction);
        } else {
            self.same += 1;
            if self.same >= SAME_ROUNDS {
                self.velocity *= 2.0;
            }
        }
        self.window_before = self.window;
        if self.competes && batch.sent > self.yielded_at {
            self.delta = 1.0 / (1.0 / self.delta + COMPETE_STEP);
        }
    }
}

impl Rule for Copa {
    fn on_batch(&mut self, batch: &Batch) {
        let smoothed = batch.rtt_smoothed;
        let base = self.base.measure(batch.now, batch.rtt, BASE_SECONDS);
        let standing = self.standing.measure(batch.now, batch.rtt, STANDING_TRIPS * smoothed);
        let longest = -self.longest.measure(batch.now, -batch.rtt, LONGEST_TRIPS * smoothed);
        let wait = standing - base;
        self.look_for_others(batch, wait, longest - base);
        // The rate, window / standing, is at most the target, 1 / (delta * wait).
        let is_below = self.window * self.delta * wait <= standing;
        self.is_starting &= is_below;
        if self.is_starting {
            if batch.is_full {
                self.window += batch.packets;
            }
            self.window_before = self.window;
        } else {
            self.step(batch, if is_below { 1.0 } else { -1.0 });
        }
        if self.round.ends(batch) && !self.is_starting {
            self.end_round(batch);
        }
    }

    fn on_loss(&mut self, now: f64, sent: f64) {
        if self.competes && sent > self.yielded_at {
            self.delta = (self.delta / COMPETE_PART).min(DELTA);
            self.yielded_at = now;
        }
    }

    fn on_blackout(&mut self) {
        self.window = PACKETS_MIN;
        self.turn(0.0);
    }

    fn window(&self) -> f64 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rule::lane::{BASE, ride},
        *,
    };

    /// A round trip of a window, acknowledged at a time.
    fn round(copa: &mut Copa, now: f64, rtt: f64) {
        let packets = copa.window;
        let batch = Batch { now, sent: now - rtt, rtt, rtt_smoothed: rtt, packets, is_full: true };
        copa.on_batch(&batch);
    }

    #[test]
    fn it_starts_by_doubling_and_stops_at_a_queue() {
        let mut copa = Copa::default();
        for trip in 1..=4 {
            round(&mut copa, BASE * f64::from(trip), BASE);
        }
        assert_eq!(copa.window, 16.0 * PACKETS_INITIAL);
        round(&mut copa, 6.5 * BASE, 1.5 * BASE);
        assert!(!copa.is_starting && copa.window < 16.0 * PACKETS_INITIAL);
    }

    #[test]
    fn alone_it_keeps_a_few_packets_waiting() {
        let mut copa = Copa::default();
        let ridden = ride(&mut copa, 20.0);
        assert!((0.5..10.0).contains(&ridden.waiting) && ridden.used > 0.95, "{ridden:?}");
    }

    #[test]
    fn a_queue_that_never_empties_is_contended_until_it_does() {
        let mut copa = Copa::default();
        round(&mut copa, BASE, BASE);
        let mut now = BASE;
        let mut deltas = Vec::new();
        for _ in 0..20 {
            now += 2.01 * BASE;
            round(&mut copa, now, 2.0 * BASE);
            deltas.push(copa.delta);
        }
        assert_eq!(deltas[3], DELTA);
        assert!(deltas[19] < 0.1, "{deltas:?}");
        // Of many losses in a round trip, one counts.
        copa.on_loss(now, now - BASE);
        copa.on_loss(now, now - BASE);
        assert_eq!(copa.delta, 2.0 * deltas[19]);
        round(&mut copa, now + BASE, BASE);
        assert_eq!(copa.delta, DELTA);
    }

    #[test]
    fn a_loss_changes_nothing_while_nobody_competes() {
        let mut copa = Copa::default();
        round(&mut copa, BASE, BASE);
        copa.on_loss(BASE, 0.0);
        assert_eq!((copa.window, copa.delta), (2.0 * PACKETS_INITIAL, DELTA));
    }
}
