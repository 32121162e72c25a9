//! What is on the way, in the order of its arrival: one heap for a relay, instead of a task for
//! each datagram.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

/// Things that are on the way at a time.
pub(crate) const ON_THE_WAY_MAX: usize = 65_536;
/// Bytes of what is on the way at a time: a second of a gigabit.
pub(crate) const ON_THE_WAY_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What arrives when. Of two at the same time, the first put in arrives first.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Duration,
    number: u64,
    bytes: usize,
    what: T,
}

impl<T> Schedule<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), bytes: 0, next: 0 }
    }

    /// Whether so many bytes more may be put in.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.heap.len() < ON_THE_WAY_MAX && self.bytes + bytes <= ON_THE_WAY_BYTES_MAX
    }

    /// Puts something in. Says no when there is no room.
    pub(crate) fn put(&mut self, at: Duration, bytes: usize, what: T) -> bool {
        let has_room = self.has_room(bytes);
        if has_room {
            self.heap.push(Reverse(Entry { at, number: self.next, bytes, what }));
            self.next += 1;
            self.bytes += bytes;
        }
        has_room
    }

    /// When the next one arrives.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next one, if it has arrived by now.
    pub(crate) fn take(&mut self, now: Duration) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.bytes -= entry.bytes;
        Some(entry.what)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_in_order_and_no_sooner() {
        let mut schedule = Schedule::new();
        for (at, what) in [(3, 'c'), (1, 'a'), (3, 'd'), (2, 'b')] {
            assert!(schedule.put(Duration::from_secs(at), 1, what));
        }
        assert_eq!(schedule.take(Duration::from_millis(999)), None);
        let mut out = String::new();
        while let Some(what) = schedule.take(Duration::from_secs(3)) {
            out.push(what);
        }
        assert_eq!(out, "abcd");
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        let mut schedule = Schedule::new();
        assert!(schedule.put(Duration::ZERO, ON_THE_WAY_BYTES_MAX, ()));
        assert!(!schedule.put(Duration::ZERO, 1, ()));
        assert_eq!(schedule.take(Duration::ZERO), Some(()));
        for _ in 0..ON_THE_WAY_MAX {
            assert!(schedule.put(Duration::ZERO, 1, ()));
        }
        assert!(!schedule.put(Duration::ZERO, 1, ()));
    }
}
