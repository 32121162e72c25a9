//! Listens whether the server is there, and how long answers take.
//!
//! What counts is the path, not what runs over it: any packet of the server is a sign of life, also
//! for an upload that shares the connection. Silence means something only while something is on
//! its way. Before silence is believed the server is asked for an acknowledgement, which its transport
//! gives at once however busy the server is.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Aside, Effect, Link, Session, Signs};
use crate::{
    backoff::Backoff,
    refusal::{Code, Refusal},
    sync::Standing,
    time::Timestamp,
};

/// How often the shell's idle connection has to make the server answer with at least an
/// acknowledgement.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How often it is listened for signs of life while something is on its way.
const LISTEN_BUSY: Duration = Duration::from_millis(200);
/// How often otherwise.
const LISTEN_IDLE: Duration = Duration::from_secs(1);
/// How long the server may give no sign of life while something is on its way, besides
/// [`ROUND_TRIPS`] round trips. With the time from one look to the next it is less than a second.
const SILENCE_BUSY: Duration = Duration::from_millis(750);
/// After this long without a sign of life, besides one round trip, the server is asked for one.
const PROBE_AFTER: Duration = Duration::from_millis(200);
/// Round trips after which a packet has either been acknowledged or lost more than once.
const ROUND_TRIPS: u32 = 3;
/// The longest round trip that is believed.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(3);
/// How long an idle connection may show no sign of life: a keep-alive and its answer may be lost.
const SILENCE_IDLE: Duration = Duration::from_millis(7_500);
/// How long an answer may take, besides [`ROUND_TRIPS`] round trips, until it is late.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// How long a new path has to show that it works, besides [`ROUND_TRIPS`] round trips.
const PROVE_WITHIN: Duration = Duration::from_millis(100);

/// How many probes of a silent path leave in a round trip while something waits to get through. What
/// was on its way when the path went away is sent again when a probe has been acknowledged, and is
/// there a round trip and a half after that probe left: within two of the path's return, where they
/// take 20 ms or more.
const PROBES_A_ROUND_TRIP: u32 = 4;
/// The least time from one of those to the next. A video call sends packets as often, and most probes
/// are smaller than those.
const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// For how long it is probed so often.
const PROBED_OFTEN_MAX: Duration = Duration::from_secs(120);
/// How soon before the last sign of life a stream has to have moved for it to wait now.
const WORK_RECENT: Duration = Duration::from_secs(1);
/// Otherwise it is probed again after this share of the time that it has been silent, so that its
/// return is noticed soon for how long it was away, and costs next to nothing.
const PROBE_SHARE: u32 = 32;
/// The most time from one probe to the next.
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// How long a server may answer only that what it needs is unavailable, before another is looked for.
const USELESS_AFTER: Duration = Duration::from_secs(5);
/// How long at least from one look for another server to the next, and how much longer at most: if all
/// of them lack the same, haste helps nobody.
const LOOK_ELSEWHERE_INTERVAL: Duration = Duration::from_secs(30);

/// What is known of the path and of the server at its end.
#[derive(Debug, Default)]
pub(super) struct Ear {
    listened_at: Timestamp,
    /// When it was listened before that.
    listened_before: Timestamp,
    heard_at: Timestamp,
    round_trip: Duration,
    /// Since when something is on its way to the server, and nothing came.
    asked_from: Option<Timestamp>,
    /// Something was sent when it was listened last.
    busy: bool,
    /// When a stream has moved last, or tried to.
    works_at: Option<Timestamp>,
    /// Streams had moved in each of the last two looks that found a sign of life: something is
    /// being sent or fetched, and more is to come.
    flows: bool,
    /// Streams had moved in the last of them.
    worked: bool,
    /// The path is new, and has to show by then that it works.
    prove_by: Option<Timestamp>,
    /// The path was found silent, and nothing has been heard since.
    silent: bool,
    /// A probe has been asked for, and nothing has been heard since.
    probed: bool,
    /// An answer is late.
    late: bool,
    /// Second connections that came to nothing, and when to try the next.
    pub(super) backoff: Backoff,
    pub(super) not_before: Timestamp,
    /// Since when the server has answered only `unavailable`.
    useless_since: Option<Timestamp>,
    /// No other server is looked for before then because of that.
    elsewhere_not_before: Timestamp,
}

impl Ear {
    /// A connection has been welcomed, which was a sign of life.
    pub(super) fn connected(&mut self, now: Timestamp) {
        *self = Self {
            listened_at: now,
            listened_before: now,
            heard_at: now,
            round_trip: self.round_trip,
            elsewhere_not_before: self.elsewhere_not_before,
            ..Self::default()
        };
    }

    /// The server has done what it was asked.
    pub(super) const fn served(&mut self) {
        self.useless_since = None;
    }

    /// The server has answered.
    pub(super) const fn answered(&mut self) {
        self.late = false;
    }

    /// The connection has moved to another path, which has to show that it works.
    pub(super) fn moved(&mut self, now: Timestamp) {
        self.prove_by = Some(now + PROVE_WITHIN + ROUND_TRIPS * self.round_trip);
        self.listened_at = now;
        self.listened_before = now;
    }

    /// Nothing can come over the path, as is known without listening.
    pub(super) const fn cut_off(&mut self) {
        self.silent = true;
    }

    /// Whether the path was found silent, and nothing has been heard since.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }

    fn silence_after(&self) -> Duration {
        SILENCE_BUSY + ROUND_TRIPS * self.round_trip
    }

    fn hear(&mut self, signs: Signs, now: Timestamp) {
        self.round_trip = signs.round_trip.min(ROUND_TRIP_MAX);
        self.busy = signs.asked;
        if signs.worked {
            self.works_at = Some(now);
        }
        if signs.heard {
            self.flows = signs.worked && self.worked;
            self.worked = signs.worked;
            self.heard_at = now;
            self.asked_from = None;
            self.prove_by = None;
            self.silent = false;
            self.probed = false;
            self.backoff.reset();
        } else if signs.asked && self.asked_from.is_none() {
            // After a long interval nobody knows when it was.
            let short = now.since(self.listened_before) <= LISTEN_BUSY;
            self.asked_from = Some(if short { self.listened_before } else { now });
        }
    }

    /// Whether the silence came over something that was on its way, there or here.
    fn has_work(&self) -> bool {
        self.works_at.is_some_and(|at| at + WORK_RECENT >= self.heard_at)
    }

    /// How long to wait for the next sign before asking for one again, while something waits to get
    /// through or nothing does.
    fn probe_interval(&self, something_waits: bool, now: Timestamp) -> Duration {
        let least = (self.round_trip / PROBES_A_ROUND_TRIP).max(PROBE_INTERVAL_MIN);
        let silence = now.since(self.heard_at);
        if something_waits && silence < PROBED_OFTEN_MAX {
            return least;
        }
        (silence / PROBE_SHARE).clamp(least, PROBE_INTERVAL_MAX.max(least))
    }
}

impl Session {
    /// Whether it is live and has everything that it knows to exist.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        matches!(self.link, Link::Live { .. })
            && self.logs.reads_in_flight() == 0
            && !self.logs.wants_reads()
    }

    /// How well it is connected.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let caught_up = self.is_caught_up();
        match &self.link {
            Link::Idle => Standing::Idle,
            Link::Live { .. } if self.ear.silent && self.attempt_failed => Standing::Offline,
            Link::Live { .. } if self.ear.silent => Standing::Reconnecting { lost: false },
            Link::Live { .. } if self.ear.late => Standing::Slow { caught_up },
            Link::Live { .. } => Standing::Online { caught_up },
            Link::Stopped(reason) => Standing::Stopped(reason.clone()),
            _ if self.attempt_failed => Standing::Offline,
            _ => Standing::Reconnecting { lost: true },
        }
    }

    /// What [`Effect::Listen`] asked for.
    pub fn handle_listened(&mut self, signs: Signs, now: Timestamp) {
        if !matches!(self.link, Link::Live { .. }) {
            return;
        }
        let was_silent = self.ear.silent;
        self.ear.hear(signs, now);
        if was_silent && signs.heard {
            self.attempt_failed = false;
            // While nothing could get through nothing was owed.
            self.answered_at = now;
        }
        self.ear.late = self.is_owed()
            && now.since(self.answered_at) >= LATE_AFTER + ROUND_TRIPS * self.ear.round_trip;
        if signs.heard {
            if self.beside.as_ref().is_some_and(|beside| !beside.wanted) {
                self.hang_up_beside();
            }
            return;
        }
        self.ear.silent |= self.is_silent(now);
        if self.ear.silent && !was_silent && self.beside.is_none() && !self.has_just_moved(now) {
            // A NAT may have forgotten the old socket. And a server that had sent as much as it may
            // says nothing at all until it hears of another address (RFC 9000, section 9.4).
            self.effects.push_back(Effect::Move);
        }
        let quiet = self.quiet_from().map(|from| now.since(from));
        if self.ear.silent
            || !self.ear.probed && quiet.is_some_and(|quiet| quiet >= self.probe_after())
        {
            self.ear.probed = true;
            self.effects.push_back(Effect::Probe);
        }
        if self.ear.silent && self.beside.is_none() && self.ear.not_before <= now {
            self.dial_beside(Aside::First, false, now);
        }
    }

    /// The server has refused something. If it has done nothing else for a while it may be cut off
    /// from a part that other nodes reach.
    pub(super) fn handle_unavailable(&mut self, refusal: &Refusal, now: Timestamp) {
        if refusal.code != Code::Unavailable || !matches!(self.link, Link::Live { .. }) {
            return;
        }
        let since = *self.ear.useless_since.get_or_insert(now);
        if now.since(since) < USELESS_AFTER
            || now < self.ear.elsewhere_not_before
            || self.beside.is_some()
        {
            return;
        }
        let longest_ms = u64::try_from(LOOK_ELSEWHERE_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let spread = Duration::from_millis(self.draw() % longest_ms);
        self.ear.elsewhere_not_before = now + LOOK_ELSEWHERE_INTERVAL + spread;
        // It goes on although signs of life are heard: they are not what is missing.
        self.dial_beside(Aside::Other, true, now);
    }

    /// Listens, if it is time to.
    pub(super) fn listen(&mut self, now: Timestamp) {
        if self.listen_due() <= now {
            self.ear.listened_before = self.ear.listened_at;
            self.ear.listened_at = now;
            self.effects.push_back(Effect::Listen);
        }
    }

    /// When it is time to listen: now and then, and just when there is something to conclude.
    pub(super) fn listen_due(&self) -> Timestamp {
        let ear = &self.ear;
        let last = ear.listened_at;
        if ear.silent {
            // That a probe has no answer is no reason for the next.
            return last + ear.probe_interval(self.is_owed() || ear.has_work(), last);
        }
        let busy = ear.busy || self.quiet_from().is_some() || ear.prove_by.is_some();
        let regular = last + if busy { LISTEN_BUSY } else { LISTEN_IDLE };
        let silence = self.quiet_from().map(|from| from + ear.silence_after());
        let conclusions = [Some(ear.heard_at + SILENCE_IDLE), silence, ear.prove_by];
        let next = conclusions.into_iter().flatten().filter(|due| *due > last).min();
        next.map_or(regular, |due| due.min(regular))
    }

    /// Since when something is on its way to the server, or from there, without any sign of life;
    /// `None` if nothing need come.
    fn quiet_from(&self) -> Option<Timestamp> {
        let owed = self.is_owed().then_some(self.answered_at);
        // Whoever only fetches has nothing on its way that would be acknowledged.
        let flows = self.ear.flows.then_some(self.ear.heard_at);
        let from = [owed, flows, self.ear.asked_from].into_iter().flatten().min()?;
        Some(from.max(self.ear.heard_at))
    }

    fn probe_after(&self) -> Duration {
        PROBE_AFTER + self.ear.round_trip
    }

    fn is_silent(&self, now: Timestamp) -> bool {
        let quiet = self.quiet_from();
        now.since(self.ear.heard_at) >= SILENCE_IDLE
            || self.ear.prove_by.is_some_and(|by| by <= now)
            || quiet.is_some_and(|from| now.since(from) >= self.ear.silence_after())
    }
}
