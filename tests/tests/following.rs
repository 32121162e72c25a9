//! Files that are taken while they are being sent, with the command line client: the receiver has most
//! of a film before its sender may send the rest, through a cut network and a killed server.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use skein_core::limit::UPLOAD_AHEAD_BYTES_MAX;
use skein_testkit::{
    PATIENCE,
    cli::{Cli, Watcher},
    network::{Conditions, UdpRelay},
    server::Server,
    transfer::Synthetic,
};

const MIB: u64 = 1024 * 1024;
/// What the sender's path carries: slow enough for others to come, and for a cut, before the end.
const BITS_PER_SECOND: u64 = 20_000_000;
/// Bytes of a film, which take ten seconds on that path.
const FILM_BYTES: u64 = 24 * MIB;
/// How long packets take each way.
const DELAY: Duration = Duration::from_millis(5);

/// A server, and two contacts. Alice's packets go through the relay, and bob's do not.
struct Scene {
    server: Server,
    relay: UdpRelay,
    alice: Cli,
    bob: Cli,
}

impl Scene {
    fn start() -> Self {
        let mut server = Server::start();
        // Each remembers the node as it was named to them.
        let bob = Cli::registered(server.http(), "bob");
        let relay = UdpRelay::start(server.quic()).expect("a relay");
        server.kill();
        server.restart_with(&format!("[chat]\nadvertise = \"{}\"\n", relay.address()));
        let alice = Cli::registered(server.http(), "alice");
        alice.json(&["add", "bob"]);
        bob.json(&["accept", "alice"]);
        let path = Conditions::delayed(DELAY);
        relay.set_both(path.with_rate(BITS_PER_SECOND, Duration::from_millis(100)));
        Self { server, relay, alice, bob }
    }

    /// How far the server has the only upload.
    fn durable(&self) -> u64 {
        let path = self.server.data().join("skein.db");
        let store = rusqlite::Connection::open(path).expect("the store");
        store.busy_timeout(PATIENCE).expect("a timeout");
        let sql = "SELECT max(durable) FROM uploads";
        let durable = store.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        durable.expect("the store can be read").unwrap_or(0).cast_unsigned()
    }

    /// Cuts the sender off once the server has so much. Answers where what it has sent ends at the
    /// latest: no client runs further ahead of what it knows to be received.
    fn cut_after(&self, at_least: u64) -> u64 {
        wait_until("the upload gets on", || self.durable() >= at_least);
        self.relay.cut(true);
        self.durable() + UPLOAD_AHEAD_BYTES_MAX
    }

    /// The sender is back, and nothing slows it down any more.
    fn let_it_end(&self) {
        self.relay.set_both(Conditions::delayed(DELAY));
        self.relay.cut(false);
    }
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len())
}

/// Waits until a `watch` tells of a coming file.
fn told(watcher: &Watcher) -> Value {
    watcher.find(|object| object["event"] == "coming")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_seen_before_its_sender_may_send_the_end() {
    let size = FILM_BYTES;
    let scene = Scene::start();
    let Scene { alice, bob, .. } = &scene;
    let film = alice.path("geese.mp4");
    Synthetic::new(size, 11).write(&film);
    let watcher = bob.start(&["watch"]);
    watcher.find(|object| object["caught_up"] == true);

    let sending = alice.start(&["send", "bob", "--file", "geese.mp4"]);
    let coming = told(&watcher);
    assert_eq!((&coming["name"], &coming["file"]["size"]), (&"alice".into(), &size.into()));
    assert_eq!(coming["file"]["name"], "geese.mp4");
    let following = bob.start(&["get", "alice", "coming", "-o", "copy.mp4"]);

    let furthest = scene.cut_after(12 * MIB);
    assert!(furthest < size, "cut too late to show anything");
    // The sender cannot have sent the end, and can do nothing now.
    let (copy, part) = (bob.path("copy.mp4"), bob.path("copy.mp4.part"));
    wait_until("the follower has what was received", || length(&part) == scene.durable());
    let (seen, original) = (fs::read(&part).expect("there"), fs::read(&film).expect("there"));
    assert!((12 * MIB..=furthest).contains(&(seen.len() as u64)), "{}", seen.len());
    assert!(seen == original[..seen.len()]);
    assert!(!copy.exists(), "it is no file before it is checked");
    assert!(bob.json(&["log", "alice"]).is_empty(), "a log shows what is complete");

    scene.let_it_end();
    let got = following.find(|object| object["path"].is_string());
    assert_eq!(got["blake3"], coming["file"]["blake3"]);
    assert!(fs::read(&copy).expect("there") == original);
    sending.find(|object| object["seq"] == 1);
    let entry = watcher.find(|object| object["event"] == "entry" && object["kind"] == "file");
    assert_eq!(entry["file"], coming["file"], "the message names what was announced");
    let none = bob.run(&["--json", "get", "alice", "coming"]).failure(1).objects();
    assert_eq!(none[0]["error"]["code"], "nothing_coming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_in_the_background_survives_the_server_and_its_own_process() {
    let size = FILM_BYTES;
    let mut scene = Scene::start();
    let film = scene.alice.path("geese.mp4");
    Synthetic::new(size, 11).write(&film);
    let sending = scene.alice.start(&["send", "bob", "--file", "geese.mp4"]);
    wait_until("something is there", || scene.durable() > 0);
    let queue = ["get", "alice", "coming", "-o", "copy.mp4", "--background"];
    let queued = scene.bob.json(&queue);
    assert_eq!(queued[0]["state"], "queued");
    let mut watcher = scene.bob.start(&["watch"]);

    let part = scene.bob.path("copy.mp4.part");
    assert!(scene.cut_after(6 * MIB) < size, "cut too late to show anything");
    wait_until("the follower has what was received", || length(&part) == scene.durable());
    let received = scene.durable();
    scene.server.kill();
    scene.server.restart();
    assert!(scene.durable() >= received, "what was received survives");
    watcher.kill();
    let watcher = scene.bob.start(&["watch"]);
    scene.let_it_end();
    sending.find(|object| object["seq"] == 1);
    watcher.find(|object| object["event"] == "transfer" && object["state"] == "done");
    let (copy, original) = (scene.bob.path("copy.mp4"), fs::read(&film).expect("there"));
    assert!(fs::read(copy).expect("there") == original);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_sender_gives_up_never_becomes_a_file() {
    let scene = Scene::start();
    let Scene { alice, bob, .. } = &scene;
    // More than is sent before somebody has followed it and it is given up.
    Synthetic::new(2 * FILM_BYTES, 11).write(&alice.path("geese.mp4"));
    let queued = alice.json(&["send", "bob", "--file", "geese.mp4", "--background"]);
    let mut sending = alice.start(&["transfers", "run"]);
    wait_until("something is there", || scene.durable() > 0);
    let mut following = bob.start(&["get", "alice", "coming", "-o", "copy.mp4"]);
    let part = bob.path("copy.mp4.part");
    wait_until("the follower has something", || length(&part) > 0);
    alice.json(&["transfers", "cancel", &queued[0]["transfer"].to_string()]);
    let failed = following.find(|object| object["error"].is_object());
    assert_eq!(failed["error"]["code"], "not_found");
    assert_eq!(following.wait().0.code(), Some(1));
    assert!(!bob.path("copy.mp4").exists());
    sending.kill();
}
