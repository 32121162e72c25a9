//! How fast a transfer goes and how long it will take.

use std::time::Duration;

use crate::time::Timestamp;

/// Over about how long the rate is averaged: shorter and it flickers, longer and it lies.
const WINDOW: Duration = Duration::from_secs(5);
/// Samples closer than this are taken together.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);

/// An exponentially weighted average of bytes a second.
#[derive(Debug, Clone)]
pub struct Meter {
    done: u64,
    at: Timestamp,
    bytes_per_second: Option<f64>,
}

impl Meter {
    /// Starts to watch a transfer of which `done` bytes are there already.
    #[must_use]
    pub const fn new(done: u64, now: Timestamp) -> Self {
        Self { done, at: now, bytes_per_second: None }
    }

    /// `done` bytes are there now.
    pub fn update(&mut self, done: u64, now: Timestamp) {
        let elapsed = now.since(self.at);
        if elapsed < SAMPLE_EVERY {
            return;
        }
        let rate = done.saturating_sub(self.done) as f64 / elapsed.as_secs_f64();
        let weight = 1.0 - (-elapsed.as_secs_f64() / WINDOW.as_secs_f64()).exp();
        self.bytes_per_second =
            Some(self.bytes_per_second.map_or(rate, |old| old + (rate - old) * weight));
        (self.done, self.at) = (done, now);
    }

    /// Bytes a second lately, once there is a sample.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        self.bytes_per_second.map(|rate| rate as u64)
    }

    /// How long the rest of `total` bytes will take at this rate, if it moves at all.
    #[must_use]
    pub fn time_left(&self, total: u64) -> Option<Duration> {
        let rate = self.bytes_per_second().filter(|rate| *rate > 0)?;
        Some(Duration::from_secs(total.saturating_sub(self.done).div_ceil(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_rate() {
        let mut meter = Meter::new(1_000, Timestamp(0));
        assert_eq!((meter.bytes_per_second(), meter.time_left(2_000)), (None, None));
        meter.update(1_100, Timestamp(100));
        assert_eq!(meter.bytes_per_second(), None);
        meter.update(1_500, Timestamp(500));
        assert_eq!(meter.bytes_per_second(), Some(1_000));
        assert_eq!(meter.time_left(3_500), Some(Duration::from_secs(2)));
        for second in 1..=60 {
            meter.update(1_500, Timestamp(500 + second * 1_000));
        }
        assert_eq!((meter.bytes_per_second(), meter.time_left(3_500)), (Some(0), None));
    }
}
