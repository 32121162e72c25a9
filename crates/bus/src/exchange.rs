//! The subscribers of this process: who watches which topic, and a bounded queue for each. Every
//! bus hands hints out through one; what it gets them from is its own affair.
//!
//! A queue has one place more than its capacity, kept for [`Delivery::Missed`]: when only that
//! place is left, it is filled with the notice, and hints are dropped until the subscriber has made
//! room. The notice is then always behind what was delivered and ahead of what comes later, and
//! whatever is dropped is dropped while the notice is still unread, so comparing heads when it is
//! read finds all of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use tokio::sync::mpsc;

use crate::{
    hint::{Delivery, Hint, Topic},
    metric,
};

/// The place in each queue that is kept for the notice.
const NOTICE_PLACES: usize = 1;
/// Deliveries that a queue holds at most, whatever the subscriber asks for.
const CAPACITY_MAX: usize = 64 * 1024;

/// Passes hints from publishers to subscribers.
#[derive(Default)]
pub(crate) struct Exchange(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    subscribers: HashMap<u64, Subscriber>,
    /// Who watches each topic. A topic that nobody watches has no entry.
    watchers: HashMap<Topic, HashSet<u64>>,
}

struct Subscriber {
    queue: mpsc::Sender<Delivery>,
    /// Whether the last thing that was put into the queue is the notice.
    noticed: bool,
    /// Every topic under which `watchers` names this subscriber.
    topics: HashSet<Topic>,
}

impl Exchange {
    /// Hands a hint to whoever watches the topic. False if nobody does.
    pub(crate) fn publish(&self, topic: Topic, hint: &Hint) -> bool {
        self.deliver(topic, &Delivery::Hint(topic, hint.clone()))
    }

    /// Tells whoever watches the topic that hints were lost.
    pub(crate) fn missed(&self, topic: Topic) {
        self.deliver(topic, &Delivery::Missed);
    }

    /// Tells every subscriber that hints were lost.
    pub(crate) fn missed_by_all(&self) {
        self.locked(|state| {
            state.forget_closed();
            state.subscribers.values_mut().for_each(|subscriber| {
                subscriber.deliver(&Delivery::Missed);
            });
        });
    }

    /// Whether anyone watches the topic.
    pub(crate) fn is_watched(&self, topic: Topic) -> bool {
        self.locked(|state| state.watchers.contains_key(&topic))
    }

    /// What is watched by anyone.
    pub(crate) fn topics(&self) -> HashSet<Topic> {
        self.locked(|state| state.watchers.keys().copied().collect())
    }

    fn deliver(&self, topic: Topic, delivery: &Delivery) -> bool {
        self.locked(|state| {
            let Some(watchers) = state.watchers.get(&topic) else { return false };
            let mut gone = Vec::new();
            for number in watchers {
                if let Some(subscriber) = state.subscribers.get_mut(number)
                    && !subscriber.deliver(delivery)
                {
                    gone.push(*number);
                }
            }
            gone.into_iter().for_each(|number| state.forget(number));
            true
        })
    }

    /// A new subscriber. Its topics are named by its number.
    pub(crate) fn subscribe(&self, capacity: usize) -> (u64, mpsc::Receiver<Delivery>) {
        let (queue, deliveries) = mpsc::channel(capacity.clamp(1, CAPACITY_MAX) + NOTICE_PLACES);
        let number = self.locked(|state| {
            // One that left is otherwise noticed only when something is published for it.
            state.forget_closed();
            state.next += 1;
            let subscriber = Subscriber { queue, noticed: false, topics: HashSet::new() };
            state.subscribers.insert(state.next, subscriber);
            state.next
        });
        (number, deliveries)
    }

    /// Delivers the topics to the subscriber, if it is still there.
    pub(crate) fn watch(&self, number: u64, topics: &[Topic]) {
        self.locked(|state| {
            let Some(subscriber) = state.subscribers.get_mut(&number) else { return };
            for topic in topics {
                subscriber.topics.insert(*topic);
                state.watchers.entry(*topic).or_default().insert(number);
            }
        });
    }

    /// Delivers the topics to the subscriber no more.
    pub(crate) fn unwatch(&self, number: u64, topics: &[Topic]) {
        self.locked(|state| {
            for topic in topics {
                if let Some(subscriber) = state.subscribers.get_mut(&number) {
                    subscriber.topics.remove(topic);
                    state.unwatch(number, *topic);
                }
            }
        });
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn forget(&mut self, number: u64) {
        if let Some(subscriber) = self.subscribers.remove(&number) {
            for topic in subscriber.topics {
                self.unwatch(number, topic);
            }
        }
    }

    fn forget_closed(&mut self) {
        let closed = self.subscribers.iter().filter(|(_, s)| s.queue.is_closed());
        let closed: Vec<_> = closed.map(|(number, _)| *number).collect();
        closed.into_iter().for_each(|number| self.forget(number));
    }

    fn unwatch(&mut self, number: u64, topic: Topic) {
        if let Some(watchers) = self.watchers.get_mut(&topic) {
            watchers.remove(&number);
            if watchers.is_empty() {
                self.watchers.remove(&topic);
            }
        }
    }
}

impl Subscriber {
    /// Delivers a hint, or the notice instead when there is no room. False if the subscriber has
    /// gone.
    fn deliver(&mut self, delivery: &Delivery) -> bool {
        // Nobody else sends, and the lock is held: the room can only grow meanwhile.
        let room = self.queue.capacity();
        let delivery = if room > NOTICE_PLACES { delivery } else { &Delivery::Missed }.clone();
        // A notice that is the newest in a queue which is not empty is unread, and says it already.
        let unread = self.noticed && room < self.queue.max_capacity();
        if delivery == Delivery::Missed && unread {
            return !self.queue.is_closed();
        }
        self.noticed = delivery == Delivery::Missed;
        if self.noticed {
            metric::missed();
        }
        self.queue.try_send(delivery).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use skein_core::id::AccountId;

    use super::*;

    const TOPIC: Topic = Topic::Account(AccountId(1));

    #[test]
    fn whoever_left_leaves_nothing_behind() {
        let exchange = Exchange::default();
        let counts = || exchange.locked(|state| (state.subscribers.len(), state.watchers.len()));
        let hint = Hint::Presence { account: AccountId(1), online: true };

        let (number, deliveries) = exchange.subscribe(1);
        exchange.watch(number, &[TOPIC]);
        drop(deliveries);
        exchange.publish(TOPIC, &hint);
        assert_eq!(counts(), (0, 0), "noticed when publishing");
        exchange.watch(number, &[TOPIC]);
        assert_eq!(counts(), (0, 0), "watching again brings nothing back");

        let (number, deliveries) = exchange.subscribe(1);
        exchange.watch(number, &[TOPIC]);
        drop(deliveries);
        let (staying, _deliveries) = exchange.subscribe(1);
        assert_eq!(counts(), (1, 0), "noticed when subscribing");
        exchange.watch(staying, &[TOPIC]);
        exchange.unwatch(staying, &[TOPIC]);
        assert_eq!(counts(), (1, 0));
    }

    #[test]
    fn a_notice_takes_no_place_of_another() {
        let exchange = Exchange::default();
        let (number, mut deliveries) = exchange.subscribe(1);
        exchange.watch(number, &[TOPIC]);
        let hint = Hint::Presence { account: AccountId(1), online: true };
        exchange.missed_by_all();
        exchange.missed(TOPIC);
        assert!(exchange.publish(TOPIC, &hint));
        assert_eq!(deliveries.try_recv(), Ok(Delivery::Missed));
        assert!(deliveries.try_recv().is_err(), "it stands for what came while it was unread");
        exchange.missed_by_all();
        assert_eq!(deliveries.try_recv(), Ok(Delivery::Missed), "what was read says nothing more");
        exchange.publish(TOPIC, &hint);
        exchange.missed_by_all();
        exchange.missed_by_all();
        assert_eq!(deliveries.try_recv(), Ok(Delivery::Hint(TOPIC, hint)));
        assert_eq!(deliveries.try_recv(), Ok(Delivery::Missed));
        assert!(deliveries.try_recv().is_err());
        assert!(!exchange.publish(
            Topic::Account(AccountId(2)),
            &Hint::Presence { account: AccountId(2), online: true }
        ));
    }
}
