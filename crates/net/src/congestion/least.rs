//! The least that was seen lately, such as the round trip of the path without a queue. Routes change,
//! so what was seen long ago is forgotten, in two halves: to forget each measurement at its time,
//! all of them would have to be kept.

/// For how long a measurement counts at least, in seconds. Twice as long at most.
const REMEMBERED_SECONDS: f64 = 20.0;

/// The least of the last seconds.
#[derive(Debug, Clone)]
pub(super) struct Least {
    current: f64,
    previous: f64,
    since: f64,
}

impl Least {
    pub(super) const fn new() -> Self {
        Self { current: f64::INFINITY, previous: f64::INFINITY, since: 0.0 }
    }

    /// Takes a measurement in. The time is in seconds.
    pub(super) fn measure(&mut self, now: f64, value: f64) {
        if now - self.since > REMEMBERED_SECONDS {
            self.previous = self.current;
            self.current = f64::INFINITY;
            self.since = now;
        }
        self.current = self.current.min(value);
    }

    /// Forgets everything but this: the path has changed.
    pub(super) const fn restart(&mut self, now: f64, value: f64) {
        *self = Self { current: value, previous: value, since: now };
    }

    /// Infinite before the first measurement.
    pub(super) const fn get(&self) -> f64 {
        self.current.min(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_counts_until_it_is_old() {
        let mut base = Least::new();
        assert_eq!(base.get(), f64::INFINITY);
        for (now, value, expected) in [
            (0.0, 0.08, 0.08),
            (1.0, 0.05, 0.05),
            (15.0, 0.09, 0.05),
            (20.5, 0.09, 0.05),
            (40.0, 0.1, 0.05),
            (40.6, 0.1, 0.09),
            (60.7, 0.2, 0.1),
        ] {
            base.measure(now, value);
            assert_eq!(base.get(), expected, "at {now}");
        }
        base.restart(61.0, 0.3);
        assert_eq!(base.get(), 0.3);
    }
}
