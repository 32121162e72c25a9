//! One direction of a path, without sockets and without a clock: it is told what is sent when, and
//! says what becomes of it. The same conditions, the same seed and the same datagrams at the same
//! times give the same fate on every machine.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    conditions::Conditions,
    counts::{Counts, Loss},
};

#[cfg(test)]
mod tests;

/// One direction of a path. Times are those since any fixed moment, the same for all calls.
///
/// A datagram waits in the queue until the link has sent all before it, takes its own time to send,
/// is lost then or not (so that what is lost on the air has used the air), and arrives after the
/// delay.
#[derive(Debug, Clone)]
pub struct Link {
    conditions: Conditions,
    random: ChaCha8Rng,
    now: Duration,
    /// When all that was taken will have been sent.
    free_at: Duration,
    /// Before this, nothing that keeps the order can arrive.
    last_arrival: Duration,
    is_in_burst: bool,
    jitter: Duration,
    jitter_until: Duration,
    counts: Counts,
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is gone.
    Lost(Loss),
    /// It arrives.
    Arrives {
        /// When.
        at: Duration,
        /// When its copy does, if the network made one.
        again: Option<Duration>,
    },
}

impl Verdict {
    /// When it arrives first.
    #[must_use]
    pub const fn arrival(self) -> Option<Duration> {
        match self {
            Self::Lost(_) => None,
            Self::Arrives { at, .. } => Some(at),
        }
    }
}

impl Link {
    /// A link that has carried nothing yet.
    #[must_use]
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            random: ChaCha8Rng::seed_from_u64(seed),
            now: Duration::ZERO,
            free_at: Duration::ZERO,
            last_arrival: Duration::ZERO,
            is_in_burst: false,
            jitter: Duration::ZERO,
            jitter_until: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// What it does at present.
    #[must_use]
    pub const fn conditions(&self) -> Conditions {
        self.conditions
    }

    /// Changes what it does from now on. What it has taken arrives as it would have; where the
    /// delay changes it may be overtaken, as after a change of route.
    pub fn set(&mut self, conditions: Conditions) {
        if conditions.delay != self.conditions.delay {
            self.last_arrival = Duration::ZERO;
        }
        self.conditions = conditions;
        // The new jitter is drawn with the next datagram.
        self.jitter_until = Duration::ZERO;
    }

    /// What it has done.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How long a datagram that came now would wait until its sending begins.
    #[must_use]
    pub fn backlog(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// Takes a packet of so many bytes. Times do not run backwards: an earlier one is taken for the
    /// latest before it.
    pub fn offer(&mut self, now: Duration, bytes: usize) -> Verdict {
        self.now = self.now.max(now);
        self.counts.offered.add(bytes);
        match self.carry(bytes) {
            Ok((at, again)) => {
                self.counts.delivered.add(bytes);
                Verdict::Arrives { at, again }
            }
            Err(loss) => {
                self.counts.lost.entry(loss).or_default().add(bytes);
                Verdict::Lost(loss)
            }
        }
    }

    fn carry(&mut self, bytes: usize) -> Result<(Duration, Option<Duration>), Loss> {
        if self.conditions.cut {
            return Err(Loss::Cut);
        }
        if self.conditions.mtu.is_some_and(|mtu| bytes > mtu) {
            return Err(Loss::Mtu);
        }
        let sent = self.send(bytes as u64)?;
        if self.is_hit_by_burst() {
            return Err(Loss::Burst);
        }
        if self.chance(self.conditions.loss) {
            return Err(Loss::Random);
        }
        let at = self.arrival(sent);
        let again = self.chance(self.conditions.duplication).then(|| self.arrival(sent));
        self.counts.duplicated += u64::from(again.is_some());
        Ok((at, again))
    }

    /// When the last bit has left.
    fn send(&mut self, bytes: u64) -> Result<Duration, Loss> {
        let Some(rate) = self.conditions.rate else { return Ok(self.now.max(self.free_at)) };
        let sent = self.free_at.max(self.now) + rate.time(bytes);
        let in_queue = sent - self.now;
        if self.free_at > self.now && in_queue > rate.depth() {
            return Err(Loss::Queue);
        }
        self.free_at = sent;
        self.counts.queue_bytes_max = self.counts.queue_bytes_max.max(rate.bytes(in_queue));
        Ok(sent)
    }

    fn is_hit_by_burst(&mut self) -> bool {
        let Some(burst) = self.conditions.burst else {
            self.is_in_burst = false;
            return false;
        };
        let turns = self.chance(if self.is_in_burst { burst.ends } else { burst.begins });
        self.is_in_burst ^= turns;
        self.is_in_burst && self.chance(burst.loss)
    }

    fn arrival(&mut self, sent: Duration) -> Duration {
        let arrival = sent + self.conditions.delay + self.jitter();
        if let Some(reordering) = self.conditions.reordering
            && self.chance(reordering.probability)
        {
            self.counts.late += 1;
            return arrival + reordering.late;
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    fn jitter(&mut self) -> Duration {
        let most = self.conditions.jitter;
        if most.is_zero() {
            return Duration::ZERO;
        }
        // Were it drawn for each datagram, all of a fast flow would wait for the slowest among
        // them, and the delay would hardly change.
        if self.now >= self.jitter_until {
            self.jitter = most.mul_f64(self.random.random());
            self.jitter_until = self.now + most;
        }
        self.jitter
    }

    /// Draws only where there is a choice, so that what is switched off changes nothing.
    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.random::<f64>() < probability
    }
}
