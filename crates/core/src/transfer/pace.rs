//! How far ahead of the server an upload runs, and in pieces of what size it is handed over.
//!
//! What is handed to the transport and not received yet is what an interruption makes the client send
//! again, and what a pause or a slower path finds in its way. So it should be no more than the path
//! needs: its bandwidth times its delay, and some to go on with while lost packets are repeated. Both
//! are measured in rounds, as by BBR (draft-ietf-ccwg-bbr, section 5.5): a round ends when the server
//! has received what had been handed over when it began.

use std::{collections::VecDeque, time::Duration};

use super::path::{self, Path, Shortest};
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
/// And where packets are lost: one is repeated a round trip later, and perhaps lost again, while all
/// after it waits. This many times at least, which is enough for some per cent.
const REPAIRS_MIN: u32 = 2;
/// And at most. A path that loses more than half is filled by nothing.
const REPAIRS_MAX: u32 = 10;
/// By how much more is ahead where one is often repeated more often than that. There the path is as fast
/// as what is ahead lets it be, and what it was the round before says little (as BBR's window is
/// twice what it has found).
const REPAIRS_GAIN: u32 = 2;
/// Bytes of a packet, by which losses are compared with what has come (RFC 9000, section 14).
const PACKET_BYTES: u64 = 1200;
/// How long a server may take to have bytes on its disk.
const SERVER_TIME: Duration = Duration::from_millis(20);
/// Rounds that are remembered: a stall shorter than this does not count as a slow path.
const ROUNDS: usize = 8;

/// What is known of the path of one upload.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    rounds: VecDeque<Passed>,
    round: Option<Round>,
    shortest: Shortest,
}

/// A round that has ended.
#[derive(Debug, Clone, Copy)]
struct Passed {
    bytes_per_second: u64,
    /// Which share of the packets was lost meanwhile.
    lost: f64,
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
    /// A new stream, perhaps over another connection: what was under way is not.
    pub fn reopened(&mut self) {
        self.round = None;
        self.shortest = Shortest::default();
    }

    /// Everything before `sent` is with the transport, of which the server has `received`.
    pub fn handle_sent(&mut self, sent: u64, received: u64, now: Timestamp) {
        self.round.get_or_insert(Round { began: now, received, until: sent });
    }

    /// The server has `received`; all before `sent` is with the transport, which knows this `path`.
    pub fn handle_received(&mut self, received: u64, sent: u64, path: Path, now: Timestamp) {
        let path = self.shortest.without_own_queue(path);
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
        let lost = self.lost_since_last(path.lost, bytes);
        self.rounds.push_back(Passed { bytes_per_second, lost, path });
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
        let within = |time| path::within(rate, time);
        let half_trip = trip / 2;
        let lossy = within(trip * (1 + REPAIRS_MIN) + SERVER_TIME);
        // What arrived while the news of it was on its way needs not be sent again.
        let cheap = AGAIN_BYTES_WANTED + within(half_trip);
        let times = repairs(self.lost_share());
        let enough = if times > REPAIRS_MIN {
            within(trip * (1 + times) * REPAIRS_GAIN)
        } else if self.is_lossy() {
            lossy
        } else if within(trip + SERVER_TIME) <= cheap {
            lossy.min(cheap)
        } else {
            within(half_trip * HALF_TRIPS + SERVER_TIME)
        };
        enough.clamp(AHEAD_BYTES_MIN, UPLOAD_AHEAD_BYTES_MAX)
    }

    /// Which share was lost since the last round ended, while so many bytes came.
    fn lost_since_last(&self, lost: Option<u64>, bytes: u64) -> f64 {
        let before = self.rounds.back().and_then(|passed| passed.path.lost);
        let (Some(lost), Some(before)) = (lost, before) else { return 0.0 };
        let lost = lost.saturating_sub(before);
        lost as f64 / (lost + bytes / PACKET_BYTES).max(1) as f64
    }

    /// Which share of the packets this path loses: in half of the rounds that are remembered no more. A
    /// change of path loses much of one round.
    fn lost_share(&self) -> f64 {
        let mut shares: Vec<_> = self.rounds.iter().map(|passed| passed.lost).collect();
        shares.sort_by(f64::total_cmp);
        shares.get(shares.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
    }

    /// Whether packets were lost in the rounds that are remembered.
    fn is_lossy(&self) -> bool {
        self.rounds.iter().any(|passed| passed.lost > 0.0)
    }

    /// Bytes to hand over at a time.
    #[must_use]
    pub fn piece(&self) -> u64 {
        let steps = self.ahead() / PIECES_AHEAD / PIECE_BYTES_STEP;
        (steps * PIECE_BYTES_STEP).clamp(PIECE_BYTES_STEP, PIECE_BYTES_MAX)
    }
}

/// How often one of as many packets as may be ahead is sent again before all have come, if this share
/// is lost each time.
fn repairs(lost: f64) -> u32 {
    let mut missing = (UPLOAD_AHEAD_BYTES_MAX / PACKET_BYTES) as f64;
    let mut times = 0;
    while missing >= 1.0 && times < REPAIRS_MAX {
        missing *= lost;
        times += 1;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    const fn path(trip_ms: u64, lost: u64) -> Path {
        Path { round_trip: Duration::from_millis(trip_ms), lost: Some(lost) }
    }

    /// What an upload over a path of this rate and delay comes to after so many rounds. The path
    /// takes what is ahead of it at once, and passes it on at its rate; or it loses one packet of a hundred.
    fn after(rounds: usize, bytes_per_second: u64, trip_ms: u64, loses: bool) -> Pace {
        let mut pace = Pace::default();
        let (mut now, mut received) = (0, 0);
        for _ in 0..rounds {
            let sent = received + pace.ahead();
            pace.handle_sent(sent, received, Timestamp(now));
            now += trip_ms.max((sent - received) * 1000 / bytes_per_second);
            received = sent;
            let lost = if loses { received / PACKET_BYTES / 100 } else { 7 };
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
    fn the_more_is_lost_the_longer_repairs_take() {
        assert_eq!([0.0, 0.001, 0.02, 0.1, 0.3, 0.9].map(repairs), [1, 2, 2, 4, 7, 10]);
        // 6.25 MB/s and 40 ms, of which some share does not arrive.
        for (lost_percent, trips) in [(1, 3), (10, 4), (30, 7)] {
            let bytes_per_second = 6_250_000 * (100 - lost_percent) / 100;
            let mut pace = Pace::default();
            let (mut now, mut received, mut lost) = (0, 0, 0);
            for _ in 0..30 {
                let sent = received + pace.ahead();
                pace.handle_sent(sent, received, Timestamp(now));
                let packets = (sent - received) / PACKET_BYTES;
                lost += packets * lost_percent / (100 - lost_percent);
                // Until the last has come everything waits for it.
                let mut missing = packets;
                let times = std::iter::from_fn(|| {
                    missing = missing * lost_percent / 100;
                    (missing > 0).then_some(())
                });
                now += (40 * (2 + times.count() as u64))
                    .max((sent - received) * 1000 / bytes_per_second);
                received = sent;
                pace.handle_received(received, sent, path(40, lost), Timestamp(now));
            }
            let filled = bytes_per_second * 40 * trips / 1000;
            assert!(pace.ahead() >= filled, "{lost_percent} %: {} of {filled}", pace.ahead());
        }
    }

    #[test]
    fn what_one_change_of_path_has_lost_is_no_lossy_path() {
        let mut pace = after(30, 6_250_000, 40, false);
        let before = pace.ahead();
        let mut now = Timestamp(1_000_000);
        for lost in [7, 307, 307, 307] {
            pace.handle_sent(before, 0, now);
            now = now + Duration::from_millis(60);
            pace.handle_received(before, before, path(40, lost), now);
        }
        assert!(pace.is_lossy() && pace.lost_share() == 0.0);
        assert!(pace.ahead() < 3 * before, "{} and before {before}", pace.ahead());
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
    fn what_waits_in_the_queue_of_tcp_is_no_longer_path() {
        let (bytes_per_second, trip_ms) = (6_250_000, 40);
        let mut pace = Pace::default();
        let (mut now, mut received) = (0, 0);
        for _ in 0..100 {
            let sent = received + pace.ahead();
            pace.handle_sent(sent, received, Timestamp(now));
            // Each ping but the first waits behind all that was handed over.
            let waits_ms = (sent - received) * 1000 / bytes_per_second;
            let behind_ms = if now == 0 { 0 } else { waits_ms };
            now += trip_ms.max(waits_ms);
            received = sent;
            let round_trip = Duration::from_millis(trip_ms + behind_ms);
            pace.handle_received(received, sent, Path { round_trip, lost: None }, Timestamp(now));
        }
        // The path takes 6.25 MB/s times 40 ms.
        assert!((256 * KIB..450 * KIB).contains(&pace.ahead()), "{}", pace.ahead());
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
