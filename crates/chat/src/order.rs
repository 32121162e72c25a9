//! Keeps the appends of a session in the order in which they were sent, also where one fails.
//!
//! A client sends many appends ahead of their answers. If the store is away for a moment, one of them
//! may be refused and the next be taken. The client would send the first again, and it would stand
//! behind the second for ever. So an append that was refused for now holds back whatever the session
//! sends to the same conversation after it, until it has come again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

/// Conversations of a session that are held back. There are only so many appends without an answer;
/// more is a client that does not send again what was refused for now, and has no order to keep.
const HELD_MAX: usize = 128;
/// How long a conversation is held back: longer than a client waits before it sends again.
const HELD_FOR: Duration = Duration::from_secs(60);

/// Which conversations of a session are held back.
#[derive(Debug, Default)]
pub(crate) struct Order(Mutex<HashMap<u64, Held>>);

/// The earliest append to a conversation that was refused for now.
#[derive(Debug)]
struct Held {
    id: Bytes,
    /// Which of the session's requests it was.
    number: u64,
    until: Instant,
}

impl Order {
    /// Whether an append may be made now.
    pub(crate) fn admits(&self, conversation: u64, id: &Bytes, now: Instant) -> bool {
        let mut held = self.held();
        match held.get(&conversation) {
            Some(first) if first.id != *id && now < first.until => false,
            Some(_) => {
                held.remove(&conversation);
                true
            }
            None => true,
        }
    }

    /// An append was refused for now. `number` grows with each request of the session.
    pub(crate) fn refused(&self, conversation: u64, id: Bytes, number: u64, now: Instant) {
        let mut held = self.held();
        if held.get(&conversation).is_some_and(|first| first.number < number) {
            return;
        }
        if held.len() >= HELD_MAX {
            held.retain(|_, first| now < first.until);
        }
        if held.len() < HELD_MAX {
            held.insert(conversation, Held { id, number, until: now + HELD_FOR });
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        // Each use leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Bytes {
        vec![number; 16].into()
    }

    #[test]
    fn holds_back_until_the_first_comes_again() {
        let (order, now) = (Order::default(), Instant::now());
        assert!(order.admits(7, &id(1), now) && order.admits(7, &id(2), now));
        // The answers need not come in order.
        order.refused(7, id(2), 2, now);
        order.refused(7, id(1), 1, now);
        order.refused(7, id(3), 3, now);
        assert!(!order.admits(7, &id(4), now) && !order.admits(7, &id(2), now));
        assert!(order.admits(8, &id(4), now), "another conversation");
        assert!(order.admits(7, &id(1), now));
        assert!(order.admits(7, &id(2), now) && order.admits(7, &id(3), now));
    }

    #[test]
    fn does_not_wait_for_ever_nor_hold_any_number() {
        let (order, now) = (Order::default(), Instant::now());
        for conversation in 0..2 * HELD_MAX as u64 {
            order.refused(conversation, id(1), conversation, now);
        }
        assert_eq!(order.held().len(), HELD_MAX);
        assert!(!order.admits(0, &id(2), now));
        assert!(order.admits(0, &id(2), now + HELD_FOR));
        for conversation in [998, 999] {
            order.refused(conversation, id(1), conversation, now + HELD_FOR);
        }
        assert_eq!(order.held().len(), 2);
    }
}
