//! Beside a flow that fills the queue: the window follows CUBIC's curve, so that each gets its share.
//!
//! Whoever fills a queue cannot see whether anybody else does, so now and then a part of the queue
//! is given back for a **look**: if it all goes, the queue was ours alone, and the contest is over.
//! From time to time the whole queue is given back, and half of what the empty path would hold of
//! ours. The queue may then empty although somebody else is there, but it shows the round trip of the
//! empty path, and others who contend only with us see it empty too. They join a look when they
//! notice it, so that a contest among our like ends for all. More than that is never given back: on a
//! long queue it would take seconds, which the other flow takes for his.

use super::{cubic::Curve, ramp::Ramp};

/// Seconds from the beginning of a contest to the first look.
const LOOK_SECONDS: f64 = 2.0;
/// The same at most, where the contest went on after one.
const LOOK_SECONDS_MAX: f64 = 8.0;
/// The same from where a contest goes on to its first look: the other may have gone.
const FIRST_SECONDS_MAX: f64 = 4.0;
/// Every so many looks the whole queue is given back, the first one included.
const LOOKS_A_DEEP_ONE: u32 = 3;
/// What part of the queue is given back for a look.
const LOOK_PART: f64 = 0.5;
/// What part is then kept of what the empty path would hold.
const DEEP_PART: f64 = 0.5;
/// What part of it must go, if the queue is ours alone.
const LOOK_SHARE: f64 = 0.8;
/// Rounds of a look: one until it has an effect, one to see that.
const LOOK_ROUNDS: u32 = 2;
/// Rounds of one at which all is given back, so that others have the time to join.
const DEEP_ROUNDS: u32 = 4;
/// What part of the wait is left when somebody else looks.
const JOIN_PART: f64 = 0.7;
/// What part of the round trip is left when a whole flow has gone. CUBIC goes to 0.7 at most.
const GONE_PART: f64 = 0.65;
/// How full the queue is, of the fullest it has been lately, when a loss is taken for an overflow.
const FULL: f64 = 0.7;
/// The same where a queue that gets shorter may have overflowed, even though nothing of ours is lost.
const FULLEST: f64 = 0.9;
/// Seconds between two looks that join somebody else's.
const JOIN_SECONDS: f64 = 4.0;
/// Round trips after a reduction of our own in which the wait says nothing about others.
const OWN_ROUNDS: f64 = 4.0;
/// Of the tolerated wait, what ends a contest.
const CALM: f64 = 0.5;
/// The same of the wait before a look: who is but a small part of the queue sees little of it go.
const CALM_LOOK: f64 = 0.2;
/// Round trips after a reduction of our own in which an empty queue ends none: others lost as well.
const CALM_ROUNDS: f64 = 8.0;
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
    joined_at: f64,
    reduced_at: f64,
    rtt_before: f64,
    /// By how many packets the window grows with each that is acknowledged.
    slope: f64,
    look: Option<Look>,
    ramp: Option<Ramp>,
}

#[derive(Debug, Clone)]
struct Look {
    rounds: u32,
    is_deep: bool,
    /// What it was before.
    window: f64,
    wait: f64,
    /// The window without what waited of it then.
    content: f64,
}

/// What to do after a round trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Move {
    /// Go on with this window, in packets.
    Go(f64),
    /// Nobody else fills the queue: this is our share of what the empty path holds, in packets.
    Over(f64),
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

    /// A contest begins. It has the window that it returns; without contest it was `window`. To
    /// what it was `reduced`, if nothing answered to that.
    pub(super) fn enter(&mut self, now: f64, window: f64, reduced: Option<f64>) -> (Contest, f64) {
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
            look_at: now + self.look_after.min(FIRST_SECONDS_MAX),
            joined_at: f64::NEG_INFINITY,
            reduced_at: f64::NEG_INFINITY,
            rtt_before: 0.0,
            slope: 0.0,
            look: None,
            ramp: reduced.filter(|_| !is_again).map(Ramp::new),
        };
        (contest, window)
    }
}

impl Contest {
    /// Packets take as long as this.
    pub(super) const fn on_rtt(&mut self, seconds: f64) {
        self.curve.on_rtt(seconds);
    }

    /// So many packets were acknowledged. The window that follows.
    pub(super) fn on_ack(&self, packets: f64, window: f64) -> f64 {
        if self.look.is_some() { window } else { window + self.slope * packets }
    }

    /// A packet that was sent at a time was lost, while packets take `rtt` and would take `base`
    /// without a queue. The window, if it becomes another.
    pub(super) fn on_loss(
        &mut self,
        (now, sent): (f64, f64),
        rtt: f64,
        base: f64,
        window: f64,
    ) -> Option<f64> {
        let counts =
            self.look.is_none() && sent > self.reduced_at && self.curve.fullness(rtt, base) >= FULL;
        counts.then(|| self.back_off(now, window))
    }

    /// After a round trip with this window.
    pub(super) fn step(&mut self, rivalry: &mut Rivalry, seen: &Seen, window: f64) -> Move {
        let is_over = match &mut self.look {
            Some(look) if seen.wait < (CALM * seen.tolerated).min(CALM_LOOK * look.wait) => true,
            None if seen.wait < CALM * seen.tolerated
                && seen.now - self.reduced_at > CALM_ROUNDS * seen.rtt =>
            {
                true
            }
            Some(look) => {
                look.rounds -= 1;
                if look.rounds > 0 {
                    return Move::Go(window);
                }
                !look.is_deep && seen.wait <= (1.0 - LOOK_SHARE * LOOK_PART) * look.wait
            }
            None => false,
        };
        let before = self.look.take();
        if is_over {
            rivalry.left_at = seen.now;
            rivalry.left_window = before.as_ref().map_or(window, |look| look.window);
            rivalry.left_curve = Some(self.curve.clone());
            return Move::Over(before.map_or(window, |look| look.content));
        }
        if let Some(look) = before {
            self.look_at = seen.now + rivalry.look_after;
            return Move::Go(look.window);
        }
        let is_dip = self.is_dip(seen);
        self.rtt_before = seen.rtt;
        if seen.is_loss_a_sign && seen.now - self.reduced_at > 2.0 * seen.rtt {
            return Move::Go(self.back_off(seen.now, window));
        }
        if let Some(ramp) = &mut self.ramp {
            if let Some(slope) = ramp.step(window, seen.rate) {
                self.slope = slope;
                return Move::Go(window);
            }
            self.ramp = None;
            self.curve.begin(seen.now, window);
            self.look_at = seen.now + rivalry.look_after;
        }
        if seen.now > self.look_at || is_dip {
            return Move::Go(self.begin_look(rivalry, seen, window, is_dip));
        }
        self.slope = self.curve.grow(seen.now, seen.rtt, window) / window - 1.0;
        Move::Go(window)
    }

    /// Whether the queue is shorter, and not for something that we did: as much as makes up for
    /// another flow, or less, but not from where the queue overflows and others lose.
    fn is_dip(&self, seen: &Seen) -> bool {
        let base = seen.rtt - seen.wait;
        let is_shorter = seen.wait < JOIN_PART * (self.rtt_before - base)
            && self.curve.fullness(self.rtt_before, base) < FULLEST;
        (is_shorter || seen.rtt < GONE_PART * self.rtt_before)
            && seen.now - self.reduced_at > OWN_ROUNDS * seen.rtt
            && seen.now - self.joined_at > JOIN_SECONDS
    }

    fn begin_look(&mut self, rivalry: &mut Rivalry, seen: &Seen, window: f64, joins: bool) -> f64 {
        let is_deep = joins || rivalry.looks.is_multiple_of(LOOKS_A_DEEP_ONE);
        rivalry.looks += 1;
        if joins {
            self.joined_at = seen.now;
        }
        let rounds = if is_deep { DEEP_ROUNDS } else { LOOK_ROUNDS };
        let content = window * (1.0 - seen.wait / seen.rtt);
        self.look = Some(Look { rounds, is_deep, window, wait: seen.wait, content });
        if is_deep { DEEP_PART * content } else { window - LOOK_PART * (window - content) }
    }

    fn back_off(&mut self, now: f64, window: f64) -> f64 {
        self.reduced_at = now;
        self.slope = 0.0;
        self.ramp = None;
        self.curve.back_off(now, window)
    }
}

#[cfg(test)]
mod tests;
