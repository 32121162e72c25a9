//! Two nodes of a cluster: sessions that move from one to the other, logins that end at the other,
//! people who are present at either, and a node that falls silent.

mod scene;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use scene::{DEADLINE, PATIENCE, Person, Scene, befriend, until};
use skein_bus::{hint::Hints, local::Local, presence::Presence};
use skein_client::{
    AccountId, Body, ConversationId, Event, Events, LogId, Seq, Status, StopReason, Text, Variant,
};
use skein_core::port::directory::{Directory, Term};
use skein_gate::{GateConfig, Sessions};
use skein_ops::lifecycle::Outcome;

fn text(number: u32) -> Text {
    Text::parse(number.to_string()).expect("digits")
}

/// Sends numbered texts one after the other until told to stop. Answers how many, and prints how
/// long the slowest took, for whoever looks.
fn talk(
    person: &Person,
    conversation: ConversationId,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<u32> {
    let client = person.client.clone();
    tokio::spawn(async move {
        let mut deliveries = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = u32::try_from(deliveries.len()).expect("few");
            let began = Instant::now();
            let delivery = client.send_text(conversation, text(number)).await.expect("kept");
            deliveries.push(tokio::spawn(async move {
                delivery.acknowledged().await.expect("it is in the log");
                began.elapsed()
            }));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let count = u32::try_from(deliveries.len()).expect("few");
        let mut slowest = Duration::ZERO;
        for delivery in deliveries {
            slowest = slowest.max(delivery.await.expect("no panic"));
        }
        println!("{count} texts, the slowest took {} ms", slowest.as_millis());
        count
    })
}

/// What a listener hears of a conversation, until it has `count` entries.
async fn heard(
    events: &mut Events,
    conversation: ConversationId,
    count: u32,
) -> Vec<(Seq, String)> {
    let mut heard = Vec::new();
    let listening = async {
        while heard.len() < count as usize {
            match events.next().await.expect("the client is there") {
                Event::Entry { log, entry } if log == LogId::Conversation(conversation) => {
                    let Body::Text(text) = entry.body else { panic!("{entry:?}") };
                    heard.push((entry.seq, text.as_str().to_owned()));
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.expect("it arrives");
    heard
}

/// Each number once, in the order in which they were written, at the next place of the log.
fn check(heard: &[(Seq, String)]) {
    for (index, (seq, text)) in heard.iter().enumerate() {
        assert_eq!((seq.0, text), (index as u64 + 1, &index.to_string()));
    }
}

/// The states that a client has been in, as far as its listener has not fallen behind.
fn states(events: &mut Events) -> Vec<Status> {
    let mut states = Vec::new();
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        if let Event::Status(status) = event {
            states.push(status);
        }
    }
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_sends_its_sessions_to_another_without_a_gap() {
    let scene = Scene::new(GateConfig::default()).await;
    let first = scene.node("chat-1").await;
    let (alice, bob) = (scene.person("alice").await, scene.person("bob").await);
    let conversation = befriend(&alice, &bob).await;
    assert_eq!(first.sessions(), 2);
    let mut seen = alice.client.events().await.expect("a home");
    let mut listening = bob.client.events().await.expect("a home");

    // A file is on its way as well, slowly enough to be on its way when the node stops.
    let file = alice.home.path().join("file");
    let bytes: Vec<u8> =
        (0..24 * 1024 * 1024_u32).map(|at| (at.wrapping_mul(31) >> 7) as u8).collect();
    std::fs::write(&file, &bytes).expect("a file");

    let stop = Arc::new(AtomicBool::new(false));
    let talking = talk(&alice, conversation, Arc::clone(&stop));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = scene.node("chat-2").await;
    first.shutdown.begin();
    // The first that is told may have gone by now; nobody leaves before it has a session elsewhere.
    let (here, there) = (first.sessions(), second.sessions());
    assert!(here + there >= 2, "{here} here and {there} there");
    let sent = alice.client.send_file(conversation, &file, |_| {});
    let (_, finished) = tokio::join!(sent, first.shutdown.finish(DEADLINE));
    assert_eq!(finished, Outcome::Clean);
    until("both have moved", || second.sessions() == 2).await;
    stop.store(true, Ordering::Relaxed);
    let count = talking.await.expect("no panic");

    let mut entries = Vec::new();
    let mut attachment = None;
    while entries.len() < count as usize || attachment.is_none() {
        let next = tokio::time::timeout(PATIENCE, listening.next()).await.expect("it arrives");
        if let Some(Event::Entry { log, entry }) = next
            && log == LogId::Conversation(conversation)
        {
            match entry.body {
                Body::Text(text) => entries.push(text.as_str().to_owned()),
                Body::File(file) => attachment = Some(file),
                other => panic!("{other:?}"),
            }
        }
    }
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(entries, expected);
    let to = bob.home.path().join("fetched");
    let attachment = attachment.expect("it came");
    bob.client.download(&attachment, Variant::Original, &to, false, |_| {}).await.expect("fetched");
    assert!(std::fs::read(&to).expect("a file") == bytes, "the file has changed on its way");
    // Whoever watched has seen no gap.
    let states = states(&mut seen);
    assert!(states.iter().all(Status::has_session), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_drains_a_node_and_it_lets_nobody_in() {
    let scene = Scene::new(GateConfig::default()).await;
    let first = scene.node("chat-1").await;
    let (alice, bob) = (scene.person("alice").await, scene.person("bob").await);
    let conversation = befriend(&alice, &bob).await;
    let second = scene.node("chat-2").await;
    scene.directory.drain("chat-1", Duration::from_millis(500)).await.expect("it is there");
    until("both have moved", || first.sessions() == 0 && second.sessions() == 2).await;
    // The process stays, and is given nobody.
    let carol = scene.person("carol").await;
    assert_eq!(first.sessions(), 0);
    until("carol is at the other", || second.sessions() == 3).await;
    let delivery = alice.client.send_text(conversation, text(0)).await.expect("kept");
    assert_eq!(delivery.acknowledged().await.expect("appended"), Seq(1));
    let reports = scene.directory.nodes().await.expect("the bus is there");
    let draining = reports.iter().find(|report| report.node.name == "chat-1").expect("it reports");
    assert!(draining.draining);
    // Who was slow to move was sent away at the end of the drain, and may only now be coming back.
    let people = [alice, bob, carol];
    for person in &people {
        person.client.live(PATIENCE).await.expect("a node is there");
    }
    first.shutdown.begin();
    assert_eq!(first.shutdown.finish(DEADLINE).await, Outcome::Clean);
    for person in people {
        assert!(person.client.status().has_session());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_alone_stops_at_once() {
    let scene = Scene::new(GateConfig::default()).await;
    let only = scene.node("chat-1").await;
    let alice = scene.person("alice").await;
    only.shutdown.begin();
    // Far from all the time that a drain could take.
    let finished = tokio::time::timeout(DEADLINE / 2, only.shutdown.finish(DEADLINE)).await;
    assert_eq!(finished.expect("nobody to wait for"), Outcome::Clean);
    until("alice notices", || !alice.client.status().has_session()).await;
    let _again = scene.node("chat-1").await;
    alice.client.live(PATIENCE).await.expect("she is welcome again");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_leave_a_node_that_has_fallen_silent() {
    let scene = Scene::new(GateConfig::default()).await;
    let first = scene.node("chat-1").await;
    let (alice, bob) = (scene.person("alice").await, scene.person("bob").await);
    let conversation = befriend(&alice, &bob).await;
    let mut listening = bob.client.events().await.expect("a home");
    let second = scene.node("chat-2").await;
    let stop = Arc::new(AtomicBool::new(false));
    let talking = talk(&alice, conversation, Arc::clone(&stop));
    tokio::time::sleep(Duration::from_millis(100)).await;
    // As if it were frozen: nothing says that it is gone, and the directory still names it.
    first.cut(true);
    until("both have left", || second.sessions() == 2).await;
    first.cut(false);
    stop.store(true, Ordering::Relaxed);
    let count = talking.await.expect("no panic");
    check(&heard(&mut listening, conversation, count).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_login_ends_the_session_at_the_other_node() {
    let config = GateConfig { session_policy: Sessions::Exclusive, ..GateConfig::default() };
    let scene = Scene::new(config).await;
    let first = scene.node("chat-1").await;
    let laptop = scene.person("alice").await;
    scene.reported("chat-1", 1).await;
    let second = scene.node("chat-2").await;
    // The new login goes to the emptier node.
    let phone = scene.device("alice", "phone").await;
    until("the laptop is thrown out", || {
        matches!(laptop.client.status(), Status::Stopped(StopReason::Kicked { .. }))
    })
    .await;
    until("it is gone", || first.sessions() == 0).await;
    assert_eq!(second.sessions(), 1);
    assert!(phone.client.status().has_session());
}

#[tokio::test]
async fn a_login_that_ended_without_a_word_ends_when_news_were_missed() {
    let scene = Scene::new(GateConfig::default()).await;
    let node = scene.node("chat-1").await;
    let alice = scene.person("alice").await;
    let tokens: &dyn skein_store::token::Tokens = &*scene.store;
    assert_eq!(tokens.revoke_logins(alice.account, None).await.expect("the store is there"), 1);
    assert!(alice.client.status().has_session());
    overflow(&scene.bus, alice.account).await;
    until("the session ends", || {
        matches!(alice.client.status(), Status::Stopped(StopReason::Unauthorised { .. }))
    })
    .await;
    until("it is gone", || node.sessions() == 0).await;
}

/// Publishes more than a node's queue holds, without letting it read: that takes a runtime of one
/// thread.
async fn overflow(bus: &Local, account: AccountId) {
    use skein_bus::hint::{Hint, Topic};
    for _ in 0..200_000 {
        let hint = Hint::Presence { account, online: true };
        bus.publish(Topic::Account(account), hint).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_at_another_node_are_present() {
    let scene = Scene::new(GateConfig::default()).await;
    let first = scene.node("chat-1").await;
    let alice = scene.person("alice").await;
    scene.reported("chat-1", 1).await;
    let second = scene.node("chat-2").await;
    let bob = scene.person("bob").await;
    assert_eq!((first.sessions(), second.sessions()), (1, 1));
    befriend(&alice, &bob).await;
    // A node announces who came after it has let them in.
    skein_testkit::eventually("bob is present", || async {
        alice.client.contacts().await.expect("a list")[0].online
    })
    .await;
    let mut events = alice.client.events().await.expect("a home");
    bob.client.close().await;
    let presence = async {
        loop {
            // That he came may be told only now.
            if let Some(Event::Presence { account, online: false }) = events.next().await {
                return account;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, presence).await.expect("she is told");
    assert_eq!(told, bob.account);
    assert!(!alice.client.contacts().await.expect("a list")[0].online);
    // What a node says that is dead holds for a while; a later one of its name takes it over.
    let presence: &dyn Presence = &*scene.bus;
    let lifetime = Duration::from_secs(60);
    presence.enter(&[bob.account], "chat-9", Term(1), lifetime).await.expect("entered");
    assert!(alice.client.contacts().await.expect("a list")[0].online);
}
