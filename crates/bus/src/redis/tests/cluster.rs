//! Three servers that are one cluster: every part of the bus finds the server that it belongs to.

use std::{collections::HashSet, sync::Arc, time::Duration};

use skein_core::{id::AccountId, port::directory::Term};
use tokio::time::{Instant, timeout};

use super::{Server, config};
use crate::{
    hint::{Delivery, EndReason, Hint, Hints, Topic},
    key::Keys,
    lease::Leases,
    presence::Presence,
    redis::Redis,
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const IN_VAIN: Duration = Duration::from_secs(60);
/// Enough to have some of them on each server.
const MANY: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_are_one_bus() {
    let server = Server::cluster();
    let config = config(&server);
    let here = Redis::connect(&config).await.unwrap();
    let there = Arc::new(Redis::connect(&config).await.unwrap());
    hints_reach_every_topic(&here, &there).await;
    scripts_run_where_their_keys_are(&here, &there).await;
    hints_follow_a_slot_that_moves(&server, &here, &there).await;
}

async fn hints_reach_every_topic(here: &Redis, there: &Redis) {
    let mut subscription = there.subscribe(1_000);
    for account in 1..=MANY {
        subscription.topics.watch(&[Topic::Account(AccountId(account))]).await;
    }
    let ended = |account| Hint::SessionsEnded { account, reason: EndReason::Revoked };
    let mut awaited: HashSet<_> = (1..=MANY).map(AccountId).collect();
    let mut again = false;
    for account in &awaited {
        here.publish(Topic::Account(*account), ended(*account)).await;
    }
    while !awaited.is_empty() {
        let delivery = timeout(IN_VAIN, subscription.deliveries.recv()).await;
        match delivery.unwrap_or_else(|_| panic!("nothing is heard of {awaited:?}")).unwrap() {
            Delivery::Hint(_, Hint::SessionsEnded { account, .. }) => {
                assert!(awaited.remove(&account) || again, "{account} is told once");
            }
            // On a slow machine a hint may be given up, or the subscription be made again.
            Delivery::Missed => {
                again = true;
                for account in &awaited {
                    here.publish(Topic::Account(*account), ended(*account)).await;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn scripts_run_where_their_keys_are(here: &Redis, there: &Redis) {
    let accounts: Vec<_> = (1..=MANY).map(AccountId).collect();
    assert!(here.enter(&accounts, "a", Term(1), HOUR).await.unwrap());
    assert!(there.present(&accounts).await.unwrap().into_iter().all(|present| present));
    for number in 0..MANY {
        let (group, key) = (format!("group-{number}/"), format!("key-{number}"));
        for name in ["b", "a"] {
            let name = format!("{group}{name}");
            let epoch = here.acquire(&name, b"1", HOUR).await.unwrap().unwrap();
            assert!(there.renew(&name, epoch, b"2", HOUR).await.unwrap());
        }
        let held = there.held(&group).await.unwrap();
        assert_eq!(held.len(), 2);
        assert!(held[0].name.ends_with("/a") && held[0].value == b"2");
        here.put(&key, b"1", HOUR).await.unwrap();
        assert_eq!(there.increment(&key, HOUR).await.unwrap().count, 2);
        assert!(here.delete(&key).await.unwrap());
    }
}

/// The server that loses a slot drops who was subscribed there without a word to them.
async fn hints_follow_a_slot_that_moves(server: &Server, here: &Redis, there: &Redis) {
    let watched: Vec<_> = (1..=MANY).map(|n| Topic::Account(AccountId(n))).collect();
    let mut subscription = there.subscribe(1_000);
    for topic in &watched {
        subscription.topics.watch(&[*topic]).await;
    }
    let nodes = server.command(&["CLUSTER", "NODES"]);
    let id = |line: &str| line.split(' ').next().unwrap().to_owned();
    let from = nodes.lines().find(|line| line.contains("myself")).map(id).unwrap();
    let to = nodes.lines().find(|line| !line.contains("myself")).map(id).unwrap();
    let moved = std::process::Command::new("redis-cli")
        .args(["--cluster", "reshard", &format!("127.0.0.1:{}", server.ports()[0])])
        .args(["--cluster-from", &from, "--cluster-to", &to])
        .args(["--cluster-slots", "4000", "--cluster-yes"])
        .output();
    assert!(moved.unwrap().status.success());
    let missed =
        async { while subscription.deliveries.recv().await.unwrap() != Delivery::Missed {} };
    timeout(IN_VAIN, missed).await.unwrap();
    let mut awaited: HashSet<_> = watched.iter().copied().collect();
    let deadline = Instant::now() + IN_VAIN;
    while !awaited.is_empty() {
        assert!(Instant::now() < deadline, "nothing is heard of {awaited:?}");
        // Some may be given up while the sender finds out; they are asked for again.
        for topic in &watched {
            here.publish(*topic, Hint::Presence { account: AccountId(1), online: false }).await;
        }
        let wait = Duration::from_millis(200);
        while let Ok(delivery) = timeout(wait, subscription.deliveries.recv()).await {
            if let Delivery::Hint(topic, _) = delivery.unwrap() {
                awaited.remove(&topic);
            }
        }
    }
}
