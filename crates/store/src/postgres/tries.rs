//! How often, and for how long, an operation is tried.

use std::time::{Duration, Instant};

use super::fault::{Fault, Remedy};
use crate::metric;

/// How long an operation waits for a database that is away before its caller hears so.
const AWAY_MAX: Duration = Duration::from_secs(2);
/// How long an operation gives way to other transactions. More than a frozen node can hold a lock.
const CONTENTION_MAX: Duration = Duration::from_secs(6);
/// Tries that give way to other transactions.
const CONTENTION_TRIES_MAX: u32 = 100;
/// The first pause after the database was found away.
const AWAY_PAUSE_MIN: Duration = Duration::from_millis(25);
/// The longest such pause.
const AWAY_PAUSE_MAX: Duration = Duration::from_millis(250);
/// The first pause after another transaction was in the way.
const CONTENTION_PAUSE_MIN: Duration = Duration::from_millis(2);
/// The longest such pause.
const CONTENTION_PAUSE_MAX: Duration = Duration::from_millis(128);
/// From the call of an operation until its caller has an answer, whatever the server does.
pub(super) const CALL_MAX: Duration = Duration::from_secs(10);

/// The tries of one operation.
pub(super) struct Tries {
    begun: Instant,
    contended: u32,
    away: u32,
}

impl Tries {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, contended: 0, away: 0 }
    }

    /// After a fault: how long to wait before the next try, or `None` to give up.
    pub(super) fn next(&mut self, fault: &Fault, now: Instant) -> Option<Duration> {
        let spent = now.saturating_duration_since(self.begun);
        match fault.remedy() {
            Remedy::Again if spent < CONTENTION_MAX && self.contended < CONTENTION_TRIES_MAX => {
                metric::error("contention");
                let pause = doubled(CONTENTION_PAUSE_MIN, self.contended, CONTENTION_PAUSE_MAX);
                self.contended += 1;
                Some(pause)
            }
            Remedy::Wait if spent < AWAY_MAX => {
                let pause = doubled(AWAY_PAUSE_MIN, self.away, AWAY_PAUSE_MAX);
                self.away += 1;
                Some(pause)
            }
            Remedy::Again | Remedy::Wait | Remedy::Leave | Remedy::None => None,
        }
    }
}

fn doubled(min: Duration, times: u32, max: Duration) -> Duration {
    min.saturating_mul(1 << times.min(16)).min(max)
}

#[cfg(test)]
mod tests {
    use skein_core::refusal::Refusal;

    use super::*;

    #[test]
    fn gives_up_in_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut tries = Tries::new(start);
        for (now, pause) in [(0, Some(25)), (30, Some(50)), (80, Some(100)), (1999, Some(200))] {
            let pause = pause.map(Duration::from_millis);
            assert_eq!(tries.next(&Fault::timed_out(), at(now)), pause);
        }
        assert_eq!(tries.next(&Fault::timed_out(), at(2000)), None);

        let mut tries = Tries::new(start);
        let paused: Duration =
            std::iter::from_fn(|| tries.next(&Fault::Again("busy"), start)).sum();
        assert!(
            (CONTENTION_MAX..2 * CONTENTION_MAX + CONTENTION_MAX).contains(&paused),
            "{paused:?}"
        );
        assert_eq!(Tries::new(start).next(&Fault::Again("busy"), at(6000)), None);
        assert_eq!(Tries::new(start).next(&Refusal::internal().into(), start), None);
        assert_eq!(Tries::new(start).next(&Fault::TookEffect, start), None);
    }
}
