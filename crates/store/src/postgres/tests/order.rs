//! What an author submits in an order gets into the log in that order, whatever locks are in the
//! way.

use std::{sync::Arc, time::Duration};

use skein_core::id::{EntryId, LogId, Seq};
use skein_testkit::postgres::Postgres as Server;
use tokio_postgres::Client;

use super::{
    migrated,
    nodes::{begun, whole},
};
use crate::{
    Store,
    contract::scene::{NOW, friends, words},
    log::Logs,
    postgres::{Config, Postgres},
};

/// How long the table is locked: several times as long as a try waits for a lock.
const LOCKED_FOR: Duration = Duration::from_secs(1);
/// How long a try waits for a lock there, in milliseconds.
const LOCK_WAIT_MS: u64 = 100;

/// Another client in the middle of a transaction that has run `lock`.
async fn locker(config: &Config, lock: &str) -> Client {
    let (driver, _) = config.driver().unwrap();
    let (client, connection) = driver.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = format!("SET idle_in_transaction_session_timeout = 0; BEGIN; {lock}");
    client.batch_execute(&sql).await.unwrap();
    client
}

/// A statement that fails for a lock is told from those behind it, which fail with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_for_a_while_is_waited_for() {
    let config = migrated(Server::shared()).await;
    // Only what is under test has little time.
    let patient: Arc<dyn Store> = Arc::new(Postgres::connect(&config).await.unwrap());
    let (author, _, conversation) = friends(&patient).await;
    let hasty = Config { lock_timeout_ms: LOCK_WAIT_MS, ..config.clone() };
    let node = Arc::new(Postgres::connect(&hasty).await.unwrap());
    let locker = locker(&config, "LOCK TABLE entries IN SHARE MODE").await;
    let appending = begun(&node, author, words(conversation, 10, "hello")).await;
    let release = async {
        tokio::time::sleep(LOCKED_FOR).await;
        locker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (appended, ()) = tokio::join!(appending, release);
    assert_eq!(appended.unwrap().entry.seq, Seq(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_refused_append_does_not_overtake_it() {
    let config = migrated(Server::shared()).await;
    let node = Arc::new(Postgres::connect(&config).await.unwrap());
    let store: Arc<dyn Store> = node.clone();
    let (author, _, conversation) = friends(&store).await;
    let lock = format!("SELECT * FROM logs WHERE log = {} FOR UPDATE", conversation.0);
    let locker = locker(&config, &lock).await;
    let draft = |number| words(conversation, number, "in order");

    let first = begun(&node, author, draft(10)).await;
    // Until the first is in a batch of its own, which waits for the lock.
    let waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database()) \
                   OR NOT granted AND locktype = 'transactionid'";
    while locker.query(waiting, &[]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut later = Vec::new();
    for number in 11..14 {
        later.push(begun(&node, author, draft(number)).await);
    }
    super::assert_unavailable(first.await);
    locker.batch_execute("ROLLBACK").await.unwrap();
    for appending in later {
        super::assert_unavailable(appending.await);
    }
    for number in 10..14 {
        node.append(author, draft(number), NOW).await.unwrap();
    }
    let log = whole(&*store, conversation).await;
    let ids: Vec<EntryId> = log.iter().map(|entry| entry.id).collect();
    let expected: Vec<EntryId> = (10..14).map(|number| draft(number).id).collect();
    assert_eq!(ids, expected);
    assert_eq!(node.heads(&[LogId::Conversation(conversation)]).await.unwrap(), [Seq(4)]);
}
