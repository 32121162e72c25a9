//! The disk is full on which uploads wait for the bucket: files that are sent stand still, messages
//! and files that are fetched go on, and with room again the files go on where they were.

use std::{fs, os::unix::fs::symlink};

use serde_json::Value;
use skein_testkit::{
    cli::{Cli, Watcher},
    disk::SmallDisk,
    s3::S3,
    server::Server,
};

const MIB: u64 = 1024 * 1024;
/// The disk for uploads under way.
const DISK_BYTES: u64 = 16 * MIB;
/// What of it is free at first: less than a part of a file, so that none is on its way to the bucket.
const FREE_BYTES: u64 = 5 * MIB;
/// The file that does not fit.
const FILE_BYTES: u64 = 20 * MIB;
/// Messages that each of the two writes meanwhile.
const MESSAGES: usize = 20;

fn bytes(count: u64) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

/// The number of an entry, as programs are told it.
fn number(object: &Value) -> u64 {
    object["seq"].as_u64().expect("a number")
}

/// A server whose files go to this bucket, by way of this disk.
fn server(s3: &S3, disk: &SmallDisk) -> Server {
    let mut server = Server::with_config(&format!(
        "[blobs]\nendpoint = {:?}\nbucket = {:?}\nregion = {:?}\naccess_key = {:?}\n\
         secret_key = {:?}\nallow_http = true\n",
        s3.endpoint(),
        s3.bucket(),
        s3.region(),
        s3.access_key(),
        s3.secret_key()
    ));
    server.terminate();
    assert!(server.wait().success());
    let staging = server.data().join("staging");
    fs::remove_dir_all(&staging).expect("the server has made it");
    symlink(disk.path(), &staging).expect("the folder is ours");
    server.restart();
    server
}

/// Waits until the only transfer of who watches is in this state.
fn reaches(watcher: &Watcher, state: &str) -> Value {
    watcher.find(|event| event["event"] == "transfer" && event["state"] == state)
}

#[test]
fn messages_go_on_while_the_staging_disk_is_full() {
    let (disk, s3) = (SmallDisk::mount(DISK_BYTES), S3::start());
    let server = server(&s3, &disk);
    let (alice, bob) = Cli::contacts(server.http());
    fs::write(alice.path("small.bin"), bytes(MIB)).expect("ours");
    let small = number(&alice.json(&["send", "bob", "--file", "small.bin"])[0]).to_string();

    disk.take(usize::try_from(DISK_BYTES - FREE_BYTES).expect("a size"));
    let file = bytes(FILE_BYTES);
    fs::write(alice.path("large.bin"), &file).expect("ours");
    alice.json(&["send", "bob", "--file", "large.bin", "--background"]);
    let watcher = alice.start(&["watch"]);
    let stopped = reaches(&watcher, "waiting");
    assert!(stopped["done"].as_u64() < Some(FILE_BYTES), "{stopped}");

    let mut seqs = Vec::new();
    for round in 0..MESSAGES {
        for (from, to) in [(&alice, "bob"), (&bob, "alice")] {
            let sent = from.json(&["send", to, &format!("to {to}: {round}")]);
            seqs.push(number(&sent[0]));
        }
    }
    let first = seqs[0];
    assert!(seqs.iter().copied().eq(first..first + 2 * MESSAGES as u64), "{seqs:?}");
    for round in 0..MESSAGES {
        let wanted = format!("to alice: {round}");
        watcher.find(|event| event["text"] == wanted.as_str());
    }
    bob.json(&["get", "alice", &small, "-o", "small.bin"]);
    assert!(fs::read(bob.path("small.bin")).expect("there") == bytes(MIB), "bit for bit");
    let open = alice.json(&["transfers"]);
    assert_ne!(open[0]["state"], "done", "there is no room for it: {open:?}");

    disk.free();
    let on = reaches(&watcher, "running");
    assert!(on["done"].as_u64() >= Some(MIB), "what was received is still there: {on}");
    let done = reaches(&watcher, "done");
    assert_eq!(done["done"], FILE_BYTES, "{done}");
    let large = number(&bob.json(&["log", "alice", "-n", "1"])[0]).to_string();
    bob.json(&["get", "alice", &large, "-o", "large.bin"]);
    assert!(fs::read(bob.path("large.bin")).expect("there") == file, "bit for bit");
}
