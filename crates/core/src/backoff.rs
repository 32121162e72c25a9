//! How long to wait before trying again: exponential backoff with full jitter.
//!
//! The delay is drawn evenly between nothing and a ceiling that doubles with each failure, so that
//! a thousand clients of a server that has just come back spread over the whole ceiling instead of
//! arriving together. The random number is an argument.

use std::time::Duration;

/// The ceiling of the first delay.
pub const FIRST: Duration = Duration::from_millis(250);
/// The ceiling of the first [`EAGER_FAILURES`] delays: a part that was started again is found soon.
pub const EAGER_LONGEST: Duration = Duration::from_secs(5);
/// Failures in a row after which it is an outage, in which haste helps nobody: with the ceilings
/// above, about a minute.
pub const EAGER_FAILURES: u32 = 25;
/// The ceiling that no delay exceeds.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures in a row and names the delay after each.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Counts a failure and says how long to wait. `random` is drawn evenly from all numbers.
    pub fn failed(&mut self, random: u64) -> Duration {
        self.failed_within(LONGEST, random)
    }

    /// As [`failed`](Self::failed), for whoever must not wait longer than `longest`: the delay is
    /// drawn below that, since to cut one that was drawn above it would make most delays the same.
    pub fn failed_within(&mut self, longest: Duration, random: u64) -> Duration {
        let ceiling = self.ceiling().min(longest);
        self.failures = self.failures.saturating_add(1);
        let ceiling_ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random % (ceiling_ms + 1))
    }

    /// Something worked: the next failure counts as the first.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The most that the next delay can be.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        if self.failures >= EAGER_FAILURES {
            return LONGEST;
        }
        // Beyond 2^16 times the first the longest has been reached by far.
        FIRST.saturating_mul(1 << self.failures.min(16)).min(EAGER_LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        let mut backoff = Backoff::new();
        for (random, ceiling_ms, delay_ms) in [
            (250, 250, 250),
            (251, 500, 251),
            (0, 1_000, 0),
            (2_001, 2_000, 0),
            (4_000, 4_000, 4_000),
            (5_000, 5_000, 5_000),
            (5_001, 5_000, 0),
        ] {
            assert_eq!(backoff.ceiling(), Duration::from_millis(ceiling_ms));
            assert_eq!(backoff.failed(random), Duration::from_millis(delay_ms));
        }
        while backoff.failures() < EAGER_FAILURES {
            assert_eq!(backoff.ceiling(), EAGER_LONGEST);
            assert!(backoff.failed(u64::MAX) <= EAGER_LONGEST);
        }
        for _ in 0..100 {
            assert_eq!(backoff.ceiling(), LONGEST);
            assert!(backoff.failed(u64::MAX) <= LONGEST);
        }
        backoff.reset();
        assert_eq!((backoff.failures(), backoff.ceiling()), (0, FIRST));
    }

    #[test]
    fn spreads_below_a_lower_ceiling_too() {
        let longest = Duration::from_secs(2);
        let mut backoff = Backoff::new();
        assert_eq!(backoff.failed_within(longest, 251), Duration::ZERO, "the first is 250 ms");
        for _ in 0..30 {
            backoff.failed_within(longest, 0);
        }
        for step in 0..=20 {
            let delay = backoff.failed_within(longest, 30 * 2_001 + step * 100);
            assert_eq!(delay, Duration::from_millis(step * 100));
        }
        assert_eq!(backoff.failures(), 52);
    }
}
