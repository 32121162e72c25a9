//! Two nodes on one database: each has connections, batches and an opinion of its own.

use std::{collections::HashMap, future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use skein_core::{
    entry::{Body, Draft, Entry},
    id::{AccountId, ConversationId, LogId, Seq},
    policy::Membership,
};
use skein_testkit::postgres::Postgres as Server;
use tokio::{task::JoinSet, time::timeout};

use super::{config, migrated, outage::HANGS_AFTER};
use crate::{
    Store, StoreError,
    contract::scene::{NOW, befriend, entry, note, person, words},
    log::{Appended, Logs},
    postgres::{Config, Postgres},
};

/// People, each a contact of every other one.
const PEOPLE: u64 = 5;
/// What each person appends to each conversation, at each node.
const ENTRIES: u64 = 20;

/// Everyone's conversation with everyone else.
pub(super) async fn circle(store: &Arc<dyn Store>) -> Vec<(AccountId, AccountId, ConversationId)> {
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        people.push(person(store, &format!("person{number}")).await.id);
    }
    let mut conversations = Vec::new();
    for (place, a) in people.iter().enumerate() {
        for b in &people[place + 1..] {
            let number = 1000 + conversations.len() as u64;
            conversations.push((*a, *b, befriend(store, *a, *b, number).await));
        }
    }
    conversations
}

/// The whole log; fails unless it is dense.
pub(super) async fn whole(store: &dyn Store, conversation: ConversationId) -> Vec<Entry> {
    let log = LogId::Conversation(conversation);
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = Seq(entries.len() as u64);
        let page = store.read_after(log, after, usize::MAX).await.unwrap();
        entries.extend(page.entries);
        for (expected, entry) in (1..).zip(&entries) {
            assert_eq!(entry.seq, Seq(expected), "{conversation}");
        }
        if Seq(entries.len() as u64) == page.head {
            return entries;
        }
    }
}

type Appending = Pin<Box<dyn Future<Output = Result<Appended, StoreError>> + Send>>;

/// Calls an append without waiting for its answer.
pub(super) async fn begun(store: &Arc<Postgres>, author: AccountId, draft: Draft) -> Appending {
    let store = Arc::clone(store);
    let mut appending: Appending = Box::pin(async move { store.append(author, draft, NOW).await });
    poll_fn(|context| {
        assert!(appending.as_mut().poll(context).is_pending(), "nothing is durable at once");
        Poll::Ready(())
    })
    .await;
    appending
}

/// Appends again and again until there is an answer that is final.
async fn until_taken(node: &Postgres, author: AccountId, draft: Draft) {
    let mut appended = node.append(author, draft.clone(), NOW).await;
    while let Err(StoreError::Unavailable { .. }) = appended {
        appended = node.append(author, draft.clone(), NOW).await;
    }
    appended.unwrap();
}

fn text(entry: &Entry) -> &str {
    let Body::Text(text) = &entry.body else { panic!("expected a text") };
    text.as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn append_to_the_same_conversations() {
    let config = Config { pool_max: 16, ..migrated(Server::shared()).await };
    let nodes = [
        Arc::new(Postgres::connect(&config).await.unwrap()),
        Arc::new(Postgres::connect(&config).await.unwrap()),
    ];
    let store: Arc<dyn Store> = nodes[0].clone();
    let conversations = circle(&store).await;
    let mut tasks = JoinSet::new();
    for (number, node) in nodes.iter().enumerate() {
        for (a, b, conversation) in conversations.clone() {
            for author in [a, b] {
                let node = Arc::clone(node);
                tasks.spawn(async move {
                    let mut appending = Vec::new();
                    for place in 0..ENTRIES {
                        let id = (number as u64 * 1000 + conversation.0) * 1000 + place;
                        let words = words(conversation, id, &format!("{number} {place}"));
                        appending.push((words.clone(), begun(&node, author, words).await));
                    }
                    let mut late = Vec::new();
                    for (draft, appending) in appending {
                        match appending.await {
                            Ok(appended) => assert!(!appended.repeated),
                            Err(StoreError::Unavailable { .. }) => late.push(draft),
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    // A slow machine may not get to all of them in time; they are sent again.
                    let again = async {
                        for draft in late {
                            until_taken(&node, author, draft).await;
                        }
                    };
                    timeout(HANGS_AFTER, again).await.expect("there is an end");
                });
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    for (_, _, conversation) in conversations {
        let entries = whole(&*store, conversation).await;
        assert_eq!(entries.len() as u64, 4 * ENTRIES);
        let mut next = HashMap::new();
        for entry in &entries {
            let (node, place) = text(entry).split_once(' ').unwrap();
            let expected = next.entry((entry.author, node.to_owned())).or_insert(0);
            assert_eq!(place.parse::<u64>().unwrap(), *expected, "in the order of the calls");
            *expected += 1;
        }
    }
}

/// The same draft, sent through both nodes at the same time, as by a client that changes over.
#[tokio::test(flavor = "multi_thread")]
async fn take_a_draft_once() {
    let config = migrated(Server::shared()).await;
    let nodes = [
        Arc::new(Postgres::connect(&config).await.unwrap()),
        Arc::new(Postgres::connect(&config).await.unwrap()),
    ];
    let store: Arc<dyn Store> = nodes[0].clone();
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let c = person(&store, "carol").await.id;
    let (first, second) = (befriend(&store, a, b, 1).await, befriend(&store, a, c, 2).await);
    for number in 10..60 {
        let elsewhere = number % 2 == 0;
        let here = begun(&nodes[0], a, words(first, number, "once")).await;
        let there = if elsewhere { second } else { first };
        let there = begun(&nodes[1], a, words(there, number, "once")).await;
        let (here, there) = tokio::join!(here, there);
        if elsewhere {
            assert!(here.is_ok() != there.is_ok(), "{here:?} {there:?}");
        } else {
            let (here, there) = (here.unwrap(), there.unwrap());
            assert_eq!(here.entry, there.entry);
            assert!(here.repeated != there.repeated);
        }
    }
    let entries = whole(&*store, first).await.len() + whole(&*store, second).await.len();
    assert_eq!(entries, 50);
}

/// Steps of contacts change, under the lock of the log, what appends rest on.
#[tokio::test(flavor = "multi_thread")]
async fn take_no_message_after_the_end() {
    let config = migrated(Server::shared()).await;
    let nodes = [
        Arc::new(Postgres::connect(&config).await.unwrap()),
        Arc::new(Postgres::connect(&config).await.unwrap()),
    ];
    let store: Arc<dyn Store> = nodes[0].clone();
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let conversation = befriend(&store, a, b, 1).await;
    for round in 0..12 {
        let id = 100 * (round + 1);
        let mut appending = Vec::new();
        for number in 0..8 {
            let draft = words(conversation, id + number, "still there?");
            appending.push(begun(&nodes[number as usize % 2], a, draft).await);
        }
        let removed = nodes[1].clone() as Arc<dyn Store>;
        let removing = async move { removed.remove_contact(b, a, entry(id), NOW).await };
        let step = removing.await.unwrap();
        assert_eq!(step.committed.len(), 2);
        assert_eq!(store.membership(a, conversation).await.unwrap(), Membership::Dormant);
        let at_the_end = store.heads(&[LogId::Conversation(conversation)]).await.unwrap();
        let mut taken = 0;
        for appending in appending {
            taken += u64::from(appending.await.is_ok());
        }
        let later = store.heads(&[LogId::Conversation(conversation)]).await.unwrap();
        assert_eq!(at_the_end, later, "{taken} were taken");
        store.request_contact(a, b, note(""), entry(id + 1), NOW).await.unwrap();
        store.accept_contact(b, a, note(""), entry(id + 1), NOW).await.unwrap();
    }
    whole(&*store, conversation).await;
}

/// A node that froze in the middle of a transaction holds up the conversations that it has locked,
/// and nobody else's; and the server ends its session after a while.
#[tokio::test(flavor = "multi_thread")]
async fn go_on_beside_a_frozen_one() {
    let config = migrated(Server::shared()).await;
    let node = Arc::new(Postgres::connect(&config).await.unwrap());
    let store: Arc<dyn Store> = node.clone();
    let conversations = circle(&store).await;
    let (driver, _) = config.driver().unwrap();
    let (ended, ending) = driver.connect(tokio_postgres::NoTls).await.unwrap();
    let ending = tokio::spawn(ending);
    ended.batch_execute("BEGIN").await.unwrap();

    let (_, _, locked) = conversations[0];
    let (frozen, connection) = driver.connect(tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let lock = format!(
        "SET idle_in_transaction_session_timeout = 0; \
         BEGIN; SELECT * FROM logs WHERE log = {} FOR UPDATE",
        locked.0
    );
    frozen.batch_execute(&lock).await.unwrap();
    let (mut held_up, mut others) = (JoinSet::new(), JoinSet::new());
    for number in 0..3 {
        for (author, _, conversation) in conversations.iter().copied() {
            let draft = words(conversation, 10 * conversation.0 + number, "hello");
            let first = begun(&node, author, draft.clone()).await;
            let node = Arc::clone(&node);
            let appending = async move {
                match first.await {
                    Err(StoreError::Unavailable { .. }) => until_taken(&node, author, draft).await,
                    appended => drop(appended.unwrap()),
                }
            };
            let set = if conversation == locked { &mut held_up } else { &mut others };
            set.spawn(appending);
        }
    }
    while let Some(appended) = others.join_next().await {
        appended.unwrap();
    }
    assert!(held_up.try_join_next().is_none(), "the lock is held still");
    drop(frozen);
    connection.await.unwrap().unwrap();
    while let Some(appended) = held_up.join_next().await {
        appended.unwrap();
    }
    whole(&*store, locked).await;
    assert!(ending.await.unwrap().is_err(), "the server has ended the session that did nothing");
}

#[tokio::test]
async fn say_what_they_are_connected_to() {
    let config = config(migrated(Server::shared()).await.url.expose().to_owned());
    let node = Postgres::connect(&config).await.unwrap();
    assert!(node.server_version().await.unwrap().starts_with(|c: char| c.is_ascii_digit()));
    let (now, hour) = (node.clock_offset(skein_core::time::Timestamp(0)).await.unwrap(), 3_600_000);
    let ahead = skein_core::time::Timestamp(u64::try_from(now + hour).unwrap());
    let offset = node.clock_offset(ahead).await.unwrap();
    assert!((-hour..0).contains(&offset), "an hour behind, less what this took: {offset}");
    node.close().await;
    super::assert_unavailable(node.server_version().await);
    super::assert_unavailable(
        node.append(AccountId(1), words(ConversationId(1), 1, "x"), NOW).await,
    );
}
