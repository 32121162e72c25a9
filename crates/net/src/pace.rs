//! How often something may happen: so many times a second in the long run, and a burst at once.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): what is kept is one instant, by which all
//! that has happened would be paid off.

use std::time::Duration;

use tokio::time::Instant;

/// A rate with its burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// What one event costs.
    each: Duration,
    /// How much may be owed.
    most: Duration,
}

impl Pace {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self { each, most: each.saturating_mul(burst.max(1)) }
    }

    /// Whether `count` events at `now` keep the pace. Then they are put down in `due`.
    pub(crate) fn keeps(self, due: &mut Instant, now: Instant, count: u32) -> bool {
        let owed = due.saturating_duration_since(now);
        let owed = owed.saturating_add(self.each.saturating_mul(count));
        if owed > self.most {
            return false;
        }
        *due = now + owed;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let (pace, start) = (Pace::new(2, 3), Instant::now());
        let mut due = start;
        assert!(pace.keeps(&mut due, start, 2));
        assert!(pace.keeps(&mut due, start, 1));
        assert!(!pace.keeps(&mut due, start, 1));
        let later = start + Duration::from_millis(500);
        assert!(pace.keeps(&mut due, later, 1));
        assert!(!pace.keeps(&mut due, later, 1));
        let much_later = start + Duration::from_secs(60);
        assert!(!pace.keeps(&mut due, much_later, 4), "no more than a burst is saved");
        assert!(pace.keeps(&mut due, much_later, 3));
        assert!(!pace.keeps(&mut due, much_later, u32::MAX));
    }
}
