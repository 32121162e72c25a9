//! CUBIC's window (RFC 9438), of which only a loss while the queue is near its fullest takes away:
//! the other losses are by chance.

/// To what part of itself an overflow reduces the window. RFC 9438 (section 4.6) has 0.7; this makes
/// up for what the looks at the queue cost.
const BETA: f64 = 0.8;
/// How steep the curve is, in packets a cubic second (RFC 9438, section 5.1).
const STEEPNESS: f64 = 0.4;
/// Packets a round trip where the curve is slower than Reno (RFC 9438, section 4.3).
const RENO_SLOPE: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// A wait that is none, in seconds.
const SECONDS_MIN: f64 = 1e-6;

/// The curve that the window follows. Windows are in packets, times in seconds.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// The window at which the queue overflowed.
    top: f64,
    /// When the curve began.
    began: f64,
    /// Seconds from there to its level part, at the top.
    climb: f64,
    /// The window that Reno would have.
    reno: f64,
    /// The longest round trip since the last overflow, and between that and the one before. Not the
    /// wait: the round trip of the empty path may be forgotten meanwhile.
    rtt_max: f64,
    rtt_max_before: f64,
}

impl Curve {
    /// Begins at the level part, with this window.
    pub(super) const fn new(now: f64, window: f64) -> Self {
        Self {
            top: window,
            began: now,
            climb: 0.0,
            reno: window,
            rtt_max: 0.0,
            rtt_max_before: 0.0,
        }
    }

    /// Begins anew at the level part, with this window.
    pub(super) const fn begin(&mut self, now: f64, window: f64) {
        (self.top, self.began, self.climb, self.reno) = (window, now, 0.0, window);
    }

    /// The curve as if so many seconds had not been.
    pub(super) const fn resumed_after(mut self, seconds: f64) -> Self {
        self.began += seconds;
        self
    }

    /// Packets take as long as this.
    pub(super) const fn on_rtt(&mut self, seconds: f64) {
        self.rtt_max = self.rtt_max.max(seconds);
    }

    /// The window after another round trip.
    pub(super) fn grow(&mut self, now: f64, rtt: f64, window: f64) -> f64 {
        self.reno += if self.reno < self.top { RENO_SLOPE } else { 1.0 };
        let curve = STEEPNESS * (now + rtt - self.began - self.climb).powi(3) + self.top;
        // Never more than half as much again in one round trip (RFC 9438, section 4.4).
        curve.max(self.reno).clamp(window, 1.5 * window)
    }

    /// How full the queue is, of the fullest it has been lately, when packets take as long as this
    /// and would take `base` without a queue.
    pub(super) fn fullness(&self, rtt: f64, base: f64) -> f64 {
        (rtt - base) / (self.rtt_max.max(self.rtt_max_before) - base).max(SECONDS_MIN)
    }

    /// The window after an overflow.
    pub(super) fn back_off(&mut self, now: f64, window: f64) -> f64 {
        // Who has less than the last time leaves room for who comes (RFC 9438, section 4.7).
        self.top = if window < self.top { window * (1.0 + BETA) / 2.0 } else { window };
        self.began = now;
        self.climb = ((self.top - window * BETA).max(0.0) / STEEPNESS).cbrt();
        self.reno = window * BETA;
        self.rtt_max_before = self.rtt_max;
        self.rtt_max = 0.0;
        window * BETA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_overflow_the_curve_returns_to_where_it_was() {
        let mut curve = Curve::new(0.0, 100.0);
        let mut window = curve.back_off(0.0, 100.0);
        assert_eq!(window, 80.0);
        // At the top after 3.7 seconds, the cube root of 20 / 0.4, and near it before.
        let mut at_top = None;
        for round in 0..200 {
            let now = 0.05 * f64::from(round);
            let grown = curve.grow(now, 0.05, window);
            assert!(grown >= window && grown <= 1.5 * window);
            window = grown;
            if window >= 99.9 && at_top.is_none() {
                at_top = Some(now);
            }
        }
        let at_top = at_top.unwrap();
        assert!((2.0..3.7).contains(&at_top), "{at_top}");
        assert!(window > 140.0, "{window}");
    }

    #[test]
    fn who_has_less_than_before_makes_room() {
        let mut curve = Curve::new(0.0, 100.0);
        curve.back_off(0.0, 80.0);
        assert!((curve.top - 72.0).abs() < 1e-9);
        curve.back_off(1.0, 90.0);
        assert_eq!(curve.top, 90.0);
    }

    #[test]
    fn the_queue_is_as_full_as_it_is_of_its_fullest() {
        let mut curve = Curve::new(0.0, 100.0);
        for (rtt, longest, fullness) in [(0.11, 0.14, 0.25), (0.13, 0.14, 0.75), (0.14, 0.2, 0.4)] {
            curve.on_rtt(longest);
            assert!((curve.fullness(rtt, 0.1) - fullness).abs() < 1e-9, "{rtt} of {longest}");
        }
        // What the queue was is remembered over one overflow, and not over two.
        curve.back_off(1.0, 100.0);
        assert!((curve.fullness(0.14, 0.1) - 0.4).abs() < 1e-9);
        curve.on_rtt(0.14);
        curve.back_off(2.0, 100.0);
        assert!((curve.fullness(0.14, 0.1) - 1.0).abs() < 1e-9);
    }
}
