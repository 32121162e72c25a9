//! One direction of a modelled TCP connection, without sockets and without a clock.
//!
//! A relay cannot lose the segments of a real connection, so it ends that and carries the bytes as
//! a TCP of its own would: in segments, each offered to the [`Link`](crate::network::Link) and
//! perhaps lost, and acknowledgements on the other direction, lost like everything. The sender
//! knows of a loss what a real one knows: from later segments that were acknowledged (RACK, RFC
//! 8985, with a quarter of the round trip for what is late), from a probe when the end of a flight
//! is lost (the same RFC), or from a timeout (RFC 6298), which doubles each time, also through a
//! blackout. What was lost is sent again; what came after it waits at the receiver. The window is
//! CUBIC's (see `window.rs`), so that the rate through loss is that of the TCP that people use.
//!
//! Left out: delayed acknowledgements, pacing, proportional rate reduction, ECN, and undoing what
//! was a false alarm.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::window::Window;
use crate::network::{Direction, Links, schedule::Schedule};

#[cfg(test)]
mod tests;

/// Bytes of the headers of IPv4 and TCP with timestamps (RFC 791, RFC 9293, RFC 7323).
pub(super) const HEADER_BYTES: usize = 20 + 20 + 12;
/// Bytes of data in a segment on Ethernet, headers taken off.
const SEGMENT_BYTES: usize = 1500 - HEADER_BYTES;
/// Bytes that the receiver holds for its program and for what is missing: what Linux allows unless
/// told otherwise (half of tcp_rmem's largest).
pub(super) const WINDOW_BYTES: u64 = 3 * 1024 * 1024;
/// Bytes that the sender takes from its program at least before it has sent them.
const UNSENT_BYTES: u64 = 64 * 1024;
/// The first timeout (RFC 6298, section 2).
pub(super) const TIMEOUT_INITIAL: Duration = Duration::from_secs(1);
/// What a timeout is longer than the round trip, at least (Linux, TCP_RTO_MIN).
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// The longest timeout (Linux, TCP_RTO_MAX).
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// How often a timeout is doubled at most: enough to pass the longest.
const DOUBLINGS_MAX: u32 = 10;
/// Of late, so many segments are named in an acknowledgement beside all in order (RFC 2018).
const NAMED: usize = 4;

/// One direction of a connection: a sender, a receiver, and what is between them.
#[derive(Debug)]
pub struct Flow {
    direction: Direction,
    window: Window,
    /// Bytes that the program of the sender has written, that were sent once, that are in order at
    /// the receiver, and that its program has taken.
    written: u64,
    sent: u64,
    received: u64,
    taken: u64,
    /// Segments that are not acknowledged in order; the first has this number.
    segments: VecDeque<Segment>,
    first: u64,
    /// Transmissions in their order, and how many of them the sender takes for being on the way.
    flight: VecDeque<Transmission>,
    in_flight: usize,
    lost: BTreeSet<u64>,
    transmissions: u64,
    /// The latest transmission that was acknowledged, and how long that took.
    latest: u64,
    latest_rtt: Duration,
    /// Up to here the window has shrunk for what was lost.
    shrunk_for: u64,
    is_held_by_window: bool,
    rtt: Option<RoundTrip>,
    /// Since when the sender waits, how often in vain, and whether it has sent a probe.
    waiting_since: Duration,
    doublings: u32,
    has_probed: bool,
    /// The receiver: the next segment in order, later ones, and the latest ones.
    next: u64,
    early: BTreeSet<u64>,
    named: [Option<Transmission>; NAMED],
    events: Schedule<Event>,
    sent_again: u64,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    bytes: u32,
    /// Its latest transmission.
    transmission: u64,
    is_acknowledged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Transmission {
    number: u64,
    segment: u64,
    at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smooth: Duration,
    varies: Duration,
    least: Duration,
}

#[derive(Debug)]
enum Event {
    /// At the receiver.
    Segment(Transmission),
    /// At the sender: all before this segment has come, and these.
    Acknowledged { before: u64, named: [Option<Transmission>; NAMED] },
}

impl Flow {
    /// A flow whose handshake took so long.
    #[must_use]
    pub fn new(direction: Direction, handshake: Option<Duration>) -> Self {
        let mut flow = Self {
            direction,
            window: Window::new(),
            written: 0,
            sent: 0,
            received: 0,
            taken: 0,
            segments: VecDeque::new(),
            first: 0,
            flight: VecDeque::new(),
            in_flight: 0,
            lost: BTreeSet::new(),
            transmissions: 0,
            latest: 0,
            latest_rtt: Duration::ZERO,
            shrunk_for: 0,
            is_held_by_window: false,
            rtt: None,
            waiting_since: Duration::ZERO,
            doublings: 0,
            has_probed: false,
            next: 0,
            early: BTreeSet::new(),
            named: [None; NAMED],
            events: Schedule::new(),
            sent_again: 0,
        };
        if let Some(took) = handshake {
            flow.measure(took);
        }
        flow
    }

    /// How many bytes the program of the sender may write now.
    #[must_use]
    pub fn may_write(&self) -> usize {
        let ahead = (2.0 * self.window.size()) as u64 * SEGMENT_BYTES as u64;
        let unsent = self.written - self.sent;
        usize::try_from(ahead.clamp(UNSENT_BYTES, WINDOW_BYTES).saturating_sub(unsent)).unwrap_or(0)
    }

    /// The program of the sender writes so many bytes.
    pub const fn write(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// How many bytes the program of the receiver may take now.
    #[must_use]
    pub const fn readable(&self) -> usize {
        (self.received - self.taken) as usize
    }

    /// The program of the receiver takes so many bytes.
    pub fn take(&mut self, bytes: usize) {
        assert!(bytes <= self.readable(), "it takes what has not come");
        self.taken += bytes as u64;
    }

    /// Whether everything that was written was taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.taken == self.written
    }

    /// Segments that were sent again.
    #[must_use]
    pub const fn sent_again(&self) -> u64 {
        self.sent_again
    }

    /// Does all that happens until `now`, which never runs backwards.
    pub fn advance(&mut self, now: Duration, links: &mut Links) {
        while let Some(at) = self.next_at().filter(|at| *at <= now) {
            match self.events.take(at) {
                Some(Event::Segment(transmission)) => self.receive(transmission, at, links),
                Some(Event::Acknowledged { before, named }) => self.acknowledge(before, named, at),
                None => self.time_out(at, links),
            }
            self.find_lost(at);
            self.send(at, links);
        }
        self.send(now, links);
    }

    /// When the next thing happens by itself.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        let timers = [self.events.next_at(), self.late_at(), self.timeout_at()];
        timers.into_iter().flatten().min()
    }

    fn send(&mut self, now: Duration, links: &mut Links) {
        loop {
            let has_window = (self.in_flight as f64) < self.window.size();
            let room = WINDOW_BYTES.saturating_sub(self.sent - self.taken);
            let new = (self.written - self.sent).min(room);
            if self.lost.is_empty() && new == 0 {
                self.is_held_by_window = false;
                return;
            }
            self.is_held_by_window = !has_window;
            if !has_window {
                return;
            }
            if let Some(again) = self.lost.pop_first() {
                self.sent_again += 1;
                self.transmit(again, now, links);
                continue;
            }
            let mtu = links.of(self.direction).conditions().mtu.unwrap_or(usize::MAX);
            let bytes = SEGMENT_BYTES.min(mtu.saturating_sub(HEADER_BYTES).max(1)) as u64;
            let bytes = bytes.min(new);
            self.sent += bytes;
            let bytes = bytes as u32;
            self.segments.push_back(Segment { bytes, transmission: 0, is_acknowledged: false });
            self.transmit(self.first + self.segments.len() as u64 - 1, now, links);
        }
    }

    fn transmit(&mut self, segment: u64, now: Duration, links: &mut Links) {
        if self.in_flight == 0 {
            self.waiting_since = now;
        }
        self.transmissions += 1;
        let transmission = Transmission { number: self.transmissions, segment, at: now };
        let of = &mut self.segments[(segment - self.first) as usize];
        of.transmission = transmission.number;
        let bytes = of.bytes as usize + HEADER_BYTES;
        self.flight.push_back(transmission);
        self.in_flight += 1;
        if let Some(at) = links.of(self.direction).offer(now, bytes).arrival() {
            // Without room it is lost, as in a full router.
            self.events.put(at, bytes, Event::Segment(transmission));
        }
    }

    fn receive(&mut self, transmission: Transmission, now: Duration, links: &mut Links) {
        if transmission.segment >= self.next {
            self.early.insert(transmission.segment);
        }
        while self.early.remove(&self.next) {
            // What is not acknowledged is still known to the sender.
            self.received += u64::from(self.segments[(self.next - self.first) as usize].bytes);
            self.next += 1;
        }
        self.named.rotate_right(1);
        self.named[0] = Some(transmission);
        let event = Event::Acknowledged { before: self.next, named: self.named };
        let back = links.of(self.direction.reverse());
        if let Some(at) = back.offer(now, HEADER_BYTES).arrival() {
            self.events.put(at, HEADER_BYTES, event);
        }
    }

    fn acknowledge(&mut self, before: u64, named: [Option<Transmission>; NAMED], now: Duration) {
        for transmission in named.into_iter().flatten() {
            if transmission.number > self.latest {
                self.latest = transmission.number;
                self.latest_rtt = now - transmission.at;
                self.measure(self.latest_rtt);
                let least = self.rtt.map_or(self.latest_rtt, |rtt| rtt.least);
                self.window.sample(now, self.latest_rtt, least);
            }
            self.mark(transmission.segment, now);
        }
        while self.first < before {
            self.mark(self.first, now);
            self.segments.pop_front();
            self.first += 1;
        }
    }

    /// A segment has come.
    fn mark(&mut self, number: u64, now: Duration) {
        let Some(index) = number.checked_sub(self.first) else { return };
        let Some(segment) = self.segments.get_mut(index as usize) else { return };
        if segment.is_acknowledged {
            return;
        }
        segment.is_acknowledged = true;
        if !self.lost.remove(&number) {
            self.in_flight -= 1;
        }
        self.waiting_since = now;
        self.doublings = 0;
        self.has_probed = false;
        let rtt = self.rtt.map_or(self.latest_rtt, |rtt| rtt.smooth);
        if self.is_held_by_window && self.latest >= self.shrunk_for {
            self.window.grow(now, rtt);
        }
    }

    fn measure(&mut self, took: Duration) {
        // RFC 6298, section 2.
        self.rtt = Some(match self.rtt {
            None => RoundTrip { smooth: took, varies: took / 2, least: took },
            Some(RoundTrip { smooth, varies, least }) => RoundTrip {
                smooth: smooth * 7 / 8 + took / 8,
                varies: varies * 3 / 4 + smooth.abs_diff(took) / 4,
                least: least.min(took),
            },
        });
    }

    /// The oldest transmission of which nothing is known.
    fn oldest(&self) -> Option<Transmission> {
        self.flight.iter().find(|one| self.is_in_flight(one)).copied()
    }

    fn is_in_flight(&self, one: &Transmission) -> bool {
        let Some(index) = one.segment.checked_sub(self.first) else { return false };
        let segment = self.segments.get(index as usize);
        segment
            .is_some_and(|segment| segment.transmission == one.number && !segment.is_acknowledged)
    }

    /// When the oldest transmission will be lost, because a later one was acknowledged.
    fn late_at(&self) -> Option<Duration> {
        let oldest = self.oldest().filter(|oldest| oldest.number < self.latest)?;
        let late = self.rtt.map_or(Duration::ZERO, |rtt| rtt.least / 4);
        Some(oldest.at + self.latest_rtt + late)
    }

    fn find_lost(&mut self, now: Duration) {
        while let Some(oldest) = self.flight.front().copied() {
            if self.is_in_flight(&oldest) {
                if self.late_at().is_none_or(|at| at > now) {
                    return;
                }
                if oldest.number > self.shrunk_for {
                    self.window.shrink();
                    self.shrunk_for = self.transmissions;
                }
                self.lost.insert(oldest.segment);
                self.in_flight -= 1;
            }
            self.flight.pop_front();
        }
    }

    fn timeout_at(&self) -> Option<Duration> {
        if self.in_flight == 0 {
            return None;
        }
        let timeout = self.rtt.map_or(TIMEOUT_INITIAL, |RoundTrip { smooth, varies, .. }| {
            smooth + (varies * 4).max(TIMEOUT_MIN)
        });
        let timeout = (timeout * 2_u32.pow(self.doublings)).min(TIMEOUT_MAX);
        let probe = self.rtt.filter(|_| !self.has_probed).map(|rtt| rtt.smooth * 2);
        Some(self.waiting_since + probe.map_or(timeout, |probe| probe.min(timeout)))
    }

    /// Nothing was heard for so long that a probe is due, or that all must be lost.
    fn time_out(&mut self, now: Duration, links: &mut Links) {
        if self.timeout_at().is_none_or(|at| at > now) {
            return;
        }
        self.waiting_since = now;
        if self.rtt.is_some() && !self.has_probed {
            self.has_probed = true;
            let last = self.flight.iter().rev().find(|one| self.is_in_flight(one)).copied();
            if let Some(last) = last {
                // It takes the place of the one before it, whatever the window says.
                self.in_flight -= 1;
                self.sent_again += 1;
                self.transmit(last.segment, now, links);
            }
            return;
        }
        if self.doublings == 0 {
            self.window.collapse();
        }
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        self.shrunk_for = self.transmissions;
        for one in std::mem::take(&mut self.flight) {
            if self.is_in_flight(&one) {
                self.lost.insert(one.segment);
            }
        }
        self.in_flight = 0;
    }
}
