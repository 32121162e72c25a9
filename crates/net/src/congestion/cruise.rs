//! Alone on the path, or among its like: the window grows until packets begin to wait, then gives
//! back what waits. Growth by a fixed step and reduction by a share makes flows equal (Chiu and
//! Jain, 1989), and the queue is empty after each reduction, so that everybody sees the round trip
//! of the empty path.

/// Packets by which the window grows in a round trip, at first.
const STEP: f64 = 2.0;
/// Round trips without a queue after which the step doubles.
const STEP_DOUBLES_AFTER: u32 = 3;
/// By what part of itself the window grows in a round trip at most.
const STEP_SHARE_MAX: f64 = 0.25;
/// Of the tolerated wait, what passes for no queue.
const EMPTY: f64 = 0.25;
/// Of the tolerated wait, what a reduction must have led to, if the queue was ours.
const EMPTIED: f64 = 0.5;
/// What part of what a reduction gave back must be gone, to say that the queue answers at all.
const ANSWER: f64 = 0.3;
/// Times the tolerated wait, what is so long that it is not ours by chance.
const LONG: f64 = 3.0;
/// To what part of the path's content a reduction goes, so that the queue empties.
const EMPTYING: f64 = 0.97;
/// To what part one reduction goes at least.
const CUT_MAX: f64 = 0.5;
/// Round trips shorter than this, in seconds, are counted as this: the wait is that of processors.
const RTT_MIN: f64 = 0.002;
/// Reductions after which the queue has not been empty, and then somebody else must be filling it.
/// One that was not answered counts double, or triple if packets wait for long.
const CUTS_IN_VAIN: u32 = 6;
/// The same where somebody did a moment ago.
const CUTS_IN_VAIN_WARY: u32 = 4;
/// By what part the round trips may differ meanwhile, and what part of the window may be left, to
/// say that the queue did not answer to the window at all: then there is none.
const UNMOVED: f64 = 0.05;
const UNMOVED_WINDOW: f64 = 0.34;

/// What to do after a round trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// Go on with this window, in packets.
    Go(f64),
    /// Somebody keeps the queue full.
    Contended {
        /// The window before the first reduction.
        before: f64,
        /// Whether the queue answered to any of the reductions.
        is_answered: bool,
    },
    /// The path itself has become longer. The window was this before the first reduction.
    Longer(f64),
}

/// The window while cruising. Windows are in packets, times in seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Cruise {
    settling: bool,
    calm: u32,
    cuts: u32,
    is_wary: bool,
    /// Whether the queue answered to the last reduction, and to any of those that count.
    is_better: bool,
    is_answered: bool,
    window_before: f64,
    /// The round trip before the last reduction, and by how much it would get shorter if the queue
    /// was ours alone.
    rtt_cut: f64,
    rtt_given: f64,
    rtt_least: f64,
    rtt_most: f64,
}

impl Cruise {
    /// After a contest, which may go on.
    pub(super) fn after_contest(is_wary: bool) -> Self {
        Self { is_wary, ..Self::default() }
    }

    /// After a round trip in which packets took at least `rtt`, where `base` is that of the empty
    /// path and `tolerated` how long they may wait.
    pub(super) fn step(&mut self, window: f64, rtt: f64, base: f64, tolerated: f64) -> Step {
        if self.settling {
            // What was sent before a reduction says nothing about it.
            self.settling = false;
            return Step::Go(window);
        }
        let wait = rtt - base;
        if wait <= EMPTIED * tolerated {
            self.cuts = 0;
        }
        if self.rtt_cut - rtt >= ANSWER * self.rtt_given {
            self.is_better = true;
            self.is_answered = true;
        }
        if wait <= tolerated {
            return Step::Go(self.grow(window, wait <= EMPTY * tolerated));
        }
        if self.cuts == 0 {
            self.window_before = window;
            self.is_answered = false;
            (self.rtt_least, self.rtt_most) = (rtt, rtt);
        }
        self.rtt_least = self.rtt_least.min(rtt);
        self.rtt_most = self.rtt_most.max(rtt);
        let in_vain = if self.is_wary { CUTS_IN_VAIN_WARY } else { CUTS_IN_VAIN };
        if self.cuts >= in_vain {
            let is_unmoved = self.rtt_most <= (1.0 + UNMOVED) * self.rtt_least
                && window <= UNMOVED_WINDOW * self.window_before;
            let before = self.window_before.max(window);
            return if is_unmoved {
                Step::Longer(before)
            } else {
                Step::Contended { before, is_answered: self.is_answered }
            };
        }
        Step::Go(window * self.cut(rtt, base, tolerated))
    }

    /// To what part of itself the window goes.
    fn cut(&mut self, rtt: f64, base: f64, tolerated: f64) -> f64 {
        self.cuts += match rtt - base > LONG * tolerated {
            _ if self.is_better => 1,
            false => 2,
            true => 3,
        };
        self.is_better = false;
        self.calm = 0;
        self.settling = true;
        let part = (EMPTYING * base.max(RTT_MIN) / rtt.max(RTT_MIN)).max(CUT_MAX);
        (self.rtt_cut, self.rtt_given) = (rtt, (1.0 - part) * rtt);
        part
    }

    /// Whether a reduction is still to show: the queue gets shorter meanwhile.
    pub(super) const fn is_settling(&self) -> bool {
        self.settling
    }

    /// Sent too much, as the loss shows: the window becomes this part of itself.
    pub(super) fn reduce(&mut self, window: f64, part: f64) -> f64 {
        self.calm = 0;
        self.settling = true;
        window * part
    }

    fn grow(&mut self, window: f64, is_empty: bool) -> f64 {
        self.calm = if is_empty { self.calm + 1 } else { 0 };
        let doubled = (self.calm / STEP_DOUBLES_AFTER).min(16);
        let step = STEP * f64::from(1_u32 << doubled);
        window + step.min((STEP_SHARE_MAX * window).max(STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: f64 = 0.08;
    const TOLERATED: f64 = 0.01;

    /// The windows after round trips with these waits in milliseconds, from 100 packets.
    fn windows(cruise: &mut Cruise, waits: &[f64]) -> Vec<f64> {
        let mut window = 100.0;
        let step = |wait: &f64| {
            match cruise.step(window, BASE + wait / 1000.0, BASE, TOLERATED) {
                Step::Go(next) => window = next,
                other => panic!("{other:?}"),
            }
            window.round()
        };
        waits.iter().map(step).collect()
    }

    #[test]
    fn the_window_grows_faster_the_longer_the_queue_is_empty() {
        let windows = windows(&mut Cruise::default(), &[0.0; 9]);
        assert_eq!(windows, [102.0, 104.0, 108.0, 112.0, 116.0, 124.0, 132.0, 140.0, 156.0]);
    }

    #[test]
    fn it_grows_slowly_while_packets_wait_and_gives_back_what_waits_too_long() {
        let windows = windows(&mut Cruise::default(), &[5.0, 5.0, 20.0, 20.0, 0.0]);
        // 80 of 100 ms, and 3 % more so that the queue empties; then one round to let it.
        assert_eq!(windows, [102.0, 104.0, 81.0, 81.0, 83.0]);
    }

    #[test]
    fn a_very_long_queue_takes_half_of_the_window_at_most() {
        assert_eq!(windows(&mut Cruise::default(), &[900.0]), [50.0]);
    }

    #[test]
    fn a_queue_that_does_not_empty_is_somebody_elses() {
        // (waits in milliseconds of the rounds after the first, whether it is a contest, and one in
        // which the queue answered)
        for (waits, is_contest, is_answered) in [
            // Always too long: after three.
            (&[40.0, 50.0, 45.0, 50.0, 45.0, 50.0][..], true, false),
            (&[20.0, 22.0, 21.0, 22.0, 21.0, 22.0], true, false),
            // Shorter each time, but never empty: after five, of which the first counts double.
            (&[20.0, 8.0, 20.0].repeat(4), false, true),
            (&[20.0, 8.0, 20.0].repeat(5), true, true),
            // Empty in between: ours.
            (&[20.0, 0.0, 20.0].repeat(5), false, true),
        ] {
            let mut cruise = Cruise::default();
            let mut window = 100.0;
            let mut ended = None;
            for wait in [20.0].iter().chain(waits) {
                match cruise.step(window, BASE + wait / 1000.0, BASE, TOLERATED) {
                    Step::Go(next) => window = next,
                    end => ended = Some(end),
                }
            }
            let expected = is_contest.then_some(Step::Contended { before: 100.0, is_answered });
            assert_eq!(ended, expected, "{waits:?}");
        }
    }

    #[test]
    fn a_round_trip_that_does_not_answer_at_all_is_a_longer_path() {
        let mut cruise = Cruise::default();
        let mut window = 100.0;
        for _ in 0..4 {
            let Step::Go(next) = cruise.step(window, 0.2, BASE, TOLERATED) else { panic!("early") };
            window = next;
        }
        assert_eq!(cruise.step(window, 0.2, BASE, TOLERATED), Step::Longer(100.0));
    }

    #[test]
    fn on_a_short_path_the_wait_of_processors_costs_nothing() {
        let mut cruise = Cruise::default();
        assert_eq!(cruise.step(100.0, 0.0049, 0.0001, 0.004), Step::Go(50.0));
        assert_eq!(cruise.step(100.0, 0.0040, 0.0001, 0.004), Step::Go(100.0));
    }
}
