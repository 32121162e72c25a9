//! Files in the background, with the command line client: queued once, carried out by whatever process
//! is there, through kills, pauses and second thoughts.

use std::{
    cell::Cell,
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
/// What a path carries on which there is time to interrupt: 60 MiB take more than ten seconds.
const BITS_PER_SECOND: u64 = 40_000_000;

/// A server behind a relay that carries this much.
fn behind_a_slow_relay() -> (Server, UdpRelay) {
    let (server, relay) = Server::behind_a_relay("");
    let path = Conditions::delayed(Duration::from_millis(5));
    relay.set_both(path.with_rate(BITS_PER_SECOND, Duration::from_millis(100)));
    (server, relay)
}

fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut fs::File::open(path).expect("there"), &mut hasher).expect("readable");
    hasher.finalize()
}

/// The uploads that the server has open, with how far each is durable.
fn open_uploads(server: &Server) -> Vec<u64> {
    let store = rusqlite::Connection::open(server.data().join("skein.db")).expect("the store");
    store.busy_timeout(PATIENCE).expect("a timeout");
    let sql = "SELECT durable FROM uploads WHERE state <> 2";
    let mut query = store.prepare(sql).expect("the table");
    let rows = query.query_map([], |row| row.get::<_, i64>(0)).expect("the rows");
    rows.map(|row| row.expect("a number").cast_unsigned()).collect()
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn queue(cli: &Cli, file: &str) -> String {
    let queued = cli.json(&["send", "bob", "--file", file, "--background"]);
    assert_eq!(queued[0]["state"], "queued");
    queued[0]["transfer"].to_string()
}

fn one(cli: &Cli, id: &str) -> Value {
    let all = cli.json(&["transfers"]);
    all.into_iter().find(|one| one["transfer"].as_u64() == id.parse().ok()).expect("it is listed")
}

/// Waits until `watcher` says that the transfer is in this state.
fn await_state(watcher: &Watcher, id: &str, state: &str) -> Value {
    watcher.find(|object| is_in_state(object, id, state))
}

fn is_in_state(object: &Value, id: &str, state: &str) -> bool {
    object["event"] == "transfer"
        && object["transfer"].as_u64() == id.parse().ok()
        && object["state"] == state
}

#[test]
fn goes_on_at_the_byte_in_the_next_process() {
    let size = 60 * MIB;
    let (server, relay) = behind_a_slow_relay();
    let (alice, bob) = Cli::contacts(server.http());
    Synthetic::new(size, 9).write(&alice.path("big.bin"));
    let id = queue(&alice, "big.bin");
    assert_eq!(queue(&alice, "big.bin"), id, "the same file is queued once");
    let refused = alice.run(&["--json", "send", "bob", "--file", "big.bin"]).failure(1);
    assert_eq!(refused.objects()[0]["error"]["code"], "in_queue");

    let mut durable = 0;
    for _ in 0..2 {
        let mut watcher = alice.start(&["watch"]);
        wait_until("the upload gets on", || {
            open_uploads(&server).first().is_some_and(|now| *now >= durable + 8 * MIB)
        });
        watcher.kill();
        assert_eq!(one(&alice, &id)["state"], "queued", "nobody is at it");
        let before = std::mem::replace(&mut durable, open_uploads(&server)[0]);
        assert!(before < durable && durable < size);
    }
    relay.set_both(Conditions::default());
    let watcher = alice.start(&["watch"]);
    let began = await_state(&watcher, &id, "running");
    assert!(began["done"].as_u64().expect("a number") >= durable, "{began} after {durable}");
    // Nothing is sent again, unless the machine stands still for so long that the client has to
    // open another connection.
    let silences = Cell::new(0);
    let done = watcher.find(|object| {
        silences.set(silences.get() + u64::from(object["status"] == "reconnecting"));
        is_in_state(object, &id, "done")
    });
    assert_eq!(done["done"], size);
    let resent = done["resent"].as_u64().expect("a number");
    assert!(resent <= silences.get() * UPLOAD_AHEAD_BYTES_MAX, "{done}");
    assert_eq!(alice.json(&["log", "bob"]).len(), 1);
    bob.json(&["get", "alice", "1", "-o", "copy.bin", "--background"]);
    let fetched = bob.json(&["transfers", "run"]);
    assert_eq!(fetched.last().expect("a transfer")["state"], "done");
    assert_eq!(hash(&bob.path("copy.bin")), hash(&alice.path("big.bin")));
    alice.json(&["transfers", "dismiss", &id]);
    assert!(alice.json(&["transfers"]).is_empty());
}

#[test]
fn a_pause_holds_over_restarts_and_a_cancel_frees_the_server() {
    let (server, _relay) = behind_a_slow_relay();
    let (alice, bob) = Cli::contacts(server.http());
    // It never arrives: on this path it would take most of a minute.
    Synthetic::new(200 * MIB, 9).write(&alice.path("big.bin"));
    fs::write(alice.path("small.txt"), "small").expect("the folder is ours");
    let big = queue(&alice, "big.bin");
    let mut watcher = alice.start(&["watch"]);
    wait_until("the upload gets on", || {
        open_uploads(&server).first().is_some_and(|durable| *durable >= 8 * MIB)
    });
    assert_eq!(alice.json(&["transfers", "pause", &big])[0]["state"], "paused");
    await_state(&watcher, &big, "paused");
    watcher.kill();
    let paused_at = open_uploads(&server)[0];

    // Another process does what is next and leaves this alone.
    let small = queue(&alice, "small.txt");
    alice.json(&["transfers", "run"]);
    assert_eq!(one(&alice, &small)["state"], "done");
    assert_eq!(one(&alice, &big)["state"], "paused");
    // What was on its way when it was paused may still have been stored, and no more.
    let stored = open_uploads(&server);
    let on_its_way = paused_at..=paused_at + UPLOAD_AHEAD_BYTES_MAX;
    assert!(matches!(stored[..], [durable] if on_its_way.contains(&durable)), "{stored:?}");

    // Somebody else's process carries the word out.
    let watcher = alice.start(&["watch"]);
    assert_eq!(alice.json(&["transfers", "resume", &big])[0]["state"], "queued");
    let began = await_state(&watcher, &big, "running");
    assert!(began["done"].as_u64().expect("a number") >= paused_at);
    alice.json(&["transfers", "cancel", &big]);
    wait_until("the server has nothing of it", || open_uploads(&server).is_empty());
    // The bytes go after the record of them.
    wait_until("its bytes are gone", || {
        let staging = fs::read_dir(server.data().join("blobs/staging")).expect("the folder");
        staging.count() == 0
    });
    assert_eq!(one(&alice, &big)["state"], "cancelled");
    let refused = alice.run(&["--json", "transfers", "resume", &big]).failure(1);
    assert_eq!(refused.objects()[0]["error"]["code"], "transfer_over");
    drop(watcher);

    // Without a process at it, the command tells the server by itself.
    let again = queue(&alice, "big.bin");
    let mut watcher = alice.start(&["watch"]);
    wait_until("the upload gets on", || {
        open_uploads(&server).first().is_some_and(|durable| *durable >= MIB)
    });
    watcher.kill();
    let cancelled = alice.run(&["transfers", "cancel", &again]).success();
    if cancelled.stderr.contains("told later") {
        // The machine was too busy for it; whatever process comes next does it.
        alice.json(&["transfers", "run"]);
    }
    assert!(open_uploads(&server).is_empty());
    assert_eq!(bob.json(&["log", "alice"]).len(), 1);
}

#[test]
fn many_files_arrive_once_whoever_carries_them_out() {
    const FILES: usize = 25;
    let server = Server::start();
    let (alice, bob) = Cli::contacts(server.http());
    for number in 0..FILES {
        let name = format!("{number}.txt");
        fs::write(alice.path(&name), format!("file {number}")).expect("the folder is ours");
        queue(&alice, &name);
    }
    // Two processes want to, and the one that does is killed.
    let mut first = alice.start(&["watch"]);
    first.find(|object| object["event"] == "transfer" && object["state"] == "done");
    let second = alice.start(&["transfers", "run"]);
    first.kill();
    let (status, errors) = { second }.wait();
    assert!(status.success(), "{errors}");
    let all = alice.json(&["transfers"]);
    assert_eq!(all.len(), FILES);
    assert!(all.iter().all(|one| one["state"] == "done" && one["done"] == one["size"]), "{all:?}");
    let log = bob.json(&["log", "alice", "-n", "100"]);
    let mut names: Vec<_> = log.iter().map(|entry| entry["file"]["name"].to_string()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((log.len(), names.len()), (FILES, FILES));
}

#[test]
fn a_file_that_is_another_one_by_now_is_not_sent() {
    let server = Server::start();
    let (alice, bob) = Cli::contacts(server.http());
    for name in ["changed.txt", "gone.txt", "same.txt"] {
        fs::write(alice.path(name), name).expect("the folder is ours");
    }
    let (changed, gone) = (queue(&alice, "changed.txt"), queue(&alice, "gone.txt"));
    let same = queue(&alice, "same.txt");
    fs::write(alice.path("changed.txt"), "quite another text").expect("the folder is ours");
    fs::remove_file(alice.path("gone.txt")).expect("the folder is ours");
    alice.json(&["transfers", "run"]);
    for (id, state, code) in
        [(&changed, "failed", "file_changed"), (&gone, "failed", "file_gone"), (&same, "done", "")]
    {
        let one = one(&alice, id);
        assert_eq!((&one["state"], one["code"].as_str().unwrap_or("")), (&state.into(), code));
    }
    alice.run(&["transfers", "resume", &gone]).failure(1);
    // Whoever resumes it means it as it is now.
    alice.json(&["transfers", "resume", &changed]);
    alice.json(&["transfers", "run"]);
    assert_eq!(one(&alice, &changed)["state"], "done");
    let log = bob.json(&["log", "alice"]);
    assert_eq!(log.len(), 2);
    bob.json(&["get", "alice", "2", "-o", "copy.txt"]);
    assert_eq!(hash(&bob.path("copy.txt")), hash(&alice.path("changed.txt")));
}
