//! A token bucket: how fast one session may ask.

use std::time::Duration;

use crate::time::Timestamp;

/// Grants `burst` requests at once and `per_second` in the long run.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    /// Thousandths of a token, so that refills between close calls are not lost.
    millitokens: u64,
    refilled_at: Timestamp,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now: Timestamp) -> Self {
        // A bucket without room would never grant anything.
        let burst = burst.max(1);
        Self {
            per_second: per_second.max(1),
            burst,
            millitokens: u64::from(burst) * 1000,
            refilled_at: now,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long until there will be one.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        self.millitokens = self.millitokens_at(now);
        self.refilled_at = self.refilled_at.max(now);
        if self.millitokens >= 1000 {
            self.millitokens -= 1000;
            return Ok(());
        }
        let missing = 1000 - self.millitokens;
        Err(Duration::from_millis(missing.div_ceil(u64::from(self.per_second))))
    }

    /// Whether the bucket is as good as a new one.
    #[must_use]
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.millitokens_at(now) >= u64::from(self.burst) * 1000
    }

    fn millitokens_at(&self, now: Timestamp) -> u64 {
        let elapsed_ms = u64::try_from(now.since(self.refilled_at).as_millis()).unwrap_or(u64::MAX);
        let refill = elapsed_ms.saturating_mul(u64::from(self.per_second));
        self.millitokens.saturating_add(refill).min(u64::from(self.burst) * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_a_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 3, Timestamp(0));
        for _ in 0..3 {
            assert_eq!(bucket.take(Timestamp(0)), Ok(()));
        }
        assert_eq!(bucket.take(Timestamp(0)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(Timestamp(60)), Err(Duration::from_millis(40)));
        assert_eq!(bucket.take(Timestamp(100)), Ok(()));
        assert!(bucket.take(Timestamp(100)).is_err());
        assert_eq!(bucket.take(Timestamp(90)), Err(Duration::from_millis(100)));
        assert!(!bucket.is_full(Timestamp(399)));
        assert!(bucket.is_full(Timestamp(400)));
    }
}
