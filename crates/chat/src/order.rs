//! Keeps the appends of a session in the order in which they were sent, also where one fails.
//!
//! A client sends many appends ahead of their answers. If the store is away for a moment, one of them
//! may be refused and the next be taken. The client would send the first again, and it would stand
//! behind the second for ever. So the appends to a conversation that were refused for now stay in a
//! list, in the order in which they came first. While it is not empty only one of these is taken, and
//! what is new joins them.
//!
//! One that comes again, when those before it have not, is taken and they are forgotten: the client
//! sends in order, so they will not come any more. (Another node may have taken them.)

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use skein_core::{id::EntryId, limit::APPENDS_IN_FLIGHT_MAX};

/// Conversations of a session that are held back. There are only so many appends without an answer;
/// more is a client that does not send again what was refused for now, and has no order to keep.
const HELD_MAX: usize = 128;
/// Refused appends to one conversation that are remembered: all that may be without an answer, twice.
const REFUSED_MAX: usize = 2 * APPENDS_IN_FLIGHT_MAX;
/// How long a conversation is held back after the store refused an append: longer than the network
/// may keep the refusal from the client (`chat.idle_timeout_seconds`), and the client then waits before
/// it sends again.
const HELD_FOR: Duration = Duration::from_secs(180);

/// Which conversations of a session are held back.
#[derive(Debug, Default)]
pub(crate) struct Order(Mutex<HashMap<u64, Held>>);

/// The place of an append among those of its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the request with which it came first. It keeps this place.
    first: u64,
    /// The number of the request with which it came last.
    last: u64,
}

/// The appends to a conversation that were refused for now, by their places.
#[derive(Debug)]
struct Held {
    refused: BTreeMap<u64, (EntryId, u64)>,
    until: Instant,
}

impl Order {
    /// Whether an append may be made now, and then at which place. `number` grows with each request
    /// of the session.
    pub(crate) fn admit(
        &self,
        conversation: u64,
        id: EntryId,
        number: u64,
        now: Instant,
    ) -> Option<Place> {
        let mut all = self.held();
        let fresh = Place { first: number, last: number };
        let Some(held) = all.get_mut(&conversation).filter(|held| now < held.until) else {
            all.remove(&conversation);
            return Some(fresh);
        };
        let Some(place) = held.place(id) else {
            held.add(id, fresh);
            return None;
        };
        // One before it that has come since this came last was refused once more, and this was on
        // its way already.
        if held.refused.range(..place.first).any(|(_, (_, last))| *last > place.last) {
            held.add(id, Place { last: number, ..place });
            return None;
        }
        held.refused = held.refused.split_off(&(place.first + 1));
        if held.refused.is_empty() {
            all.remove(&conversation);
        }
        Some(Place { last: number, ..place })
    }

    /// An append that was admitted at this place was refused for now.
    pub(crate) fn refused(&self, conversation: u64, id: EntryId, place: Place, now: Instant) {
        let mut all = self.held();
        if all.len() >= HELD_MAX && !all.contains_key(&conversation) {
            all.retain(|_, held| now < held.until);
            if all.len() >= HELD_MAX {
                return;
            }
        }
        let until = now + HELD_FOR;
        let held =
            all.entry(conversation).or_insert_with(|| Held { refused: BTreeMap::new(), until });
        held.until = until;
        held.add(id, place);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        // Each use leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn place(&self, id: EntryId) -> Option<Place> {
        let mut refused = self.refused.iter();
        refused
            .find(|(_, (refused, _))| *refused == id)
            .map(|(first, (_, last))| Place { first: *first, last: *last })
    }

    fn add(&mut self, id: EntryId, place: Place) {
        if self.refused.len() < REFUSED_MAX || self.refused.contains_key(&place.first) {
            self.refused.insert(place.first, (id, place.last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session whose requests are counted.
    struct Asking {
        order: Order,
        count: u64,
        now: Instant,
    }

    impl Asking {
        fn new() -> Self {
            Self { order: Order::default(), count: 0, now: Instant::now() }
        }

        fn admit(&mut self, id: u8) -> Option<Place> {
            self.count += 1;
            self.order.admit(7, EntryId([id; 16]), self.count, self.now)
        }

        fn refused(&self, id: u8, place: Option<Place>) {
            let place = place.expect("it was admitted");
            self.order.refused(7, EntryId([id; 16]), place, self.now);
        }
    }

    #[test]
    fn what_is_new_waits_for_all_that_were_refused() {
        let mut asking = Asking::new();
        let first = asking.admit(1);
        asking.refused(1, first);
        // The second was on its way; then the first comes again, and a new one with it.
        assert_eq!(asking.admit(2), None);
        assert!(asking.admit(1).is_some());
        assert_eq!(asking.admit(4), None);
        assert!(asking.admit(2).is_some() && asking.admit(4).is_some());
        assert!(asking.admit(5).is_some() && asking.order.held().is_empty());
    }

    #[test]
    fn keeps_the_order_whatever_the_order_of_the_refusals() {
        let mut asking = Asking::new();
        let places = [1, 2, 3].map(|id| asking.admit(id));
        asking.refused(2, places[1]);
        asking.refused(3, places[2]);
        asking.refused(1, places[0]);
        // They come again, and the first two are refused again before the third is read.
        let again = [1, 2].map(|id| asking.admit(id));
        asking.refused(2, again[1]);
        asking.refused(1, again[0]);
        assert_eq!(asking.admit(3), None);
        assert!([1, 2, 3].into_iter().all(|id| asking.admit(id).is_some()));
    }

    #[test]
    fn does_not_wait_for_what_is_not_coming() {
        let mut asking = Asking::new();
        let first = asking.admit(1);
        asking.refused(1, first);
        assert!(asking.admit(2).is_none() && asking.admit(3).is_none());
        // Another node has taken the first: the client goes on with the second.
        assert!(asking.admit(2).is_some() && asking.admit(3).is_some());
    }

    #[test]
    fn does_not_wait_for_ever_nor_hold_any_number() {
        let (order, now) = (Order::default(), Instant::now());
        let (one, two) = (EntryId([1; 16]), EntryId([2; 16]));
        for conversation in 0..2 * HELD_MAX as u64 {
            let place = order.admit(conversation, one, conversation, now).unwrap();
            order.refused(conversation, one, place, now);
        }
        assert_eq!(order.held().len(), HELD_MAX);
        assert!(order.admit(1, two, 900, now).is_none());
        assert!(order.admit(1, two, 901, now + HELD_FOR).is_some());
        for number in 1_000..1_000 + 2 * REFUSED_MAX as u64 {
            let id = EntryId(u128::from(number).to_be_bytes());
            assert!(order.admit(0, id, number, now).is_none());
        }
        assert_eq!(order.held()[&0].refused.len(), REFUSED_MAX);
    }
}
