//! Stories about hints.

use std::sync::Arc;

use skein_core::{
    entry::{Body, Entry},
    id::{AccountId, EntryId, LogId, Seq},
    name::Text,
    time::Timestamp,
};
use tokio::sync::mpsc;

use crate::{
    Bus,
    hint::{Delivery, EndReason, Hint, Topic},
};

const LOG: LogId = LogId::Personal(AccountId(1));

fn appended(seq: u64) -> Hint {
    let entry = Entry {
        seq: Seq(seq),
        id: EntryId([1; 16]),
        author: AccountId(1),
        at: Timestamp(0),
        body: Body::Text(Text::parse("hello").unwrap()),
    };
    Hint::Appended(LOG, Arc::new(entry))
}

fn hint(seq: u64) -> Delivery {
    Delivery::Hint(Topic::Log(LOG), appended(seq))
}

/// Takes what is there, and waits for the first: a bus may need a moment to deliver.
async fn take(deliveries: &mut mpsc::Receiver<Delivery>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(deliveries.recv().await.unwrap());
    }
    taken
}

pub(crate) async fn reach_whoever_watches_the_topic(bus: Arc<dyn Bus>) {
    let mut first = bus.subscribe(8);
    let mut second = bus.subscribe(8);
    let account = Topic::Account(AccountId(1));
    first.topics.watch(Topic::Log(LOG)).await;
    first.topics.watch(Topic::Log(LOG)).await;
    second.topics.watch(account).await;
    second.topics.watch(Topic::Log(LOG)).await;
    second.topics.unwatch(Topic::Log(LOG)).await;
    let ended = Hint::SessionsEnded {
        account: AccountId(1),
        devices: None,
        reason: EndReason::Kicked { by: "phone".into() },
    };
    bus.publish(Topic::Log(LOG), appended(1)).await;
    bus.publish(account, ended.clone()).await;
    bus.publish(Topic::Log(LOG), appended(2)).await;
    // Each hint once, however often the topic was watched.
    assert_eq!(take(&mut first.deliveries, 2).await, [hint(1), hint(2)]);
    assert_eq!(take(&mut second.deliveries, 1).await, [Delivery::Hint(account, ended)]);
    assert!(first.deliveries.try_recv().is_err() && second.deliveries.try_recv().is_err());
}

pub(crate) async fn come_in_the_order_of_publication(bus: Arc<dyn Bus>) {
    let mut subscription = bus.subscribe(100);
    subscription.topics.watch(Topic::Log(LOG)).await;
    for seq in 1..=100 {
        bus.publish(Topic::Log(LOG), appended(seq)).await;
    }
    let expected: Vec<_> = (1..=100).map(hint).collect();
    assert_eq!(take(&mut subscription.deliveries, 100).await, expected);
}

pub(crate) async fn are_missed_when_the_queue_is_full(bus: Arc<dyn Bus>) {
    let mut slow = bus.subscribe(2);
    let mut quick = bus.subscribe(20);
    for subscription in [&slow, &quick] {
        subscription.topics.watch(Topic::Log(LOG)).await;
    }
    for seq in 1..=5 {
        bus.publish(Topic::Log(LOG), appended(seq)).await;
    }
    let all: Vec<_> = (1..=5).map(hint).collect();
    assert_eq!(take(&mut quick.deliveries, 5).await, all, "nobody else is held up");
    // The notice comes by itself, behind what was delivered and ahead of what comes later.
    assert_eq!(take(&mut slow.deliveries, 1).await, [hint(1)]);
    bus.publish(Topic::Log(LOG), appended(6)).await;
    assert_eq!(take(&mut slow.deliveries, 2).await, [hint(2), Delivery::Missed]);
    for seq in 7..=9 {
        bus.publish(Topic::Log(LOG), appended(seq)).await;
    }
    assert_eq!(take(&mut slow.deliveries, 3).await, [hint(7), hint(8), Delivery::Missed]);
    bus.publish(Topic::Log(LOG), appended(10)).await;
    assert_eq!(take(&mut slow.deliveries, 1).await, [hint(10)]);
}

pub(crate) async fn go_nowhere_without_a_subscriber(bus: Arc<dyn Bus>) {
    bus.publish(Topic::Log(LOG), appended(1)).await;
    let gone = bus.subscribe(1);
    gone.topics.watch(Topic::Log(LOG)).await;
    drop(gone.deliveries);
    bus.publish(Topic::Log(LOG), appended(2)).await;
    gone.topics.unwatch(Topic::Log(LOG)).await;
    let mut late = bus.subscribe(1);
    late.topics.watch(Topic::Log(LOG)).await;
    bus.publish(Topic::Log(LOG), appended(3)).await;
    assert_eq!(take(&mut late.deliveries, 1).await, [hint(3)]);
}
