//! Which ranges of a file a download asks for, and when.
//!
//! They are taken in order, so what is here is always the beginning of the file, and each is asked for
//! before the one before it ends. What a stream may hold unread bounds what comes over it in a round
//! trip. Where the path holds about as much or more, short ranges are asked for, many side by side: each
//! comes whole without its reader having to grant more. The same at the beginning, while more comes with
//! each round trip: so what the path holds is found as soon as with a stream that has no such bound.

use std::{collections::VecDeque, ops::Range, time::Duration};

use super::path::{self, Path, Shortest};
use crate::time::Timestamp;

/// Bytes of a range on most paths: so much that asking costs nothing beside it.
const RANGE_BYTES: u64 = 16 * 1024 * 1024;
/// How many times what arrives until an answer comes is asked for ahead. Twice, so that with as many
/// streams as fill half of the path it becomes more of them.
const ANSWERS_AHEAD: u32 = 2;
/// A round lasts so long at least: on a short path, what arrives within a round trip varies much.
const ROUND_MIN: Duration = Duration::from_millis(50);
/// Rounds that are remembered, of which the fastest counts.
const ROUNDS: usize = 4;

/// What of a file was asked for, and what is known of the path.
#[derive(Debug, Clone)]
pub struct Ranges {
    /// Everything before it has been taken.
    taken: u64,
    /// Everything before it has been asked for.
    asked: u64,
    size: u64,
    /// Bytes that a stream may hold unread.
    credit: u64,
    /// How long the latest answer took.
    answer: Duration,
    round_trip: Duration,
    shortest: Shortest,
    /// When the round began, and what had been taken then.
    round: Option<(Timestamp, u64)>,
    /// Bytes a second in the latest rounds.
    rates: VecDeque<u64>,
}

impl Ranges {
    /// Of a file of `size` bytes that is here up to `offset`, over streams that may hold `credit` bytes
    /// unread each.
    #[must_use]
    pub fn new(offset: u64, size: u64, credit: u64) -> Self {
        Self {
            taken: offset,
            asked: offset,
            size,
            credit,
            answer: Duration::ZERO,
            round_trip: Duration::ZERO,
            shortest: Shortest::default(),
            round: None,
            rates: VecDeque::with_capacity(ROUNDS),
        }
    }

    /// What to ask for now, if it is time. It stays due until [`handle_asked`](Self::handle_asked).
    #[must_use]
    pub fn due(&self) -> Option<Range<u64>> {
        let ahead = self.asked.saturating_sub(self.taken);
        let is_due = self.asked < self.size && ahead <= self.within(ANSWERS_AHEAD * self.answer);
        let bytes = match self.is_growing() {
            // Nothing is known: no more than needs no credit granted on the way.
            None => self.credit,
            Some(true) => self.short(),
            Some(false) if self.is_long() => self.short(),
            Some(false) => RANGE_BYTES,
        };
        is_due.then(|| self.asked..self.size.min(self.asked + bytes))
    }

    /// What was due has been asked for.
    pub fn handle_asked(&mut self, range: &Range<u64>) {
        self.asked = range.end;
    }

    /// The answer to an asking came after so long, and its bytes come now.
    pub const fn handle_answered(&mut self, took: Duration) {
        self.answer = took;
    }

    /// Everything before `taken` has been taken from the streams.
    pub fn handle_taken(&mut self, taken: u64, path: Path, now: Timestamp) {
        self.taken = taken;
        self.round_trip = self.shortest.without_own_queue(path).round_trip;
        let (began, before) = *self.round.get_or_insert((now, taken));
        let lasted = now.since(began);
        if lasted < self.round_trip.max(self.answer).max(ROUND_MIN) {
            return;
        }
        let lasted_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
        if self.rates.len() == ROUNDS {
            self.rates.pop_front();
        }
        self.rates.push_back(taken.saturating_sub(before).saturating_mul(1000) / lasted_ms);
        self.round = Some((now, taken));
    }

    /// Whether what a stream may hold unread is about what the path holds, or less.
    fn is_long(&self) -> bool {
        self.within(self.round_trip) >= self.short()
    }

    /// Whether more and more comes, as at the beginning: nobody knows yet what the path holds. `None`
    /// before there is anything to compare.
    fn is_growing(&self) -> Option<bool> {
        let mut latest = self.rates.iter().rev();
        let (now, before) = (latest.next()?, latest.next()?);
        Some(*now >= before.saturating_add(before / 2))
    }

    /// Bytes of a range on a long path. Half of what a stream may hold, because the next one takes its
    /// place when it has come as a whole: the shorter it is, the sooner.
    const fn short(&self) -> u64 {
        self.credit / 2
    }

    /// Bytes that arrive in so long.
    fn within(&self, time: Duration) -> u64 {
        path::within(self.rates.iter().max().copied().unwrap_or(0), time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const CREDIT: u64 = 3 * MIB;
    /// Bytes that all ranges may come to unread.
    const UNREAD_MAX: u64 = 3 * CREDIT;

    /// A range that was asked for.
    struct Open {
        range: Range<u64>,
        /// When it was asked for.
        at: u64,
        /// What was sent and what was taken.
        sent: u64,
        taken: u64,
        /// Up to where the server may send, and what more it may from when on.
        until: u64,
        granted: VecDeque<(u64, u64)>,
        /// What arrives when.
        coming: VecDeque<(u64, u64)>,
    }

    impl Open {
        /// Asked for at `at`; the server hears of it at `heard`.
        fn new(range: Range<u64>, at: u64, heard: u64) -> Self {
            let (sent, coming) = (range.start, VecDeque::new());
            let granted = [(heard, sent + CREDIT)].into();
            Self { range, at, sent, taken: sent, until: sent, granted, coming }
        }

        fn hear_of_grants(&mut self, now: u64) {
            while self.granted.front().is_some_and(|(from, _)| *from <= now) {
                let (_, until) = self.granted.pop_front().expect("looked at");
                self.until = until.min(self.range.end);
            }
        }

        /// Bytes that have arrived and were not taken.
        fn arrived(&mut self, now: u64) -> u64 {
            let mut came = 0;
            while self.coming.front().is_some_and(|(at, _)| *at <= now) {
                came += self.coming.pop_front().map_or(0, |(_, bytes)| bytes);
            }
            came
        }
    }

    /// The streams share a path that takes so many bytes now; what they send arrives at `arrives`.
    fn share(open: &mut VecDeque<Open>, mut left: u64, arrives: u64) {
        while left > 0 {
            let before = left;
            for stream in &mut *open {
                let bytes = (stream.until - stream.sent).min(1200).min(left);
                if bytes > 0 {
                    stream.sent += bytes;
                    left -= bytes;
                    stream.coming.push_back((arrives, bytes));
                }
            }
            if left == before {
                break;
            }
        }
    }

    /// A download in a time of its own, in milliseconds: how long it took, and how many ranges were open
    /// at most and asked for in all.
    fn download(size: u64, megabits: u64, trip_ms: u64, server_ms: u64, whole: bool) -> [u64; 3] {
        let mut ranges = Ranges::new(0, size, CREDIT);
        let mut open = VecDeque::<Open>::new();
        let (mut now, mut taken, mut most, mut asked) = (0, 0, 0, 0);
        while taken < size {
            now += 1;
            assert!(now < 600_000, "it comes to an end");
            let mut due = ranges.due();
            if whole {
                due = due.map(|range| range.start..size);
            }
            let unread = |range: &Range<u64>| CREDIT.min(range.end - range.start);
            let others = open.iter().map(|stream| unread(&stream.range)).sum::<u64>();
            if let Some(range) = due.filter(|range| others + unread(range) <= UNREAD_MAX) {
                ranges.handle_asked(&range);
                open.push_back(Open::new(range, now, now + trip_ms / 2 + server_ms));
                asked += 1;
                most = most.max(open.len() as u64);
            }
            for stream in &mut open {
                stream.hear_of_grants(now);
            }
            share(&mut open, megabits * 125, now + trip_ms / 2);
            // They are taken in order, and who takes grants more of the same stream.
            while let Some(first) = open.front_mut() {
                let came = first.arrived(now);
                if came == 0 {
                    break;
                }
                if first.taken == first.range.start {
                    let took = trip_ms + server_ms;
                    assert!(now - first.at >= took);
                    ranges.handle_answered(Duration::from_millis(took));
                }
                first.taken += came;
                taken += came;
                first.granted.push_back((now + trip_ms / 2, first.taken + CREDIT));
                let round_trip = Duration::from_millis(trip_ms);
                ranges.handle_taken(taken, Path { round_trip, lost: Some(0) }, Timestamp(now));
                if first.taken < first.range.end {
                    break;
                }
                open.pop_front();
            }
        }
        [now, most, asked]
    }

    #[test]
    fn a_long_path_is_filled() {
        for (megabits, trip_ms, server_ms, at_most) in
            [(200, 200, 0, 0.68), (400, 200, 0, 0.50), (400, 150, 50, 0.65), (1_000, 80, 0, 0.50)]
        {
            let [whole, ..] = download(200 * MIB, megabits, trip_ms, server_ms, true);
            let [took, most, _] = download(200 * MIB, megabits, trip_ms, server_ms, false);
            let share = took as f64 / whole as f64;
            println!("{megabits} Mbit/s, {trip_ms} + {server_ms} ms: {took} of {whole}, {most}");
            assert!(share <= at_most, "{megabits} Mbit/s, {trip_ms} ms: {took} of {whole} ms");
            assert_eq!(most, 6);
        }
    }

    #[test]
    fn elsewhere_it_is_one_range_after_another_without_a_pause() {
        for (megabits, trip_ms, server_ms) in
            [(1, 300, 0), (20, 40, 0), (50, 80, 0), (50, 20, 100), (50, 100, 5), (1_000, 2, 5)]
        {
            let [whole, ..] = download(50 * MIB, megabits, trip_ms, server_ms, true);
            let [took, most, asked] = download(50 * MIB, megabits, trip_ms, server_ms, false);
            println!("{megabits} Mbit/s, {trip_ms} + {server_ms} ms: {took} of {whole}, {most}");
            // Nothing is known while the first one comes, so that may be waited for.
            let at_most = whole + whole / 100 + trip_ms + server_ms;
            assert!(took <= at_most, "{megabits} Mbit/s, {trip_ms} ms: {took} of {whole} ms");
            assert!(most <= 2 && asked <= 8, "{megabits} Mbit/s, {trip_ms} ms: {asked}, {most}");
        }
    }

    #[test]
    fn begins_where_it_is_and_ends_where_the_file_does() {
        let mut ranges = Ranges::new(5, 7, CREDIT);
        assert_eq!(ranges.due(), Some(5..7));
        ranges.handle_asked(&(5..7));
        assert_eq!(ranges.due(), None);
        assert_eq!(Ranges::new(7, 7, CREDIT).due(), None);
    }
}
