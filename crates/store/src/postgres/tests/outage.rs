//! The database goes away, in all the ways that it can, and comes back.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use skein_core::{
    entry::Entry,
    id::{AccountId, ConversationId, LogId, Seq},
    name::{Email, Username},
};
use skein_testkit::postgres::Postgres as Server;
use tokio::task::JoinSet;

use super::{
    assert_unavailable, blocking, migrated,
    nodes::{circle, whole},
};
use crate::{
    Store, StoreError,
    account::NewAccount,
    contract::scene::{NOW, friends, words},
    instance::Instance,
    log::Logs,
    postgres::{Config, Postgres},
};

/// What every call is given before it counts as hanging: far more than it promises.
pub(super) const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Appends again and again until it is told to stop, as a client does: an answer that is not final
/// makes it try the same draft again. What was acknowledged.
async fn insist(
    node: Arc<Postgres>,
    author: AccountId,
    conversation: ConversationId,
    seed: u64,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Vec<(ConversationId, Entry)> {
    let mut taken = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let draft = words(conversation, seed * 1_000_000 + number, &format!("{seed} {number}"));
        match node.append(author, draft, NOW).await {
            Ok(appended) => {
                taken.push((conversation, appended.entry));
                acknowledged.fetch_add(1, Ordering::Relaxed);
                number += 1;
            }
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    taken
}

/// Waits until some more have been acknowledged.
async fn progress(acknowledged: &AtomicU64) {
    let from = acknowledged.load(Ordering::Relaxed);
    while acknowledged.load(Ordering::Relaxed) < from + 50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let mut server = blocking(Server::start).await;
    let config = Config { pool_max: 16, ..migrated(&server).await };
    let nodes = [
        Arc::new(Postgres::connect(&config).await.unwrap()),
        Arc::new(Postgres::connect(&config).await.unwrap()),
    ];
    let store: Arc<dyn Store> = nodes[0].clone();
    let conversations = circle(&store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for (place, (a, b, conversation)) in conversations.iter().copied().enumerate() {
        for (side, author) in [a, b].into_iter().enumerate() {
            for (number, node) in nodes.iter().enumerate() {
                let seed = ((place * 2 + side) * 2 + number) as u64 + 1;
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                let node = Arc::clone(node);
                clients.spawn(insist(node, author, conversation, seed, stop, acknowledged));
            }
        }
    }
    for round in 0..4 {
        progress(&acknowledged).await;
        server = blocking(move || {
            if round % 2 == 0 {
                server.stop();
            } else {
                server.crash();
            }
            server.resume();
            server
        })
        .await;
        progress(&acknowledged).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut taken: HashMap<ConversationId, Vec<Entry>> = HashMap::new();
    while let Some(client) = clients.join_next().await {
        for (conversation, entry) in client.unwrap() {
            taken.entry(conversation).or_default().push(entry);
        }
    }
    for (_, _, conversation) in conversations {
        let mut expected = taken.remove(&conversation).unwrap_or_default();
        expected.sort_by_key(|entry| entry.seq);
        assert_eq!(whole(&*store, conversation).await, expected, "each acknowledged, once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_while_the_server_is_frozen() {
    let server = blocking(Server::start).await;
    let config = migrated(&server).await;
    // Only what is under test has little time.
    let patient: Arc<dyn Store> = Arc::new(Postgres::connect(&config).await.unwrap());
    let (a, _, conversation) = friends(&patient).await;
    let config = Config { statement_timeout_ms: 500, pool_wait_ms: 500, ..config };
    let node = Arc::new(Postgres::connect(&config).await.unwrap());
    let store: Arc<dyn Store> = node.clone();
    let log = LogId::Conversation(conversation);
    let frozen = server.freeze();
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(&store);
        calls.spawn(async move {
            let draft = words(conversation, 100 + number, "anyone?");
            let name = Username::parse(format!("late{number}")).unwrap();
            let email = Email::parse(format!("late{number}@example.org")).unwrap();
            let new = NewAccount { name, email, password_hash: "hash".into() };
            match number % 4 {
                0 => assert_unavailable(store.append(a, draft, NOW).await),
                1 => assert_unavailable(store.create_account(new, NOW).await),
                2 => assert_unavailable(store.read_after(log, Seq::ZERO, 10).await),
                _ => assert_unavailable(store.credentials(&new.name).await),
            }
        });
    }
    let all = async {
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
        assert!(Postgres::connect(&config).await.is_err());
    };
    tokio::time::timeout(HANGS_AFTER, all).await.expect("no call hangs");
    drop(frozen);
    let again = async {
        while node.instance().await.is_err() {}
        let draft = words(conversation, 200, "there you are");
        while node.append(a, draft.clone(), NOW).await.is_err() {}
    };
    tokio::time::timeout(HANGS_AFTER, again).await.expect("it works again");
}

#[tokio::test]
async fn says_so_when_every_connection_is_taken() {
    let config = Config {
        pool_max: 2,
        pool_wait_ms: 100,
        statement_timeout_ms: 8_000,
        ..migrated(Server::shared()).await
    };
    let node = Postgres::connect(&config).await.unwrap();
    let long = node.read("sleep", |db| async move { db.query("SELECT pg_sleep(2)", &[]).await });
    let (slept, refused) = tokio::join!(biased; long, node.instance());
    assert_eq!(slept.unwrap().len(), 1);
    assert_unavailable(refused);
    node.instance().await.unwrap();
    let too_long =
        node.read("sleep", |db| async move { db.query("SELECT pg_sleep(60)", &[]).await });
    assert_unavailable(too_long.await);
    node.instance().await.unwrap();
}

#[tokio::test]
async fn is_not_usable_where_it_takes_no_writes() {
    let server = Server::shared();
    let url = server.fresh_database();
    let config = super::config(url.clone());
    crate::postgres::migrate(&config).await.unwrap();
    Postgres::connect(&config).await.unwrap().usable().await.unwrap();
    let name = url.rsplit('/').next().and_then(|name| name.split('?').next()).unwrap().to_owned();
    blocking(move || {
        let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
        server.sql(&name, &read_only)
    })
    .await;
    let node = Postgres::connect(&config).await.unwrap();
    node.instance().await.expect("it can be read");
    let error = node.usable().await.unwrap_err();
    let StoreError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "the database is read-only");
}
