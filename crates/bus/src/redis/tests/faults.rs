//! What happens when Redis goes away, comes back empty, or stays there and does not answer.

use std::{sync::Arc, time::Duration};

use skein_core::{id::AccountId, port::directory::Term};
use skein_testkit::process::patiently;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{Server, config};
use crate::{
    Unavailable,
    hint::{Delivery, EndReason, Hint, Hints, Subscription, Topic},
    key::Keys,
    lease::Leases,
    presence::Presence,
    redis::Redis,
};

const ALICE: AccountId = AccountId(1);
const TOPIC: Topic = Topic::Account(ALICE);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Whoever waits for longer than this waits in vain.
const IN_VAIN: Duration = Duration::from_secs(60);
/// Far more than the sum of all deadlines on the way of one command or one subscription, and less
/// than the sum of those on the way of many.
const BOUNDED: Duration = Duration::from_secs(60);

fn online(account: u64) -> Hint {
    Hint::Presence { account: AccountId(account), online: true }
}

/// A hint of which it is told if it is lost.
fn ended(account: u64) -> Hint {
    Hint::SessionsEnded { account: AccountId(account), reason: EndReason::Revoked }
}

async fn next(deliveries: &mut mpsc::Receiver<Delivery>) -> Delivery {
    timeout(IN_VAIN, deliveries.recv()).await.expect("nothing comes").unwrap()
}

/// Repeats it until the bus is there again, as a caller would.
async fn until_there<T>(mut work: impl AsyncFnMut() -> Result<T, Unavailable>) -> T {
    let deadline = Instant::now() + IN_VAIN;
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes one that is never lost without a word, and takes what comes until it is there. On a slow
/// machine it may be given up, or the subscription be made again: then it is published again.
async fn hears(bus: &Redis, subscription: &mut Subscription, topic: Topic, account: u64) {
    let hint = ended(account);
    bus.publish(topic, hint.clone()).await;
    let hearing = async {
        loop {
            match subscription.deliveries.recv().await.unwrap() {
                Delivery::Missed => bus.publish(topic, hint.clone()).await,
                heard if heard == Delivery::Hint(topic, hint.clone()) => return,
                _ => {}
            }
        }
    };
    timeout(IN_VAIN, hearing).await.expect("it is not heard");
}

/// Publishes until the subscriber hears something, and takes what comes until it is that hint.
async fn hears_again(bus: &Redis, subscription: &mut Subscription, hint: Hint) {
    let wanted = Delivery::Hint(TOPIC, hint.clone());
    for _ in 0..600 {
        bus.publish(TOPIC, hint.clone()).await;
        let wait = Duration::from_millis(100);
        while let Ok(delivery) = timeout(wait, subscription.deliveries.recv()).await {
            if delivery.unwrap() == wanted {
                return;
            }
        }
    }
    panic!("nothing is heard again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_empty_delays_hints_and_loses_none() {
    let mut server = Server::with_password("se/cr@et");
    let bus = Arc::new(Redis::connect(&escaped(&server)).await.unwrap());
    let mut subscription = bus.subscribe(1_000);
    subscription.topics.watch(&[TOPIC]).await;
    hears(&bus, &mut subscription, TOPIC, 1).await;
    let epoch = bus.acquire("node/a", b"first", HOUR).await.unwrap().unwrap();
    assert!(bus.enter(&[ALICE], "a", Term(1), HOUR).await.unwrap());

    server.kill();
    let started = Instant::now();
    // Nothing of this waits for long, and what is watched now is heard later.
    let late = Topic::Account(AccountId(2));
    subscription.topics.watch(&[late]).await;
    bus.publish(TOPIC, online(2)).await;
    while bus.get("key").await.is_ok() {}
    assert!(started.elapsed() < BOUNDED);

    server.resume();
    loop {
        match next(&mut subscription.deliveries).await {
            Delivery::Missed => break,
            // It was published more than once.
            other => assert_eq!(other, Delivery::Hint(TOPIC, ended(1))),
        }
    }
    // It came when everything was subscribed again, so nothing is lost from here on.
    until_there(async || bus.ping().await).await;
    hears_again(&bus, &mut subscription, online(3)).await;
    hears(&bus, &mut subscription, late, 4).await;

    assert!(!until_there(async || bus.renew("node/a", epoch, b"late", HOUR).await).await);
    let again = bus.acquire("node/a", b"second", HOUR).await.unwrap().unwrap();
    assert!(again > epoch, "{again:?} after {epoch:?}");
    assert!(!bus.release("node/a", epoch).await.unwrap());
    assert_eq!(bus.present(&[ALICE]).await.unwrap(), [false]);
    assert!(bus.enter(&[ALICE], "a", Term(1), HOUR).await.unwrap());
}

fn escaped(server: &Server) -> crate::redis::Config {
    let mut config = config(server);
    config.url = config.url.replace("se/cr@et", "se%2Fcr%40et");
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = Server::start();
    let bus = Arc::new(Redis::connect(&config(&server)).await.unwrap());
    let mut subscription = bus.subscribe(1_000);
    subscription.topics.watch(&[TOPIC]).await;

    server.freeze();
    let started = Instant::now();
    assert!(bus.get("key").await.is_err());
    assert!(bus.acquire("node/a", b"", HOUR).await.is_err());
    assert!(bus.present(&[ALICE]).await.is_err());
    for number in 0..100 {
        subscription.topics.watch(&[Topic::Account(AccountId(100 + number))]).await;
        bus.publish(TOPIC, online(number)).await;
    }
    assert!(started.elapsed() < BOUNDED, "it took {:?}", started.elapsed());
    // By now it is known to be away, and nobody waits at all.
    while bus.get("key").await.unwrap_err().0.contains("in time") {}
    let started = Instant::now();
    for _ in 0..100 {
        assert!(bus.get("key").await.is_err());
    }
    assert!(started.elapsed() < BOUNDED, "it took {:?}", started.elapsed());

    server.thaw();
    while next(&mut subscription.deliveries).await != Delivery::Missed {}
    hears_again(&bus, &mut subscription, online(1_000)).await;
    let last = Topic::Account(AccountId(199));
    hears(&bus, &mut subscription, last, 5).await;
    until_there(async || bus.get("key").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_that_is_cut_is_made_again() {
    let server = Server::start();
    let bus = Arc::new(Redis::connect(&config(&server)).await.unwrap());
    let mut subscription = bus.subscribe(1_000);
    subscription.topics.watch(&[TOPIC]).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(next(&mut subscription.deliveries).await, Delivery::Missed, "by itself");
    hears(&bus, &mut subscription, TOPIC, 1).await;

    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    // One that was given up is owed, and the subscriber told.
    hears_again(&bus, &mut subscription, online(2)).await;
    until_there(async || bus.get("key").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_a_channel_do_no_harm() {
    let server = Server::start();
    let config = config(&server);
    let bus = Redis::connect(&config).await.unwrap();
    let mut subscription = bus.subscribe(8);
    subscription.topics.watch(&[TOPIC]).await;
    let channel = format!("{}hint/account/1", config.prefix);
    for garbage in ["", "garbage", "\u{2}later", &"x".repeat(100_000)] {
        server.command(&["SPUBLISH", &channel, garbage]);
        assert_eq!(next(&mut subscription.deliveries).await, Delivery::Missed);
    }
    server.command(&["SPUBLISH", &format!("{}hint/everyone", config.prefix), ""]);
    assert_eq!(next(&mut subscription.deliveries).await, Delivery::Missed);
    hears(&bus, &mut subscription, TOPIC, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_nobody_watches_are_left() {
    let server = Server::start();
    let config = config(&server);
    let bus = Redis::connect(&config).await.unwrap();
    let channels = || server.command(&["PUBSUB", "SHARDCHANNELS", "*"]).lines().count();
    let subscription = bus.subscribe(8);
    for account in 1..=100 {
        subscription.topics.watch(&[Topic::Account(AccountId(account))]).await;
    }
    // The server may take longer than a watcher waits for it.
    patiently("all are watched, with the one for everyone", || channels() == 101);
    for account in 1..=50 {
        subscription.topics.unwatch(&[Topic::Account(AccountId(account))]);
    }
    patiently("they are left", || channels() == 51);
    drop(subscription.deliveries);
    // Whoever leaves without a word is noticed when something comes in for it.
    skein_testkit::eventually("they are left", || async {
        for account in 51..=100 {
            bus.publish(Topic::Account(AccountId(account)), online(account)).await;
        }
        channels() == 1
    })
    .await;
}
