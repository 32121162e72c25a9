//! Beside a flow that fills the queue: the window follows CUBIC's curve, so that each gets its share.
//!
//! Whoever fills a queue cannot see whether anybody else does, so now and then a part of the queue
//! is given back for a **look**: if it all goes, the queue was ours alone, and the contest is over.
//! From time to time everything is given back. The queue may then empty although somebody else is
//! there, but it shows the round trip of the empty path, and others who contend only with us see it
//! empty too. They join a look when they notice it, so that a contest among our like ends for all.

use super::cubic::Curve;

/// Seconds from the beginning of a contest to the first look.
const LOOK_SECONDS: f64 = 2.0;
/// The same at most, where the contest went on after one.
const LOOK_SECONDS_MAX: f64 = 8.0;
/// Every so many looks everything is given back, the first one included.
const LOOKS_A_DEEP_ONE: u32 = 3;
/// What part of the queue is given back for a look.
const LOOK_PART: f64 = 0.5;
/// What part of that must go, if the queue is ours alone.
const LOOK_SHARE: f64 = 0.8;
/// Rounds of a look: one until it has an effect, one to see that.
const LOOK_ROUNDS: u32 = 2;
/// Rounds of one at which everything is given back, so that others have the time to join.
const DEEP_ROUNDS: u32 = 4;
/// What part of the wait is left when somebody else looks.
const JOIN_PART: f64 = 0.7;
/// Seconds between two looks of which the second joins somebody else's.
const JOIN_SECONDS: f64 = 4.0;
/// Round trips after a reduction of our own in which the wait says nothing about others.
const OWN_ROUNDS: f64 = 4.0;
/// Of the tolerated wait, what ends a contest.
const CALM: f64 = 0.5;
/// Seconds after a contest in which another is its continuation.
const AGAIN_SECONDS: f64 = 20.0;

/// What is remembered from one contest to the next.
#[derive(Debug, Clone)]
pub(super) struct Rivalry {
    look_after: f64,
    looks: u32,
    left_at: f64,
    left_window: f64,
    left_curve: Option<Curve>,
}

/// The window while contending. Windows are in packets, times in seconds.
#[derive(Debug, Clone)]
pub(super) struct Contest {
    curve: Curve,
    look_at: f64,
    looked_at: f64,
    reduced_at: f64,
    wait_before: f64,
    look: Option<Look>,
}

#[derive(Debug, Clone)]
struct Look {
    rounds: u32,
    is_deep: bool,
    /// What it was before.
    window: f64,
    wait: f64,
}

/// A round trip of a contest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) now: f64,
    pub(super) rtt: f64,
    /// The least time that a packet waited.
    pub(super) wait: f64,
    /// How long packets may wait where nobody contends.
    pub(super) tolerated: f64,
    /// Packets a second.
    pub(super) rate: f64,
    /// Whether so much was lost that it must be our doing.
    pub(super) is_loss_a_sign: bool,
}

impl Rivalry {
    pub(super) const fn new() -> Self {
        Self {
            look_after: LOOK_SECONDS,
            looks: 0,
            left_at: f64::NEG_INFINITY,
            left_window: 0.0,
            left_curve: None,
        }
    }

    /// A contest begins. It has the window that it returns; without contest it was `window`.
    pub(super) fn enter(&mut self, now: f64, window: f64) -> (Contest, f64) {
        let is_again = now - self.left_at < AGAIN_SECONDS;
        let window = if is_again { window.max(self.left_window) } else { window };
        if is_again {
            self.look_after = (2.0 * self.look_after).min(LOOK_SECONDS_MAX);
        } else {
            (self.look_after, self.looks) = (LOOK_SECONDS, 0);
        }
        let left = self.left_curve.take().filter(|_| is_again);
        let curve = left.map_or_else(
            || Curve::new(now, window),
            |curve| curve.resumed_after(now - self.left_at),
        );
        let contest = Contest {
            curve,
            look_at: now + self.look_after,
            looked_at: now,
            reduced_at: f64::NEG_INFINITY,
            wait_before: 0.0,
            look: None,
        };
        (contest, window)
    }
}

impl Contest {
    /// Packets wait as long as this.
    pub(super) const fn on_wait(&mut self, seconds: f64) {
        self.curve.on_wait(seconds);
    }

    /// A packet that was sent at a time was lost, while packets wait as long as this. The window,
    /// if it becomes another.
    pub(super) fn on_loss(&mut self, now: f64, sent: f64, wait: f64, window: f64) -> Option<f64> {
        let counts = self.look.is_none() && sent > self.reduced_at && self.curve.is_overflow(wait);
        counts.then(|| self.back_off(now, window))
    }

    /// The window after a round trip; `None` if the contest is over.
    pub(super) fn step(&mut self, rivalry: &mut Rivalry, seen: &Seen, window: f64) -> Option<f64> {
        let is_over = match &mut self.look {
            _ if seen.wait < CALM * seen.tolerated => true,
            Some(look) => {
                look.rounds -= 1;
                if look.rounds > 0 {
                    return Some(window);
                }
                !look.is_deep && seen.wait <= (1.0 - LOOK_SHARE * LOOK_PART) * look.wait
            }
            None => false,
        };
        let before = self.look.take().map(|look| look.window);
        if is_over {
            rivalry.left_at = seen.now;
            rivalry.left_window = before.unwrap_or(window);
            rivalry.left_curve = Some(self.curve.clone());
            return None;
        }
        if before.is_some() {
            self.look_at = seen.now + rivalry.look_after;
            return before;
        }
        let is_dip = self.is_dip(seen);
        self.wait_before = seen.wait;
        if seen.now > self.look_at || is_dip {
            return Some(self.begin_look(rivalry, seen, window, is_dip));
        }
        if seen.is_loss_a_sign && seen.now - self.reduced_at > 2.0 * seen.rtt {
            return Some(self.back_off(seen.now, window));
        }
        Some(self.curve.grow(seen.now, seen.rtt, window))
    }

    /// Whether the queue is shorter, and not for something that we did.
    fn is_dip(&self, seen: &Seen) -> bool {
        seen.wait < JOIN_PART * self.wait_before
            && seen.now - self.reduced_at > OWN_ROUNDS * seen.rtt
            && seen.now - self.looked_at > JOIN_SECONDS
    }

    fn begin_look(&mut self, rivalry: &mut Rivalry, seen: &Seen, window: f64, joins: bool) -> f64 {
        let is_deep = joins || rivalry.looks.is_multiple_of(LOOKS_A_DEEP_ONE);
        rivalry.looks += 1;
        self.looked_at = seen.now;
        let rounds = if is_deep { DEEP_ROUNDS } else { LOOK_ROUNDS };
        self.look = Some(Look { rounds, is_deep, window, wait: seen.wait });
        if is_deep { 0.0 } else { window - LOOK_PART * seen.wait * seen.rate }
    }

    fn back_off(&mut self, now: f64, window: f64) -> f64 {
        self.reduced_at = now;
        self.curve.back_off(now, window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Seen = Seen {
        now: 0.0,
        rtt: 0.1,
        wait: 0.05,
        tolerated: 0.005,
        rate: 1_000.0,
        is_loss_a_sign: false,
    };

    /// The windows after round trips of a contest that began with 100 packets at the time 0.
    fn windows(rivalry: &mut Rivalry, waits: &[f64]) -> Vec<Option<f64>> {
        let (mut contest, mut window) = rivalry.enter(0.0, 100.0);
        let mut windows = Vec::new();
        for (round, wait) in waits.iter().enumerate() {
            let seen = Seen { now: 0.5 * (round + 1) as f64, wait: *wait, ..BUSY };
            let next = contest.step(rivalry, &seen, window);
            windows.push(next.map(f64::round));
            let Some(next) = next else { break };
            window = next;
        }
        windows
    }

    #[test]
    fn a_contest_ends_when_the_queue_is_empty() {
        let mut rivalry = Rivalry::new();
        let seen = windows(&mut rivalry, &[0.05, 0.05, 0.002, 0.05]);
        assert_eq!(seen, [Some(101.0), Some(102.0), None]);
        assert_eq!(rivalry.left_at, 1.5);
    }

    #[test]
    fn the_first_look_gives_everything_back_and_takes_it_again() {
        let mut rivalry = Rivalry::new();
        let seen = windows(&mut rivalry, &[0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.04, 0.04]);
        let looking = &seen[4..8];
        assert_eq!(looking, [Some(0.0); 4]);
        assert_eq!(seen[8], seen[3]);
    }

    #[test]
    fn a_later_look_tells_our_queue_from_that_of_others() {
        for (after, is_over) in [(0.026, true), (0.040, false)] {
            let mut rivalry = Rivalry::new();
            let (mut contest, window) = rivalry.enter(0.0, 100.0);
            rivalry.looks = 1;
            let mut step =
                |now, wait, window| contest.step(&mut rivalry, &Seen { now, wait, ..BUSY }, window);
            // Half the queue of 50 ms at 1,000 packets a second.
            assert_eq!(step(2.1, 0.05, window), Some(75.0));
            assert_eq!(step(2.2, 0.05, 75.0), Some(75.0));
            let expected = if is_over { None } else { Some(100.0) };
            assert_eq!(step(2.3, after, 75.0), expected, "{after}");
        }
    }

    #[test]
    fn a_dip_is_joined_unless_it_is_ours() {
        let mut rivalry = Rivalry::new();
        rivalry.look_after = f64::INFINITY;
        let (mut contest, window) = rivalry.enter(0.0, 100.0);
        for (now, wait, reduced_at, is_look) in [
            (5.0, 0.05, -9.0, false),
            (5.1, 0.03, 5.0, false),
            (6.0, 0.05, 5.0, false),
            (6.1, 0.03, 5.0, true),
        ] {
            contest.reduced_at = reduced_at;
            contest.look_at = f64::INFINITY;
            let seen = Seen { now, wait, ..BUSY };
            let next = contest.step(&mut rivalry, &seen, window).unwrap();
            assert_eq!(next == 0.0, is_look, "at {now}");
        }
    }

    #[test]
    fn a_contest_that_goes_on_keeps_its_window_and_looks_less_often() {
        let mut rivalry = Rivalry::new();
        windows(&mut rivalry, &[0.05, 0.05, 0.0]);
        let (contest, window) = rivalry.enter(3.0, 20.0);
        assert_eq!((window.round(), contest.look_at), (102.0, 7.0));
        rivalry.left_at = -100.0;
        let (contest, window) = rivalry.enter(3.0, 20.0);
        assert_eq!((window, contest.look_at), (20.0, 5.0));
    }

    #[test]
    fn an_overflow_counts_once_and_not_during_a_look() {
        let mut rivalry = Rivalry::new();
        let (mut contest, window) = rivalry.enter(0.0, 100.0);
        contest.on_wait(0.05);
        assert_eq!(contest.on_loss(1.0, 0.9, 0.01, window), None);
        assert_eq!(contest.on_loss(1.0, 0.9, 0.05, window), Some(80.0));
        assert_eq!(contest.on_loss(1.1, 0.95, 0.05, 80.0), None);
        contest.look = Some(Look { rounds: 2, is_deep: true, window, wait: 0.05 });
        assert_eq!(contest.on_loss(2.0, 1.9, 0.05, 80.0), None);
    }
}
