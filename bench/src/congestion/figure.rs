//! What the runs of the model come to, in figures. Times are in seconds, unless named otherwise.

use std::{collections::BTreeMap, time::Duration};

use super::{
    link::Link,
    work::{BIN, Delivery},
};

/// Over how long the shortest wait is taken, to tell a queue that stands from one that comes and
/// goes.
const STANDS: Duration = Duration::from_millis(500);

/// How long packets waited in a queue, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// On average.
    pub(crate) mean: f64,
    /// All but one in twenty.
    pub(crate) p95: f64,
    /// At least, in each half second, on average.
    pub(crate) standing: f64,
}

/// How long messages took one way, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trips {
    /// Messages.
    pub(crate) count: usize,
    /// Half of them.
    pub(crate) p50: f64,
    /// All but one in a hundred.
    pub(crate) p99: f64,
    /// All.
    pub(crate) max: f64,
}

/// Megabits a second from one time to another, of bytes by [`BIN`].
pub(crate) fn megabits(bins: &[u64], from: f64, until: f64) -> f64 {
    let index = |seconds: f64| (seconds / BIN.as_secs_f64()).round() as usize;
    let bytes: u64 = bins.iter().take(index(until)).skip(index(from)).sum();
    bytes as f64 * 8.0 / 1e6 / (until - from)
}

/// The waits of the packets that came from one time to another.
pub(crate) fn waits(link: &Link, from: f64, until: f64) -> Waits {
    let (from, until) = (Duration::from_secs_f64(from), Duration::from_secs_f64(until));
    let mut all = Vec::new();
    let mut least = BTreeMap::new();
    for (at, wait) in link.waits().iter().filter(|(at, _)| (from..until).contains(at)) {
        let millis = wait.as_secs_f64() * 1e3;
        all.push(millis);
        let slot = least.entry(at.as_millis() / STANDS.as_millis()).or_insert(millis);
        *slot = f64::min(*slot, millis);
    }
    let standing = least.values().sum::<f64>() / least.len().max(1) as f64;
    let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
    Waits { mean, p95: percentile(&mut all, 95), standing }
}

/// How long messages took that were due from a time on.
pub(crate) fn trips(deliveries: &[Delivery], from: f64) -> Trips {
    let from = Duration::from_secs_f64(from);
    let due = deliveries.iter().filter(|delivery| delivery.due >= from);
    let mut all: Vec<_> = due.map(|delivery| delivery.took.as_secs_f64() * 1e3).collect();
    let (p50, p99) = (percentile(&mut all, 50), percentile(&mut all, 99));
    Trips { count: all.len(), p50, p99, max: percentile(&mut all, 100) }
}

/// Below which so many in a hundred are.
fn percentile(all: &mut [f64], percent: usize) -> f64 {
    all.sort_by(f64::total_cmp);
    let place = (all.len() * percent).div_ceil(100).saturating_sub(1);
    all.get(place).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_figure_that_was_seen() {
        let mut all: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut all, 50), 100.0);
        assert_eq!(percentile(&mut all, 99), 198.0);
        assert_eq!(percentile(&mut all, 100), 200.0);
        assert_eq!(percentile(&mut [], 50), 0.0);
    }

    #[test]
    fn a_rate_is_of_its_time() {
        let bins = [0, 125_000, 125_000, 125_000, 0];
        assert_eq!(megabits(&bins, 0.0, 0.5), 6.0);
        assert_eq!(megabits(&bins, 0.0, 0.1), 0.0);
        assert_eq!(megabits(&bins, 0.5, 9.5), 0.0);
    }
}
