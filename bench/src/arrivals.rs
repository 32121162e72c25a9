//! What has arrived on one lane: each message is to arrive once, and how long after it was due.

use std::time::{Duration, Instant};

use crate::{failure::Failure, latency::Summary, pace::Pace};

/// How long after the last message was due the others may still arrive.
pub(crate) const GRACE: Duration = Duration::from_secs(120);

/// The arrivals of one lane.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pace: Pace,
    latencies: Vec<Option<Duration>>,
    missing: u64,
    repeated: u64,
}

impl Arrivals {
    /// None yet, of all that are due on this lane.
    pub(crate) fn new(pace: Pace, lane: u64) -> Self {
        let missing = pace.share(lane);
        let share =
            usize::try_from(missing).expect("bounded by the rate and time that are allowed");
        Self { pace, latencies: vec![None; share], missing, repeated: 0 }
    }

    /// A message of this lane is here.
    pub(crate) fn note(&mut self, message: u64) {
        let latency = Instant::now().saturating_duration_since(self.pace.due(message));
        let place = usize::try_from(self.pace.place(message)).ok();
        match place.and_then(|place| self.latencies.get_mut(place)) {
            Some(slot @ None) => {
                *slot = Some(latency);
                self.missing -= 1;
            }
            // One that nobody has sent is as wrong as one that comes again.
            Some(Some(_)) | None => self.repeated += 1,
        }
    }

    /// Whether every message has arrived.
    pub(crate) const fn complete(&self) -> bool {
        self.missing == 0
    }

    /// What the arrivals of all lanes come to, if nothing is missing.
    pub(crate) fn sum_up(
        what: &'static str,
        lanes: Vec<Self>,
        unsent: u64,
    ) -> Result<Summary, Failure> {
        let missing = lanes.iter().map(|lane| lane.missing).sum();
        let repeated = lanes.iter().map(|lane| lane.repeated).sum();
        let expected = lanes.iter().map(|lane| lane.latencies.len() as u64).sum();
        let failed = Failure::Incomplete { what, expected, missing, repeated, unsent };
        if missing > 0 || repeated > 0 || unsent > 0 {
            return Err(failed);
        }
        Summary::of(lanes.into_iter().flat_map(|lane| lane.latencies).flatten().collect())
            .ok_or(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_counts_once() {
        let pace = Pace::new(1_000, 5, 2);
        let lanes = || (Arrivals::new(pace, 0), Arrivals::new(pace, 1));

        let (mut even, mut odd) = lanes();
        for message in [4, 0, 2] {
            even.note(message);
        }
        assert!(even.complete() && !odd.complete());
        odd.note(1);
        odd.note(3);
        let summary = Arrivals::sum_up("test", vec![even, odd], 0).unwrap();
        assert!(summary.p50_us <= summary.max_us);

        let (mut even, odd) = lanes();
        for message in [0, 0, 6] {
            even.note(message);
        }
        match Arrivals::sum_up("test", vec![even, odd], 1) {
            Err(Failure::Incomplete { expected, missing, repeated, unsent, .. }) => {
                assert_eq!((expected, missing, repeated, unsent), (5, 4, 2, 1));
            }
            other => panic!("{other:?}"),
        }
    }
}
