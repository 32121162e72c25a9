//! By how much the round trip varies by itself. A radio sends when it is given leave to, so that even
//! an empty path has no one round trip. Only what is below the average counts: what is above may as
//! well be our own queue.

/// Parts of the average that each measurement makes up.
const AVERAGE_GAIN: f64 = 1.0 / 4.0;
/// The same of the deviation.
const DEVIATION_GAIN: f64 = 1.0 / 16.0;
/// How many deviations the least of a round lies above the least of all.
const DEVIATIONS: f64 = 2.0;

/// Measures the variation.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    average: Option<f64>,
    deviation: f64,
}

impl Noise {
    pub(super) const fn new() -> Self {
        Self { average: None, deviation: 0.0 }
    }

    /// Takes a round trip in, in seconds. While a queue is known to get
    /// shorter, it says nothing.
    pub(super) fn measure(&mut self, rtt: f64, is_queue: bool) {
        let average = self.average.get_or_insert(rtt);
        if is_queue {
            *average = rtt;
            return;
        }
        let below = (*average - rtt).max(0.0);
        self.deviation += DEVIATION_GAIN * (below - self.deviation);
        *average += AVERAGE_GAIN * (rtt - *average);
    }

    /// How much longer than the least the round trip of the empty path may well be, in seconds.
    pub(super) fn get(&self) -> f64 {
        DEVIATIONS * self.deviation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_queue_is_no_noise_and_a_varying_path_is() {
        let mut steady = Noise::new();
        let mut varying = Noise::new();
        for round in 0..200 {
            steady.measure(0.05 + 0.0005 * f64::from(round), false);
            varying.measure(0.05 + 0.01 * f64::from(round % 2), false);
        }
        assert!(steady.get() < 1e-9, "{}", steady.get());
        assert!((0.004..0.007).contains(&varying.get()), "{}", varying.get());
    }

    #[test]
    fn what_others_do_is_no_noise() {
        let mut noise = Noise::new();
        for round in 0..200 {
            noise.measure(0.05 + 0.01 * f64::from(round % 2), true);
        }
        assert_eq!(noise.get(), 0.0);
    }
}
