//! The steep beginning of a contest, for who comes late: beside somebody who has had the queue to
//! himself, the curve alone would take minutes to a fair share. The window grows as that of a new
//! connection would, for as long as it matters: while most of the queue is somebody else's, the rate
//! follows the window; once most of it is ours, only the queue gets longer.

/// Packets that the window grows by with each that is acknowledged: by half in a round trip.
const SLOPE: f64 = 0.5;
/// By what factor the window must have grown for its effect to show.
const GROWN: f64 = 1.1;

/// What the last rounds of a ramp were like.
#[derive(Debug, Clone)]
pub(super) struct Ramp {
    /// The windows under which the packets of the last but one and the last round were sent.
    windows: (f64, f64),
    /// Packets a second of the last round, of which there may be none yet.
    rate: Option<f64>,
}

impl Ramp {
    /// Begins with what was sent under a window of so many packets.
    pub(super) const fn new(window: f64) -> Self {
        Self { windows: (window, window), rate: None }
    }

    /// After a round trip with packets at a rate, at the end of which the window was this: how many
    /// packets to add for each that is acknowledged; `None` if the ramp is over.
    pub(super) fn step(&mut self, window: f64, rate: f64) -> Option<f64> {
        let grown = self.windows.1 / self.windows.0;
        // Where half of the queue is ours, the rate grows as the root of the window.
        let is_over = grown >= GROWN && self.rate.is_some_and(|last| rate <= last * grown.sqrt());
        // What the first round brought was sent before the contest.
        let slope = if self.rate.is_some() { SLOPE } else { 0.0 };
        *self = Self { windows: (self.windows.1, window), rate: Some(rate) };
        (!is_over).then_some(slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds until the ramp is over, and the window then, beside a flow with so many packets.
    fn climb(others: f64) -> (u32, f64) {
        let mut ramp = Ramp::new(10.0);
        let (mut window, mut sent) = (10.0, 10.0);
        for round in 0..50 {
            // A full queue: everybody has the share of the rate that he has of the packets.
            let rate = 1_000.0 * sent / (sent + others);
            let Some(slope) = ramp.step(window, rate) else { return (round, window) };
            sent = window;
            window += slope * window;
        }
        panic!("it never ends")
    }

    #[test]
    fn a_ramp_ends_once_most_of_the_queue_is_ours() {
        for others in [100.0, 300.0, 1_000.0] {
            let (_, window) = climb(others);
            assert!((0.7..3.0).contains(&(window / others)), "{window} beside {others}");
        }
    }

    #[test]
    fn alone_it_ends_as_soon_as_its_effect_shows() {
        let (rounds, window) = climb(0.0);
        assert!(rounds <= 4 && window < 35.0, "{window} after {rounds}");
    }
}
