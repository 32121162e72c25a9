//! Datagrams that are to be sent, until it is their turn.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{QUEUE_BYTES_MAX, QUEUE_DATAGRAMS_MAX, SENT_BYTES_PER_SECOND, cost};

/// How far ahead of its pace it may be: what sixteen speakers say in the same moment goes at once.
const BURST: Duration = Duration::from_millis(50);
/// What may be owed for one datagram. A path that hardly moved when it was sent may move again.
const OWED_MAX: Duration = Duration::from_secs(1);
/// For how long a path counts as full after it was seen so. A path that is full takes one datagram
/// now and then all the same, and for each there would be the pace of an empty one.
const FULL_FOR: Duration = Duration::from_secs(1);
/// Into how many parts a full path is divided, of which datagrams have one.
const PARTS: u64 = 2;
/// Places that are kept when nothing waits.
const PLACES_KEPT: usize = 4;

/// What was not sent yet.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Bytes>,
    bytes: usize,
    dropped: u64,
    /// By when what was sent is paid off.
    due: Instant,
    /// Until when the path counts as full.
    full_until: Instant,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send this.
    Send(Bytes),
    /// Ask again at this time.
    At(Instant),
    /// Nothing waits.
    Nothing,
}

impl Outbox {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, dropped: 0, due: now, full_until: now }
    }

    /// Takes one in, in place of the oldest where there is no room.
    pub(crate) fn put(&mut self, datagram: Bytes) {
        let length = datagram.len();
        while self.queue.len() >= QUEUE_DATAGRAMS_MAX
            || (self.bytes + length > QUEUE_BYTES_MAX && !self.queue.is_empty())
        {
            self.take();
            self.dropped += 1;
        }
        self.bytes += length;
        self.queue.push_back(datagram);
    }

    /// The path is full: what was sent before still waits.
    pub(crate) fn see_full(&mut self, now: Instant) {
        self.full_until = now + FULL_FOR;
    }

    /// What to do at `now`, over a path that takes so much when it is full.
    pub(crate) fn next(&mut self, now: Instant, path_bytes_per_second: u64) -> Next {
        match self.opens() {
            None => Next::Nothing,
            Some(opens) if opens > now => Next::At(opens),
            Some(_) => {
                let Some(datagram) = self.take() else { return Next::Nothing };
                let mut rate = u64::from(SENT_BYTES_PER_SECOND);
                if now < self.full_until {
                    rate = rate.min(path_bytes_per_second / PARTS).max(1);
                }
                let cost = u32::try_from(cost(datagram.len())).unwrap_or(u32::MAX);
                let owed = Duration::from_secs(u64::from(cost)).div_f64(rate as f64).min(OWED_MAX);
                self.due = self.due.max(now) + owed;
                Next::Send(datagram)
            }
        }
    }

    /// Bytes of the one that may be sent at `now`.
    pub(crate) fn ready(&self, now: Instant) -> Option<usize> {
        let opens = self.opens()?;
        if opens > now { None } else { self.queue.front().map(Bytes::len) }
    }

    /// When the next may be sent, if one waits.
    pub(crate) fn opens(&self) -> Option<Instant> {
        let opens = self.due.checked_sub(BURST).unwrap_or(self.due);
        (!self.queue.is_empty()).then_some(opens)
    }

    /// One that was to be sent could not be.
    pub(crate) const fn lose(&mut self) {
        self.dropped += 1;
    }

    /// Nothing will be sent any more.
    pub(crate) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
    }

    /// How many were dropped.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn take(&mut self) -> Option<Bytes> {
        let datagram = self.queue.pop_front()?;
        self.bytes -= datagram.len();
        if self.queue.is_empty() {
            self.queue.shrink_to(PLACES_KEPT);
        }
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::DATAGRAM_BYTES_MAX, *};

    /// Sends all that `outbox` lets through in `time`, fed without end, over a path that takes so much
    /// and is seen full each half second. Answers what it costs.
    fn sent(outbox: &mut Outbox, start: Instant, time: Duration, full: Option<u64>) -> usize {
        let (mut now, mut seen, mut sent) = (start, start, 0);
        loop {
            if full.is_some() && seen <= now {
                outbox.see_full(now);
                seen = now + FULL_FOR / 2;
            }
            outbox.put(Bytes::from_static(&[0; 200]));
            match outbox.next(now, full.unwrap_or(0)) {
                Next::Send(datagram) => sent += cost(datagram.len()),
                Next::At(at) if at < start + time => now = at,
                Next::At(_) => return sent,
                Next::Nothing => unreachable!("it was fed"),
            }
        }
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut outbox = Outbox::new(Instant::now());
        for number in 0..100_u8 {
            outbox.put(Bytes::from(vec![number]));
        }
        assert_eq!((outbox.dropped(), outbox.queue.len()), (36, QUEUE_DATAGRAMS_MAX));
        assert_eq!(outbox.queue.front(), Some(&Bytes::from_static(&[36])));
        for _ in 0..QUEUE_DATAGRAMS_MAX {
            outbox.put(Bytes::from(vec![0; DATAGRAM_BYTES_MAX]));
        }
        assert_eq!(outbox.queue.len(), QUEUE_BYTES_MAX / DATAGRAM_BYTES_MAX);
        outbox.clear();
        assert_eq!(outbox.next(Instant::now(), 0), Next::Nothing);
    }

    #[test]
    fn a_voice_goes_at_once_where_it_is_less_than_half() {
        let start = Instant::now();
        let mut outbox = Outbox::new(start);
        for frame in 0..1000 {
            let now = start + Duration::from_millis(20) * frame;
            outbox.see_full(now);
            outbox.put(Bytes::from_static(&[0; 120]));
            assert!(matches!(outbox.next(now, 32 * 1024), Next::Send(_)), "{frame}");
        }
        assert_eq!(outbox.dropped(), 0);
    }

    #[test]
    fn no_more_goes_than_the_pace_allows_and_half_of_a_path_that_is_full() {
        let (start, time) = (Instant::now(), Duration::from_secs(20));
        let most = SENT_BYTES_PER_SECOND as usize;
        for (full, rate) in [(None, most), (Some(10_000_000), most), (Some(16_000), 8_000)] {
            let sent = sent(&mut Outbox::new(start), start, time, full);
            let burst = rate / 20 + cost(200);
            assert!((20 * rate..=20 * rate + burst).contains(&sent), "{sent} at {rate}");
        }
    }

    #[test]
    fn a_path_that_was_full_is_given_another_chance() {
        let start = Instant::now();
        let mut outbox = Outbox::new(start);
        outbox.see_full(start);
        let two = |outbox: &mut Outbox, now| {
            (0..2).for_each(|_| outbox.put(Bytes::from_static(b"voice")));
            assert!(matches!(outbox.next(now, 0), Next::Send(_)));
            outbox.next(now, 0)
        };
        // It hardly moves, but may soon move again.
        assert_eq!(two(&mut outbox, start), Next::At(start + OWED_MAX - BURST));
        let later = start + OWED_MAX + FULL_FOR;
        assert!(matches!(two(&mut outbox, later), Next::Send(_)), "at its usual pace");
    }
}
