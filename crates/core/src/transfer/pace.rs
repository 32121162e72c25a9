//! How far ahead of the server an upload runs, and in pieces of what size it is handed over.
//!
//! What is handed to the transport and not received yet is what an interruption makes the client send
//! again, and what a pause or a slower path finds in its way. So it should be no more than the path
//! needs: its bandwidth times its delay, and some to go on with while lost packets are repeated. Both
//! are measured in rounds, as by BBR (draft-ietf-ccwg-bbr, section 5.5): a round ends when the server
//! has received what had been handed over when it began.

use std::{collections::VecDeque, time::Duration};

use crate::{limit::UPLOAD_AHEAD_BYTES_MAX, time::Timestamp};

/// Bytes ahead before anything is known of the path: more than QUIC sends in its first round trip.
const AHEAD_BYTES_FIRST: u64 = 64 * 1024;
/// Bytes ahead on the slowest path: over a second of 100 kbit/s.
const AHEAD_BYTES_MIN: u64 = 16 * 1024;
/// Bytes that one interruption should cost at most, as long as the path can be filled all the same.
pub const AGAIN_BYTES_WANTED: u64 = 256 * 1024;
/// Bytes of the largest piece.
pub const PIECE_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of the smallest piece, and what its size is a multiple of.
const PIECE_BYTES_STEP: u64 = 4096;
/// Pieces in what is ahead: so finely it is filled again.
const PIECES_AHEAD: u64 = 4;
/// Half round trips that the path is filled for where nothing is lost: the way of the bytes, the way
/// of the news of them, and one for what holds up either.
const HALF_TRIPS: u32 = 3;
/// And where packets are lost: one is repeated a round trip later, while all after it waits.
const HALF_TRIPS_LOSSY: u32 = 6;
/// How long a server may take to have bytes on its disk.
const SERVER_TIME: Duration = Duration::from_millis(20);
/// Rounds that are remembered: a stall shorter than this does not count as a slow path.
const ROUNDS: usize = 8;

/// What is known of the path of one upload.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    rounds: VecDeque<Passed>,
    round: Option<Round>,
}

/// What the transport knows of the path.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// How long a packet and its acknowledgement take together, as estimated now.
    pub round_trip: Duration,
    /// Packets that were lost so far.
    pub lost: u64,
}

/// A round that has ended.
#[derive(Debug, Clone, Copy)]
struct Passed {
    bytes_per_second: u64,
    /// The path at its end.
    path: Path,
}

/// A round that has not ended.
#[derive(Debug, Clone, Copy)]
struct Round {
    began: Timestamp,
    /// What the server had received then.
    received: u64,
    /// The round ends when the server has received this.
    until: u64,
}

impl Pace {
    /// A new stream: what was under way is not.
    pub const fn reopened(&mut self) {
        self.round = None;
    }

    /// Everything before `sent` is with the transport, of which the server has `received`.
    pub fn handle_sent(&mut self, sent: u64, received: u64, now: Timestamp) {
        self.round.get_or_insert(Round { began: now, received, until: sent });
    }

    /// The server has `received`; all before `sent` is with the transport, which knows this `path`.
    pub fn handle_received(&mut self, received: u64, sent: u64, path: Path, now: Timestamp) {
        // Not before a round trip is over: where reports were held up and come all at once, the time
        // between two of them says nothing about the path.
        let is_over =
            |round: &Round| received >= round.until && now.since(round.began) >= path.round_trip;
        let Some(round) = self.round.filter(is_over) else { return };
        let took_ms = u64::try_from(now.since(round.began).as_millis()).unwrap_or(u64::MAX);
        let bytes = received.saturating_sub(round.received);
        let bytes_per_second = bytes.saturating_mul(1000) / took_ms.max(1);
        if self.rounds.len() == ROUNDS {
            self.rounds.pop_front();
        }
        self.rounds.push_back(Passed { bytes_per_second, path });
        // Where nothing is under way, the next round begins with the next piece.
        let more = sent > received;
        self.round = more.then_some(Round { began: now, received, until: sent });
    }

    /// Bytes that may be with the transport beyond what the server has received.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        let fastest = self.rounds.iter().map(|passed| passed.bytes_per_second).max();
        let shortest = self.rounds.iter().map(|passed| passed.path.round_trip).min();
        let (Some(rate), Some(trip)) = (fastest, shortest) else { return AHEAD_BYTES_FIRST };
        let within = |time: Duration| {
            let bytes = u128::from(rate).saturating_mul(time.as_micros()) / 1_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        let half_trip = trip / 2;
        let lossy = within(half_trip * HALF_TRIPS_LOSSY + SERVER_TIME);
        // What arrived while the news of it was on its way needs not be sent again.
        let cheap = AGAIN_BYTES_WANTED + within(half_trip);
        let enough = if self.is_lossy() {
            lossy
        } else if within(trip + SERVER_TIME) <= cheap {
            lossy.min(cheap)
        } else {
            within(half_trip * HALF_TRIPS + SERVER_TIME)
        };
        enough.clamp(AHEAD_BYTES_MIN, UPLOAD_AHEAD_BYTES_MAX)
    }

    /// Whether packets were lost in the rounds that are remembered.
    fn is_lossy(&self) -> bool {
        let lost = |passed: Option<&Passed>| passed.map(|passed| passed.path.lost);
        lost(self.rounds.front()) != lost(self.rounds.back())
    }

    /// Bytes to hand over at a time.
    #[must_use]
    pub fn piece(&self) -> u64 {
        let steps = self.ahead() / PIECES_AHEAD / PIECE_BYTES_STEP;
        (steps * PIECE_BYTES_STEP).clamp(PIECE_BYTES_STEP, PIECE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    const fn path(trip_ms: u64, lost: u64) -> Path {
        Path { round_trip: Duration::from_millis(trip_ms), lost }
    }

    /// What an upload over a path of this rate and delay comes to after so many rounds. The path
    /// takes what is ahead of it at once, and passes it on at its rate.
    fn after(rounds: usize, bytes_per_second: u64, trip_ms: u64, loses: bool) -> Pace {
        let mut pace = Pace::default();
        let (mut now, mut received) = (0, 0);
        for round in 0..rounds {
            let sent = received + pace.ahead();
            pace.handle_sent(sent, received, Timestamp(now));
            now += trip_ms.max((sent - received) * 1000 / bytes_per_second);
            received = sent;
            let lost = if loses { round as u64 } else { 7 };
            pace.handle_received(received, sent, path(trip_ms, lost), Timestamp(now));
        }
        pace
    }

    #[test]
    fn fits_the_path() {
        for (kilobits, trip_ms, kib, lossy_kib) in [
            // The slowest path gets the least.
            (100, 200, 16, 16),
            (1_000, 100, 39, 39),
            (10_000, 40, 171, 171),
            // What arrives and is not known to have arrived, and what an interruption may cost.
            (10_000, 90, 311, 354),
            (20_000, 40, 305, 341),
            (50_000, 40, 378, 854),
            // Where that would not fill the path, what fills it.
            (50_000, 80, 854, 1_587),
            (1_000_000, 20, 2_048, 2_048),
        ] {
            for (loses, kib) in [(false, kib), (true, lossy_kib)] {
                let ahead = after(30, kilobits * 1000 / 8, trip_ms, loses).ahead() / KIB;
                let close = ahead.abs_diff(kib) <= 2 + kib / 20;
                assert!(close, "{kilobits} kbit/s, {trip_ms} ms, {loses}: {ahead} and not {kib}");
            }
        }
    }

    #[test]
    fn an_interruption_costs_little_where_nothing_is_lost() {
        for (kilobits, trip_ms) in [(100, 200), (10_000, 90), (50_000, 40)] {
            let bytes_per_second = kilobits * 1000 / 8;
            let pace = after(30, bytes_per_second, trip_ms, false);
            let arrived = bytes_per_second * trip_ms / 2 / 1000;
            let again = pace.ahead().saturating_sub(arrived);
            // Rounds of whole milliseconds are not exact.
            let limit = AGAIN_BYTES_WANTED * 51 / 50;
            assert!(again <= limit, "{kilobits} kbit/s, {trip_ms} ms: {again}");
            // Enough for the way there, the way back, and a disk in between.
            let filled = bytes_per_second * (trip_ms + 20) / 1000;
            assert!(pace.ahead() * 21 / 20 >= filled, "{kilobits} kbit/s, {trip_ms} ms");
        }
    }

    #[test]
    fn pieces_are_a_quarter_of_it() {
        for (kilobits, trip_ms, piece) in
            [(100, 200, 4), (1_000, 100, 8), (10_000, 40, 40), (1_000_000, 20, 256)]
        {
            let pace = after(30, kilobits * 1000 / 8, trip_ms, false);
            assert_eq!(pace.piece() / KIB, piece, "{kilobits} kbit/s, {trip_ms} ms");
        }
    }

    #[test]
    fn finds_a_fast_path_within_a_few_rounds() {
        assert_eq!(Pace::default().ahead(), 64 * KIB);
        let slow_start: Vec<_> =
            (0..7).map(|n| after(n, 6_250_000, 80, false).ahead() / KIB).collect();
        assert_eq!(slow_start, [64, 208, 360, 630, 856, 856, 856]);
    }

    #[test]
    fn a_stall_is_forgotten_and_a_slower_path_learnt() {
        let mut pace = after(30, 1_250_000, 40, false);
        let before = pace.ahead();
        let trip = path(40, 7);
        let mut now = Timestamp(1_000_000);
        pace.handle_sent(before, 0, now);
        now = now + Duration::from_secs(3);
        pace.handle_received(before, before, trip, now);
        assert_eq!(pace.ahead(), before, "one round of eight");
        for _ in 0..ROUNDS {
            pace.handle_sent(100_000, 0, now);
            now = now + Duration::from_secs(1);
            pace.handle_received(100_000, 100_000, trip, now);
        }
        assert_eq!(pace.ahead(), AHEAD_BYTES_MIN);
    }

    #[test]
    fn a_round_lasts_until_what_was_under_way_has_come() {
        let (mut pace, trip) = (Pace::default(), path(50, 0));
        pace.handle_sent(50_000, 0, Timestamp(0));
        pace.handle_sent(64_000, 0, Timestamp(10));
        pace.handle_received(30_000, 64_000, trip, Timestamp(60));
        assert_eq!(pace.ahead(), AHEAD_BYTES_FIRST, "not all of the first piece");
        pace.handle_received(60_000, 64_000, path(101, 0), Timestamp(100));
        assert_eq!(pace.ahead(), AHEAD_BYTES_FIRST, "sooner than the path can be");
        pace.handle_received(60_000, 64_000, trip, Timestamp(100));
        // 600,000 bytes a second, for three round trips and the server.
        assert_eq!(pace.ahead(), 102_000);
        pace.reopened();
        pace.handle_received(64_000, 64_000, trip, Timestamp(9_000));
        assert_eq!(pace.ahead(), 102_000, "another stream's news end no round");
    }
}
