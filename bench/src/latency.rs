//! What many latencies come to.

use std::time::Duration;

use serde::Serialize;

/// Percentiles by nearest rank: each is a latency that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

impl Summary {
    /// Of these latencies; `None` of none.
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Option<Self> {
        latencies.sort_unstable();
        let at = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100).max(1);
            latencies.get(rank - 1).map(|latency| micros(*latency))
        };
        Some(Self { p50_us: at(50)?, p90_us: at(90)?, p99_us: at(99)?, max_us: at(100)? })
    }
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let of = |micros: std::ops::RangeInclusive<u64>| {
            Summary::of(micros.rev().map(Duration::from_micros).collect())
        };
        assert_eq!(Summary::of(Vec::new()), None);
        let one = Summary { p50_us: 7, p90_us: 7, p99_us: 7, max_us: 7 };
        assert_eq!(of(7..=7), Some(one));
        let thousand = Summary { p50_us: 500, p90_us: 900, p99_us: 990, max_us: 1_000 };
        assert_eq!(of(1..=1_000), Some(thousand));
        let three = Summary { p50_us: 2, p90_us: 3, p99_us: 3, max_us: 3 };
        assert_eq!(of(1..=3), Some(three));
    }
}
