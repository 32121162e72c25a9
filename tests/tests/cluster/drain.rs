//! Nodes are drained while messages and files go through them, one because an operator says so, one
//! because its process is told to end: nothing is lost, doubled or out of order. How long messages took, and how often a client was offline, is printed: that is a matter
//! of time, which a test does not judge.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use skein_client::{Client, ConversationId, EntryId, Event, LogId, Seq, Text};
use skein_testkit::{PATIENCE, eventually};
use tokio::task::{JoinHandle, block_in_place};

use crate::{
    operators,
    scene::{Pair, Scene},
};

/// The node that an operator drains.
const ORDERED: &str = "chat-1";
/// The node that is only told to end.
const STOPPED: &str = "chat-2";
/// Conversations: enough that each node has some of their members.
const PAIRS: usize = 6;
/// Time between two messages of one member: with twelve of them, 50 messages a second.
const MESSAGE_EVERY: Duration = Duration::from_millis(240);
/// How long things go on undisturbed, for comparison.
const UNDISTURBED: Duration = Duration::from_secs(4);
/// Over how long each node's sessions are moved.
const DRAIN_OVER: Duration = Duration::from_secs(3);
/// Bytes of each file: long enough under way to be moved.
const FILE_BYTES: usize = 24 << 20;

/// What all tasks note.
#[derive(Default)]
struct Notes {
    over: AtomicBool,
    sent: Mutex<HashMap<EntryId, Instant>>,
    /// Microseconds, of those since it was read.
    slowest_us: AtomicU64,
    acknowledged: AtomicU64,
    heard: AtomicU64,
    files: AtomicU64,
    /// How often a client said that it has no connection. On a machine that has time for it, never:
    /// the next connection is made before the last one is left.
    offline: AtomicU64,
}

pub(crate) async fn a_node_is_drained_without_a_gap(scene: &mut Scene) {
    let notes = Arc::new(Notes::default());
    let mut pairs = Vec::new();
    for number in 0..PAIRS {
        pairs.push(scene.pair(&format!("left{number}"), &format!("right{number}")).await);
    }
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        for client in [&pair.left, &pair.right] {
            tasks.push(tokio::spawn(listen(Arc::clone(client), Arc::clone(&notes))));
            let (client, notes) = (Arc::clone(client), Arc::clone(&notes));
            tasks.push(tokio::spawn(chat(client, pair.conversation, notes)));
        }
        if number < 2 {
            let path = scene.folder.path().join(format!("file-{number}"));
            tasks.push(tokio::spawn(upload(pair, &path, Arc::clone(&notes))));
        }
    }
    tokio::time::sleep(UNDISTURBED).await;
    println!("undisturbed: the slowest message took {:?}", notes.take_slowest());
    // One after the other, so that every session is moved, and there is always somewhere to go.
    block_in_place(|| {
        let over = format!("{}s", DRAIN_OVER.as_secs());
        let output = scene.cluster.admin(&["drain", ORDERED, "--over", &over]);
        assert!(output.status.success(), "{output:?}");
    });
    tokio::time::sleep(DRAIN_OVER + Duration::from_secs(2)).await;
    println!("{ORDERED} drained: the slowest message took {:?}", notes.take_slowest());
    end_and_start(scene, ORDERED);
    println!("{ORDERED} ended and is back: the slowest took {:?}", notes.take_slowest());
    // Its process gets SIGTERM, and nothing was said before.
    let sessions = || block_in_place(|| operators::sessions(scene, STOPPED));
    eventually("it has sessions", || async { sessions() > 0 }).await;
    let (sessions, told) = (sessions(), told_to_move(scene));
    end_and_start(scene, STOPPED);
    let told = told_to_move(scene) - told;
    println!(
        "{STOPPED} ended with {sessions} sessions, of which it sent {told} elsewhere, and is back: \
         the slowest took {:?}",
        notes.take_slowest()
    );
    assert!(told > 0, "sessions were ended, not moved:\n{}", scene.cluster.log(STOPPED));
    notes.over.store(true, Ordering::Relaxed);
    for task in tasks {
        tokio::time::timeout(PATIENCE, task).await.expect("in time").expect("nothing is wrong");
    }
    let counts = [&notes.acknowledged, &notes.heard, &notes.files, &notes.offline];
    let [acknowledged, heard, files, offline] = counts.map(|one| one.load(Ordering::Relaxed));
    println!("{acknowledged} messages acknowledged, {heard} heard live, {files} files sent");
    println!("clients were without a connection {offline} times");
    for pair in &pairs {
        pair.left.close().await;
        pair.right.close().await;
    }
}

fn end_and_start(scene: &mut Scene, name: &str) {
    block_in_place(|| {
        scene.cluster.terminate(name);
        let status = scene.cluster.wait(name);
        assert!(status.success(), "{name} ended with {status}:\n{}", scene.cluster.log(name));
        scene.cluster.restart(name);
    });
}

/// How often the node that is only stopped has told a session to move, by its log.
fn told_to_move(scene: &Scene) -> usize {
    scene.cluster.log(STOPPED).matches("a session is told to move").count()
}

impl Notes {
    fn take_slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_us.swap(0, Ordering::Relaxed))
    }

    /// A message has arrived, acknowledged or heard.
    fn arrived(&self, id: EntryId) {
        let sent = self.sent.lock().expect("no holder panics").get(&id).copied();
        let took = sent.map_or(Duration::ZERO, |at| at.elapsed());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.slowest_us.fetch_max(took_us, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Writes until it is over; each message is acknowledged behind the one before.
async fn chat(client: Arc<Client>, conversation: ConversationId, notes: Arc<Notes>) {
    let mut waiting = Vec::new();
    let mut number = 0_u64;
    while !notes.is_over() {
        let at = Instant::now();
        let text = Text::parse(format!("message {number}")).expect("a text");
        let delivery = client.send_text(conversation, text).await.expect("kept");
        let id = delivery.id();
        notes.sent.lock().expect("no holder panics").insert(id, at);
        let notes = Arc::clone(&notes);
        waiting.push(tokio::spawn(async move {
            let seq = delivery.acknowledged().await.expect("acknowledged");
            notes.arrived(id);
            notes.acknowledged.fetch_add(1, Ordering::Relaxed);
            seq
        }));
        number += 1;
        tokio::time::sleep(MESSAGE_EVERY).await;
    }
    let mut last = Seq::ZERO;
    for task in waiting {
        let seq = tokio::time::timeout(PATIENCE, task).await.expect("in time").expect("no panic");
        assert!(seq > last, "the order of writing is the order of the log");
        last = seq;
    }
}

/// Hears everything once and in order.
async fn listen(client: Arc<Client>, notes: Arc<Notes>) {
    let mut events = client.events().await.expect("the home can be read");
    let mut last: HashMap<LogId, Seq> = HashMap::new();
    while !notes.is_over() {
        let next = tokio::time::timeout(MESSAGE_EVERY, events.next()).await;
        match next.map(|event| event.expect("the client goes on")) {
            Ok(Event::Entry { log, entry }) => {
                if let Some(last) = last.insert(log, entry.seq) {
                    assert_eq!(entry.seq, last.next(), "once, in order, no gap");
                }
                notes.arrived(entry.id);
                notes.heard.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Event::Status(status)) if !status.has_session() => {
                println!("offline for a moment: {status:?}");
                notes.offline.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Sends the same file under new names until it is over; each arrives bit for bit, or its sending
/// fails.
fn upload(
    pair: &Pair,
    path: &Path,
    notes: Arc<Notes>,
) -> impl Future<Output = ()> + Send + 'static {
    let (client, conversation, path) = (Arc::clone(&pair.left), pair.conversation, path.to_owned());
    async move {
        let bytes: Vec<u8> =
            (0..FILE_BYTES / 4).flat_map(|word| (word as u32).to_le_bytes()).collect();
        let mut number = 0;
        while !notes.is_over() {
            let path = path.with_extension(number.to_string());
            tokio::fs::write(&path, &bytes).await.expect("the folder is ours");
            let delivery = client.send_file(conversation, &path, drop).await.expect("sent");
            delivery.acknowledged().await.expect("acknowledged");
            tokio::fs::remove_file(&path).await.expect("the folder is ours");
            notes.files.fetch_add(1, Ordering::Relaxed);
            number += 1;
        }
    }
}
