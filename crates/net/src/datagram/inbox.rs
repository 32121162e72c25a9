//! Datagrams that came, until somebody takes them.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Abuse, DATAGRAM_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_DATAGRAMS_MAX, RECEIVED_BURST_BYTES,
    RECEIVED_BYTES_PER_SECOND, cost,
};
use crate::pace::Pace;

/// Places that are kept when nothing waits: a voice takes them again and again.
const PLACES_KEPT: usize = 4;

/// What came and was not taken.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Whether the peer may send any. What comes before is dropped: on its way a datagram may overtake
    /// whatever told the peer that it may.
    allowed: bool,
    queue: VecDeque<Bytes>,
    bytes: usize,
    dropped: u64,
    /// By when what came is paid off: see [`Pace`].
    due: Instant,
}

impl Inbox {
    pub(crate) const fn new(allowed: bool, now: Instant) -> Self {
        Self { allowed, queue: VecDeque::new(), bytes: 0, dropped: 0, due: now }
    }

    /// The peer may send from now on.
    pub(crate) const fn allow(&mut self) {
        self.allowed = true;
    }

    /// Takes in a copy of what came, in place of the oldest where there is no room. Answers whether
    /// there is something to be taken now.
    pub(crate) fn put(&mut self, datagram: &[u8], now: Instant) -> Result<bool, Abuse> {
        let length = datagram.len();
        if length > DATAGRAM_BYTES_MAX {
            return Err(Abuse::TooLong);
        }
        let pace = Pace::new(RECEIVED_BYTES_PER_SECOND, RECEIVED_BURST_BYTES);
        let cost = u32::try_from(cost(length)).unwrap_or(u32::MAX);
        if !pace.keeps(&mut self.due, now, cost) {
            return Err(Abuse::Flood);
        }
        if !self.allowed {
            self.dropped += 1;
            return Ok(false);
        }
        while self.queue.len() >= QUEUE_DATAGRAMS_MAX || self.bytes + length > QUEUE_BYTES_MAX {
            self.take();
            self.dropped += 1;
        }
        self.bytes += length;
        self.queue.push_back(Bytes::copy_from_slice(datagram));
        Ok(true)
    }

    /// The oldest.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let datagram = self.queue.pop_front()?;
        self.bytes -= datagram.len();
        if self.queue.is_empty() {
            self.queue.shrink_to(PLACES_KEPT);
        }
        Some(datagram)
    }

    /// How many were dropped.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn inbox() -> (Inbox, Instant) {
        let now = Instant::now();
        (Inbox::new(true, now), now)
    }

    #[test]
    fn the_oldest_makes_room() {
        let (mut inbox, now) = inbox();
        for number in 0..100 {
            assert_eq!(inbox.put(&[number], now), Ok(true));
        }
        assert_eq!(inbox.dropped(), 36);
        let kept: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(kept.len(), QUEUE_DATAGRAMS_MAX);
        assert!((36..100).map(|number| vec![number]).eq(kept), "the newest, in order");
        assert!(inbox.queue.capacity() <= PLACES_KEPT, "nothing is kept of what it held");

        let long = [0; DATAGRAM_BYTES_MAX];
        for _ in 0..QUEUE_DATAGRAMS_MAX {
            assert_eq!(inbox.put(&long, now), Ok(true));
        }
        assert_eq!(inbox.queue.len(), QUEUE_BYTES_MAX / DATAGRAM_BYTES_MAX);
        assert_eq!(inbox.bytes, inbox.queue.len() * DATAGRAM_BYTES_MAX);
    }

    #[test]
    fn what_comes_before_it_may_is_dropped_and_counted() {
        let now = Instant::now();
        let mut inbox = Inbox::new(false, now);
        assert_eq!(inbox.put(b"early", now), Ok(false));
        assert_eq!((inbox.take(), inbox.dropped()), (None, 1));
        assert_eq!(inbox.queue.capacity(), 0, "and takes no memory");
        inbox.allow();
        assert_eq!(inbox.put(b"in time", now), Ok(true));
        assert_eq!(inbox.take().as_deref(), Some(&b"in time"[..]));
    }

    #[test]
    fn a_flood_is_noticed_of_empty_ones_too_and_before_the_login() {
        for (allowed, length) in [(true, 0), (true, DATAGRAM_BYTES_MAX), (false, 0)] {
            let now = Instant::now();
            let mut inbox = Inbox::new(allowed, now);
            let datagram = vec![0; length];
            let taken = (0..).take_while(|_| inbox.put(&datagram, now).is_ok()).count();
            assert_eq!(taken, RECEIVED_BURST_BYTES as usize / cost(length));
            assert_eq!(inbox.put(&datagram, now), Err(Abuse::Flood));
            assert!(inbox.queue.len() <= QUEUE_DATAGRAMS_MAX);
        }
    }

    #[test]
    fn whoever_keeps_its_own_pace_is_never_taken_for_a_flood() {
        let (mut inbox, start) = inbox();
        // A hundred a second of 1,150 bytes, held back for five seconds again and again.
        for second in 0..1000_u64 {
            let now = start + Duration::from_secs(second - second % 5);
            for _ in 0..100 {
                assert_eq!(inbox.put(&[0; DATAGRAM_BYTES_MAX], now), Ok(true));
            }
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let (mut inbox, now) = inbox();
        assert_eq!(inbox.put(&[0; DATAGRAM_BYTES_MAX + 1], now), Err(Abuse::TooLong));
    }
}
