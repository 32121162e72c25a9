//! How much a TCP sender may have under way: CUBIC (RFC 9438) after a slow start that notices a
//! growing queue (HyStart, RFC 9406, without its conservative part), as Linux has it.

use std::time::Duration;

/// Segments that may be sent before the first acknowledgement (RFC 6928).
const INITIAL: f64 = 10.0;
/// Fewest segments after a loss (RFC 9438, section 4.6).
const LEAST: f64 = 2.0;
/// What remains of the window after a loss (RFC 9438, section 4.6).
const BETA: f64 = 0.7;
/// How fast it grows away from the last loss, in segments by cubic second (RFC 9438, section 5.1).
const C: f64 = 0.4;
/// How much the window of a flow as friendly as Reno grows in a round (RFC 9438, section 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// Samples of the round trip before slow start looks at them (RFC 9406, section 4.3).
const SAMPLES: u32 = 8;
/// How much longer a round trip at least is when a queue has formed (RFC 9406, section 4.3).
const QUEUE_DELAY_MIN: Duration = Duration::from_millis(4);
/// How much longer it is at most before slow start ends (RFC 9406, section 4.3).
const QUEUE_DELAY_MAX: Duration = Duration::from_millis(16);

/// The congestion window of one sender, in segments.
#[derive(Debug, Clone)]
pub(super) struct Window {
    size: f64,
    threshold: f64,
    /// The window before the last loss.
    before: f64,
    /// Since when it has grown again, and from where.
    epoch: Option<(Duration, f64)>,
    /// What a flow as friendly as Reno would have.
    friendly: f64,
    round: Round,
}

/// What slow start knows of the round trips of one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    ends: Duration,
    samples: u32,
    least: Duration,
}

impl Window {
    pub(super) const fn new() -> Self {
        let round = Round { ends: Duration::ZERO, samples: 0, least: Duration::MAX };
        Self {
            size: INITIAL,
            threshold: f64::INFINITY,
            before: 0.0,
            epoch: None,
            friendly: 0.0,
            round,
        }
    }

    /// Segments that may be under way.
    pub(super) const fn size(&self) -> f64 {
        self.size
    }

    /// A segment was acknowledged while the window was what held the sender back.
    pub(super) fn grow(&mut self, now: Duration, rtt: Duration) {
        if self.size < self.threshold {
            self.size += 1.0;
            return;
        }
        let (since, from) = *self.epoch.get_or_insert_with(|| {
            self.before = self.before.max(self.size);
            self.friendly = self.size;
            (now, self.size)
        });
        let k = ((self.before - from) / C).cbrt();
        let cubic = |time: Duration| C * (time.as_secs_f64() - k).powi(3) + self.before;
        let alpha = if self.friendly < self.before { ALPHA } else { 1.0 };
        self.friendly += alpha / self.size;
        if cubic(now - since) < self.friendly {
            self.size = self.size.max(self.friendly);
        } else {
            let target = cubic(now - since + rtt).clamp(self.size, 1.5 * self.size);
            self.size += (target - self.size) / self.size;
        }
    }

    /// The round trip took so long this time, and `least` at the best of times.
    pub(super) fn sample(&mut self, now: Duration, rtt: Duration, least: Duration) {
        if now >= self.round.ends {
            self.round = Round { ends: now + rtt, samples: 0, least: Duration::MAX };
        }
        self.round.samples += 1;
        self.round.least = self.round.least.min(rtt);
        let queue = (least / 8).clamp(QUEUE_DELAY_MIN, QUEUE_DELAY_MAX);
        let has_queue = self.round.samples >= SAMPLES && self.round.least >= least + queue;
        if self.size < self.threshold && has_queue {
            self.threshold = self.size;
        }
    }

    /// Something was lost, for the first time in this round trip.
    pub(super) fn shrink(&mut self) {
        // Who has less than before makes room for others (RFC 9438, section 4.7).
        let converge = if self.size < self.before { (1.0 + BETA) / 2.0 } else { 1.0 };
        self.before = self.size * converge;
        self.size = (self.size * BETA).max(LEAST);
        self.threshold = self.size;
        self.epoch = None;
    }

    /// Nothing has come back for so long that everything must be taken for lost.
    pub(super) fn collapse(&mut self) {
        self.shrink();
        self.size = 1.0;
    }
}
