//! One direction of a path, as a model: a drop-tail queue in front of a bottleneck, then a delay,
//! then a lossy last hop. It has no clock and no I/O; who calls it says what time it is, and the
//! same seed loses the same packets.

use std::time::Duration;

/// What a direction of a path is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    /// What the bottleneck carries, in bits a second.
    pub(crate) bits_per_second: u64,
    /// How long a packet travels that finds no queue.
    pub(crate) delay: Duration,
    /// Bytes that wait in front of the bottleneck at most; what comes on top is dropped.
    pub(crate) queue_bytes: u64,
    /// Of how many packets in a thousand the last hop loses one, by chance.
    pub(crate) lost_per_mille: u32,
    /// By how much packets are late at most, by chance, anew in each [`SLOT`]: as long as a radio
    /// takes to give leave to send. Packets stay in order.
    pub(crate) jitter: Duration,
}

/// Bytes of the headers of UDP and IPv4 that the bottleneck carries beside each payload.
const HEADER_BYTES: u64 = 28;

/// For how long packets are late by the same time.
const SLOT: Duration = Duration::from_millis(10);

/// One direction of a path.
#[derive(Debug)]
pub(crate) struct Link {
    quality: Quality,
    chance: Chance,
    /// When the bottleneck has sent everything it has taken in. Time since the start of the run.
    busy_until: Duration,
    last_arrival: Duration,
    late: Duration,
    slot_ends: Duration,
    waits: Vec<(Duration, Duration)>,
    overflowed: u64,
}

impl Link {
    pub(crate) fn new(quality: Quality, seed: u64) -> Self {
        Self {
            quality,
            chance: Chance(seed),
            busy_until: Duration::ZERO,
            last_arrival: Duration::ZERO,
            late: Duration::ZERO,
            slot_ends: Duration::ZERO,
            waits: Vec::new(),
            overflowed: 0,
        }
    }

    /// From now on the path is like this. What is in the queue leaves as it would have before.
    pub(crate) const fn change(&mut self, quality: Quality) {
        self.quality = quality;
    }

    /// Takes a datagram in at the time `now`. When it arrives, unless it is lost.
    pub(crate) fn send(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let bytes = bytes as u64 + HEADER_BYTES;
        let wait = self.busy_until.saturating_sub(now);
        let waiting_bytes = (wait.as_secs_f64() * self.quality.bits_per_second as f64 / 8.0) as u64;
        if waiting_bytes + bytes > self.quality.queue_bytes {
            self.overflowed += 1;
            return None;
        }
        self.waits.push((now, wait));
        let takes =
            Duration::from_secs_f64(bytes as f64 * 8.0 / self.quality.bits_per_second as f64);
        self.busy_until = self.busy_until.max(now) + takes;
        if now >= self.slot_ends {
            self.late = self.quality.jitter.mul_f64(self.chance.share());
            self.slot_ends = now + SLOT;
        }
        if self.chance.share() * 1000.0 < f64::from(self.quality.lost_per_mille) {
            return None;
        }
        let arrival = self.busy_until + self.quality.delay + self.late;
        self.last_arrival = self.last_arrival.max(arrival);
        Some(self.last_arrival)
    }

    /// How long each packet waited in the queue, with the time at which it came.
    pub(crate) fn waits(&self) -> &[(Duration, Duration)] {
        &self.waits
    }

    /// How many packets found the queue full.
    pub(crate) const fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// Chance that is the same in each run (SplitMix64, of Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// From 0 to 1, without 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUALITY: Quality = Quality {
        bits_per_second: 8_000_000,
        delay: Duration::from_millis(20),
        queue_bytes: 3_000,
        lost_per_mille: 0,
        jitter: Duration::ZERO,
    };

    #[test]
    fn packets_queue_and_then_overflow() {
        let mut link = Link::new(QUALITY, 1);
        let at = |millis: u64| Some(Duration::from_millis(millis));
        assert_eq!(link.send(Duration::ZERO, 972), at(21));
        assert_eq!(link.send(Duration::ZERO, 972), at(22));
        assert_eq!(link.send(Duration::ZERO, 972), at(23));
        assert_eq!(link.send(Duration::ZERO, 972), None);
        assert_eq!(link.send(Duration::from_millis(10), 972), at(31));
        assert_eq!(link.overflowed(), 1);
    }

    #[test]
    fn chance_loses_what_was_asked_for_and_the_same_each_time() {
        let lost = |seed| {
            let quality = Quality { lost_per_mille: 20, ..QUALITY };
            let mut link = Link::new(quality, seed);
            let sent = (0..10_000_u64).map(|i| link.send(Duration::from_millis(2 * i), 972));
            sent.filter(Option::is_none).count()
        };
        assert_eq!(lost(7), lost(7));
        assert!((150..250).contains(&lost(7)), "{}", lost(7));
    }
}
