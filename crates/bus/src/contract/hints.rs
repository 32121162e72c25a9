//! Stories about hints.

use std::{collections::HashSet, sync::Arc, time::Duration};

use skein_core::{
    coming::Coming,
    entry::{Attachment, Body, ContactStep, ContactStepKind, Entry},
    id::{AccountId, BlobId, ConversationId, EntryId, LogId, Seq},
    name::{FileName, MediaType, Note, Text, Username},
    time::Timestamp,
};
use tokio::{sync::mpsc, time::timeout};

use super::Stage;
use crate::hint::{Delivery, EndReason, Hint, Topic};

const LOG: LogId = LogId::Personal(AccountId(1));
const TOPIC: Topic = Topic::Log(LOG);
/// Whoever waits for longer than this waits in vain.
const IN_VAIN: Duration = Duration::from_secs(60);

fn entry(seq: u64, body: Body) -> Arc<Entry> {
    let author = AccountId(1);
    Arc::new(Entry { seq: Seq(seq), id: EntryId([1; 16]), author, at: Timestamp(0), body })
}

fn appended(seq: u64) -> Hint {
    Hint::Appended(LOG, entry(seq, Body::Text(Text::parse("hello").unwrap())))
}

fn hint(seq: u64) -> Delivery {
    Delivery::Hint(TOPIC, appended(seq))
}

/// Waits for so many: a bus may need a moment to deliver.
async fn take(deliveries: &mut mpsc::Receiver<Delivery>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let delivery = timeout(IN_VAIN, deliveries.recv()).await;
        taken.push(delivery.unwrap_or_else(|_| panic!("nothing after {taken:?}")).unwrap());
    }
    taken
}

pub(crate) async fn reach_whoever_watches_the_topic(stage: Stage) {
    let bus = stage.bus;
    let mut first = bus.subscribe(8);
    let mut second = bus.subscribe(8);
    let account = Topic::Account(AccountId(1));
    first.topics.watch(&[TOPIC]).await;
    first.topics.watch(&[TOPIC]).await;
    second.topics.watch(&[account]).await;
    second.topics.watch(&[TOPIC]).await;
    second.topics.unwatch(&[TOPIC]);
    let reason = EndReason::Kicked { by: "phone".into() };
    let ended = Hint::SessionsEnded { account: AccountId(1), reason };
    bus.publish(TOPIC, appended(1)).await;
    bus.publish(account, ended.clone()).await;
    bus.publish(TOPIC, appended(2)).await;
    // Each hint once, however often the topic was watched.
    assert_eq!(take(&mut first.deliveries, 2).await, [hint(1), hint(2)]);
    assert_eq!(take(&mut second.deliveries, 1).await, [Delivery::Hint(account, ended)]);
    assert!(first.deliveries.try_recv().is_err() && second.deliveries.try_recv().is_err());
}

pub(crate) async fn reach_whoever_watches_many_topics_at_once(stage: Stage) {
    let accounts: Vec<_> = (1..=1_000).map(AccountId).collect();
    let topics: Vec<_> = accounts.iter().copied().map(Topic::Account).collect();
    let mut subscription = stage.bus.subscribe(1_000);
    subscription.topics.watch(&[]).await;
    subscription.topics.watch(&topics).await;
    let (left, kept) = topics.split_at(999);
    for round in 1..=2 {
        for account in &accounts {
            let hint = Hint::Presence { account: *account, online: true };
            stage.bus.publish(Topic::Account(*account), hint).await;
        }
        let expected = if round == 1 { &topics[..] } else { kept };
        let mut heard = HashSet::new();
        for delivery in take(&mut subscription.deliveries, expected.len()).await {
            let Delivery::Hint(topic, _) = delivery else { panic!("{delivery:?}") };
            heard.insert(topic);
        }
        assert_eq!(heard, expected.iter().copied().collect());
        subscription.topics.unwatch(left);
    }
    assert!(subscription.deliveries.try_recv().is_err());
}

pub(crate) async fn come_in_the_order_of_publication(stage: Stage) {
    let mut subscription = stage.bus.subscribe(1_000);
    subscription.topics.watch(&[TOPIC]).await;
    for seq in 1..=1_000 {
        stage.bus.publish(TOPIC, appended(seq)).await;
    }
    let expected: Vec<_> = (1..=1_000).map(hint).collect();
    assert_eq!(take(&mut subscription.deliveries, 1_000).await, expected);
}

pub(crate) async fn keep_what_they_say(stage: Stage) {
    let log = LogId::Conversation(ConversationId(u64::MAX));
    let step = ContactStep {
        kind: ContactStepKind::Accepted,
        peer: AccountId(2),
        peer_name: Username::parse("bob").unwrap(),
        by_me: true,
        note: Note::parse("你好").unwrap(),
        conversation: Some(ConversationId(3)),
    };
    let account = AccountId(7);
    let attachment = Attachment {
        blob: BlobId([4; 16]),
        name: FileName::parse("鸿雁.mp4").unwrap(),
        size: u64::MAX,
        media_type: MediaType::parse("video/mp4").unwrap(),
        hash: [5; 32],
    };
    let coming = Coming { conversation: ConversationId(3), uploader: AccountId(7), attachment };
    let said = [
        (Topic::Log(log), Hint::Coming(Arc::new(coming))),
        (Topic::Log(log), Hint::Appended(log, entry(u64::MAX, Body::Contact(step)))),
        (Topic::Log(log), Hint::Presence { account, online: true }),
        (Topic::Account(account), Hint::Presence { account, online: false }),
        (Topic::Account(account), Hint::SessionsEnded { account, reason: EndReason::Revoked }),
    ];
    let mut subscription = stage.bus.subscribe(8);
    for (topic, _) in &said {
        subscription.topics.watch(&[*topic]).await;
    }
    for (topic, hint) in said {
        stage.bus.publish(topic, hint.clone()).await;
        assert_eq!(take(&mut subscription.deliveries, 1).await, [Delivery::Hint(topic, hint)]);
    }
}

pub(crate) async fn are_missed_when_the_queue_is_full(stage: Stage) {
    let bus = stage.bus;
    let mut slow = bus.subscribe(2);
    // It hears each hint when the other one does, so the story knows how far the bus is.
    let mut quick = bus.subscribe(20);
    for subscription in [&slow, &quick] {
        subscription.topics.watch(&[TOPIC]).await;
    }
    for seq in 1..=5 {
        bus.publish(TOPIC, appended(seq)).await;
    }
    let all: Vec<_> = (1..=5).map(hint).collect();
    assert_eq!(take(&mut quick.deliveries, 5).await, all, "nobody else is held up");
    // The notice comes by itself, behind what was delivered and ahead of what comes later.
    assert_eq!(take(&mut slow.deliveries, 1).await, [hint(1)]);
    bus.publish(TOPIC, appended(6)).await;
    assert_eq!(take(&mut quick.deliveries, 1).await, [hint(6)]);
    assert_eq!(take(&mut slow.deliveries, 2).await, [hint(2), Delivery::Missed]);
    for seq in 7..=9 {
        bus.publish(TOPIC, appended(seq)).await;
    }
    let later: Vec<_> = (7..=9).map(hint).collect();
    assert_eq!(take(&mut quick.deliveries, 3).await, later);
    assert_eq!(take(&mut slow.deliveries, 3).await, [hint(7), hint(8), Delivery::Missed]);
    bus.publish(TOPIC, appended(10)).await;
    assert_eq!(take(&mut slow.deliveries, 1).await, [hint(10)]);
}

pub(crate) async fn go_nowhere_without_a_subscriber(stage: Stage) {
    let bus = stage.bus;
    bus.publish(Topic::Account(AccountId(1)), appended(1)).await;
    let gone = bus.subscribe(1);
    let mut staying = bus.subscribe(8);
    gone.topics.watch(&[TOPIC]).await;
    staying.topics.watch(&[TOPIC]).await;
    drop(gone.deliveries);
    bus.publish(TOPIC, appended(2)).await;
    assert_eq!(take(&mut staying.deliveries, 1).await, [hint(2)]);
    gone.topics.unwatch(&[TOPIC]);
    let mut late = bus.subscribe(1);
    late.topics.watch(&[TOPIC]).await;
    bus.publish(TOPIC, appended(3)).await;
    assert_eq!(take(&mut late.deliveries, 1).await, [hint(3)]);
    staying.topics.unwatch(&[TOPIC]);
    bus.publish(TOPIC, appended(4)).await;
    assert_eq!(take(&mut late.deliveries, 1).await, [hint(4)], "others stay");
    assert_eq!(take(&mut staying.deliveries, 1).await, [hint(3)]);
    assert!(staying.deliveries.try_recv().is_err());
}
