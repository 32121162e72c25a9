//! Another network in the middle of messages and an upload, a stall, and a server that restarts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use skein_client::{Body, LogId, Phase, Progress, Status, Variant};
use skein_testkit::{
    PATIENCE,
    network::{Conditions, Queue, Rate},
};

use crate::scene::{DELAY, Scene, Seen, until};

const FILE_BYTES: usize = 8 * 1024 * 1024;
const MOVES: usize = 3;
/// Long enough for timeouts that double to be seconds apart.
const BLACKOUT: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_an_upload_go_on_while_the_client_moves() {
    let scene = Scene::new().await;
    let path = scene.folder.path().join("walk.bin");
    let bytes: Vec<u8> = (0..FILE_BYTES).map(|at| (at % 251) as u8).collect();
    tokio::fs::write(&path, &bytes).await.expect("the folder is ours");
    let seen = Seen::of(&scene.alice).await;
    let (opened, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, watched) = (Arc::clone(&opened), Arc::clone(&sent));
    let uploading = {
        let (alice, conversation) = (scene.alice.clone(), scene.conversation);
        tokio::spawn(async move {
            let delivery = alice.send_file(conversation, &path, move |now| match now.phase {
                Phase::Opened => drop(counted.fetch_add(1, Ordering::Relaxed)),
                Phase::Sending => watched.store(now.done as usize, Ordering::Relaxed),
                _ => {}
            });
            delivery.await.expect("sent").acknowledged().await.expect("appended")
        })
    };
    let talk = scene.talk();
    for turn in 1..=MOVES {
        let far = FILE_BYTES * turn / (MOVES + 2);
        skein_testkit::eventually("the upload gets on", || {
            std::future::ready(sent.load(Ordering::Relaxed) > far)
        })
        .await;
        scene.alice.network_changed().await;
    }
    tokio::time::timeout(PATIENCE, uploading).await.expect("in time").expect("no panic");
    let (count, longest) = talk.stop().await;
    println!("{count} messages and {MOVES} moves; the longest wait was {longest:?}");
    scene.bob_has(count + 1).await;
    let (opened, states) = (opened.load(Ordering::Relaxed), seen.states());
    // Where the machine stands still for most of a second, another connection is made beside the
    // silent one; otherwise the upload does not notice.
    let silences = states.iter().filter(|status| matches!(status, Status::Reconnecting { .. }));
    assert!((1..=1 + silences.count()).contains(&opened), "opened {opened} times: {states:?}");
    assert!(states.iter().all(Status::has_session), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_noticed_and_its_end_as_well() {
    let scene = Scene::new().await;
    let talk = scene.talk();
    let (began, patience) = (Instant::now(), PATIENCE);
    scene.relay.cut(true);
    until(&scene.alice, "alice notices", |status| {
        matches!(status, Status::Reconnecting { .. } | Status::Offline { .. })
    })
    .await;
    println!("the stall was known after {:?} (round trip {:?})", began.elapsed(), 2 * DELAY);
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(began.elapsed())).await;
    scene.relay.cut(false);
    let back = Instant::now();
    until(&scene.alice, "alice is back", |status| matches!(status, Status::Online { .. })).await;
    println!("and its end after {:?}", back.elapsed());
    let (count, longest) = talk.stop().await;
    println!("{count} messages; the longest wait was {longest:?}");
    assert!(longest < patience);
    scene.bob_has(count).await;
}

/// The server has sent as much as it may when the path goes, so it could not even acknowledge what
/// asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_outlives_a_blackout() {
    let scene = Scene::new().await;
    let (path, copy) = (scene.folder.path().join("sea.bin"), scene.folder.path().join("copy.bin"));
    let bytes: Vec<u8> = (0..FILE_BYTES).map(|at| (at % 251) as u8).collect();
    tokio::fs::write(&path, &bytes).await.expect("the folder is ours");
    let delivery = scene.alice.send_file(scene.conversation, &path, |_| {}).await.expect("sent");
    let seq = delivery.acknowledged().await.expect("appended");
    let log = LogId::Conversation(scene.conversation);
    let entry = scene.alice.entry(log, seq).await.expect("it is there");
    let Body::File(file) = entry.body else { panic!("{entry:?}") };
    let rate = Rate { bits_per_second: 20_000_000, queue: Queue::Time(4 * DELAY) };
    scene.relay.set_both(Conditions { rate: Some(rate), ..Conditions::delayed(DELAY) });
    let seen = Seen::of(&scene.alice).await;
    let (opened, fetched) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, watched) = (Arc::clone(&opened), Arc::clone(&fetched));
    let downloading = {
        let (alice, copy) = (scene.alice.clone(), copy.clone());
        tokio::spawn(async move {
            let watcher = move |now: Progress| match now.phase {
                Phase::Opened => drop(counted.fetch_add(1, Ordering::Relaxed)),
                Phase::Receiving => watched.store(now.done as usize, Ordering::Relaxed),
                _ => {}
            };
            alice.download(&file, Variant::Original, &copy, false, watcher).await.expect("fetched");
        })
    };
    let gets_beyond = |bytes| {
        let fetched = &fetched;
        skein_testkit::eventually("the download gets on", move || {
            std::future::ready(fetched.load(Ordering::Relaxed) > bytes)
        })
    };
    gets_beyond(FILE_BYTES / 3).await;
    scene.relay.cut(true);
    until(&scene.alice, "alice notices", |status| !matches!(status, Status::Online { .. })).await;
    tokio::time::sleep(BLACKOUT).await;
    let before = fetched.load(Ordering::Relaxed);
    scene.relay.cut(false);
    let back = Instant::now();
    gets_beyond(before).await;
    println!("the first bytes came {:?} after the blackout's end", back.elapsed());
    tokio::time::timeout(PATIENCE, downloading).await.expect("in time").expect("no panic");
    assert!(tokio::fs::read(&copy).await.expect("the folder is ours") == bytes);
    // Once, unless the connection beside the silent one has won the race, which takes some luck.
    let opened = opened.load(Ordering::Relaxed);
    assert!(opened <= 2, "{opened}");
    println!("it was opened {opened} times");
    let states = seen.states();
    assert!(!states.contains(&Status::Reconnecting { lost: true }), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again_loses_and_doubles_nothing() {
    let mut scene = Scene::new().await;
    let talk = scene.talk();
    let seen = Seen::of(&scene.alice).await;
    scene.server.kill();
    until(&scene.alice, "alice notices", |status| !matches!(status, Status::Online { .. })).await;
    tokio::task::block_in_place(|| scene.server.restart());
    until(&scene.alice, "alice is back", |status| matches!(status, Status::Online { .. })).await;
    let (count, longest) = talk.stop().await;
    println!("{count} messages; the longest wait was {longest:?}");
    scene.bob_has(count).await;
    assert!(seen.states().iter().any(|status| matches!(status, Status::Reconnecting { .. })));
}
