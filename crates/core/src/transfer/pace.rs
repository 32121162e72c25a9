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
/// Bytes that one interruption should cost at most, as long as the path can be filled with them.
pub const AGAIN_BYTES_WANTED: u64 = 256 * 1024;
/// Bytes of the largest piece.
pub const PIECE_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of the smallest piece, and what its size is a multiple of.
const PIECE_BYTES_STEP: u64 = 4096;
/// Pieces in what is ahead: so finely it is filled again.
const PIECES_AHEAD: u64 = 4;
/// Round trips that the path is filled for where nothing is lost: the bytes, and the news of them.
const TRIPS_NEEDED: u32 = 2;
/// And where packets are lost: one is repeated a round trip later, while all after it waits.
const TRIPS_WANTED: u32 = 3;
/// How long a server may take to have bytes on its disk.
const SERVER_TIME: Duration = Duration::from_millis(20);
/// Rounds that are remembered: a stall shorter than this does not count as a slow path.
const ROUNDS: usize = 8;

/// What is known of the path of one upload.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// The last rounds: bytes a second, and the round trip of the transport at their end.
    rounds: VecDeque<(u64, Duration)>,
    round: Option<Round>,
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

    /// The server has `received`; all before `sent` is with the transport, whose round trip is
    /// `round_trip`.
    pub fn handle_received(
        &mut self,
        received: u64,
        sent: u64,
        round_trip: Duration,
        now: Timestamp,
    ) {
        // Not before a round trip is over: where reports were held up and come all at once, the time
        // between two of them says nothing about the path.
        let is_over =
            |round: &Round| received >= round.until && now.since(round.began) >= round_trip;
        let Some(round) = self.round.filter(is_over) else { return };
        let took_ms = u64::try_from(now.since(round.began).as_millis()).unwrap_or(u64::MAX);
        let bytes = received.saturating_sub(round.received);
        let rate = bytes.saturating_mul(1000) / took_ms.max(1);
        if self.rounds.len() == ROUNDS {
            self.rounds.pop_front();
        }
        self.rounds.push_back((rate, round_trip));
        // Where nothing is under way, the next round begins with the next piece.
        let more = sent > received;
        self.round = more.then_some(Round { began: now, received, until: sent });
    }

    /// Bytes that may be with the transport beyond what the server has received.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        let fastest = self.rounds.iter().map(|(rate, _)| *rate).max();
        let shortest = self.rounds.iter().map(|(_, trip)| *trip).min();
        let (Some(rate), Some(trip)) = (fastest, shortest) else { return AHEAD_BYTES_FIRST };
        let filled = |trips: u32| {
            let time_us = (trip * trips + SERVER_TIME).as_micros();
            let bytes = u128::from(rate).saturating_mul(time_us) / 1_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        let (needed, wanted) = (filled(TRIPS_NEEDED), filled(TRIPS_WANTED));
        let enough =
            if needed <= AGAIN_BYTES_WANTED { wanted.min(AGAIN_BYTES_WANTED) } else { wanted };
        enough.clamp(AHEAD_BYTES_MIN, UPLOAD_AHEAD_BYTES_MAX)
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

    /// What an upload over a path of this rate and delay comes to after so many rounds. The path
    /// takes what is ahead of it at once, and passes it on at its rate.
    fn after(rounds: usize, bytes_per_second: u64, trip_ms: u64) -> Pace {
        let mut pace = Pace::default();
        let (mut now, mut received) = (0, 0);
        for _ in 0..rounds {
            let sent = received + pace.ahead();
            pace.handle_sent(sent, received, Timestamp(now));
            now += trip_ms.max((sent - received) * 1000 / bytes_per_second);
            received = sent;
            let trip = Duration::from_millis(trip_ms);
            pace.handle_received(received, sent, trip, Timestamp(now));
        }
        pace
    }

    #[test]
    fn fits_the_path() {
        for (kilobits, trip_ms, least, most, piece) in [
            // The slowest path gets the least, and a piece of a third of a second.
            (100, 200, 16 * KIB, 16 * KIB, 4 * KIB),
            (1_000, 100, 36 * KIB, 44 * KIB, 8 * KIB),
            (10_000, 40, 150 * KIB, 180 * KIB, 40 * KIB),
            // Up to two round trips of it, no more than one interruption should cost.
            (10_000, 90, 256 * KIB, 256 * KIB, 64 * KIB),
            (20_000, 40, 256 * KIB, 256 * KIB, 64 * KIB),
            // Where that would not fill the path, what fills it, also with losses.
            (50_000, 80, 1_300 * KIB, 1_700 * KIB, 256 * KIB),
            (1_000_000, 20, 2_048 * KIB, 2_048 * KIB, 256 * KIB),
        ] {
            let pace = after(30, kilobits * 1000 / 8, trip_ms);
            let ahead = pace.ahead();
            assert!((least..=most).contains(&ahead), "{kilobits} kbit/s, {trip_ms} ms: {ahead}");
            assert!(pace.piece().abs_diff(piece) <= piece / 4, "{kilobits}: {}", pace.piece());
        }
    }

    #[test]
    fn finds_a_fast_path_within_a_few_rounds() {
        assert_eq!(Pace::default().ahead(), 64 * KIB);
        let slow_start: Vec<_> = (0..5).map(|n| after(n, 6_250_000, 80).ahead() / KIB).collect();
        assert_eq!(slow_start, [64, 208, 676, 1597, 1597]);
    }

    #[test]
    fn a_stall_is_forgotten_and_a_slower_path_learnt() {
        let mut pace = after(30, 1_250_000, 40);
        let before = pace.ahead();
        let trip = Duration::from_millis(40);
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
        let (mut pace, trip) = (Pace::default(), Duration::from_millis(50));
        pace.handle_sent(50_000, 0, Timestamp(0));
        pace.handle_sent(64_000, 0, Timestamp(10));
        pace.handle_received(30_000, 64_000, trip, Timestamp(60));
        assert_eq!(pace.ahead(), AHEAD_BYTES_FIRST, "not all of the first piece");
        pace.handle_received(60_000, 64_000, Duration::from_millis(101), Timestamp(100));
        assert_eq!(pace.ahead(), AHEAD_BYTES_FIRST, "sooner than the path can be");
        pace.handle_received(60_000, 64_000, trip, Timestamp(100));
        // 600,000 bytes a second, for three round trips and the server.
        assert_eq!(pace.ahead(), 102_000);
        pace.reopened();
        pace.handle_received(64_000, 64_000, trip, Timestamp(9_000));
        assert_eq!(pace.ahead(), 102_000, "another stream's news end no round");
    }
}
