//! Files with the command line client: bit for bit, thumbnails, and continuing where they stopped.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant, UNIX_EPOCH},
};

use image::{ImageFormat, ImageReader, Rgb, RgbImage};
use sha2::{Digest, Sha256};
use skein_core::{
    entry::{Content, Draft},
    id::{BlobId, ConversationId, EntryId},
    name::FileName,
};
use skein_testkit::{PATIENCE, cli::Cli, network::Conditions, server::Server, transfer::Synthetic};
use skein_wire::body::encode_draft;

const MIB: u64 = 1024 * 1024;
/// Bytes that a kill may cost.
const AGAIN_BYTES_MAX: u64 = 2 * MIB;

fn sha256(path: &Path) -> Vec<u8> {
    let mut file = fs::File::open(path).expect("the file is there");
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).expect("the file can be read");
    hasher.finalize().to_vec()
}

/// How far the server has the only upload under way durably.
fn durable(server: &Server) -> u64 {
    let store = rusqlite::Connection::open(server.data().join("skein.db")).expect("the store");
    store.busy_timeout(PATIENCE).expect("a timeout");
    let durable =
        store.query_row("SELECT max(durable) FROM uploads", [], |row| row.get::<_, Option<i64>>(0));
    u64::try_from(durable.expect("the store can be read").unwrap_or(0)).expect("an offset")
}

fn await_durable(server: &Server, at_least: u64) {
    let deadline = Instant::now() + PATIENCE;
    while durable(server) < at_least {
        assert!(Instant::now() < deadline, "the upload does not get on");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(status.expect("kill(1) is there").success());
}

/// How far a process has read the file, by its open descriptors (proc(5), fdinfo).
fn read_position(process: u32, path: &Path) -> u64 {
    let path = fs::canonicalize(path).expect("the file is there");
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("the process is ours");
    let positions = descriptors.filter_map(|descriptor| {
        let descriptor = descriptor.ok()?;
        (fs::read_link(descriptor.path()).ok()? == path).then_some(())?;
        let number = descriptor.file_name().into_string().ok()?;
        let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{number}")).ok()?;
        info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok())
    });
    positions.max().expect("the client has the file open")
}

#[test]
fn a_photo_arrives_bit_for_bit_with_its_thumbnail() {
    let server = Server::start();
    let (alice, bob) = Cli::contacts(server.http());
    let photo = alice.path("photo.jpg");
    RgbImage::from_fn(1600, 1200, |x, y| Rgb([(x / 7) as u8, (y / 5) as u8, ((x ^ y) / 9) as u8]))
        .save_with_format(&photo, ImageFormat::Jpeg)
        .expect("a real JPEG");
    let sent = alice.json(&["send", "bob", "--file", "photo.jpg"]);
    assert_eq!(sent[0]["seq"], 1);

    let log = bob.json(&["log", "alice"]);
    let file = &log[0]["file"];
    assert_eq!((&log[0]["kind"], &file["media_type"]), (&"picture".into(), &"image/jpeg".into()));
    assert_eq!((&file["width"], &file["height"]), (&1600.into(), &1200.into()));
    assert_eq!(file["size"], fs::metadata(&photo).expect("there").len());
    let hash = blake3::hash(&fs::read(&photo).expect("there")).to_hex().to_string();
    assert_eq!(file["blake3"], hash);

    bob.json(&["get", "alice", "1"]);
    assert_eq!(sha256(&bob.path("photo.jpg")), sha256(&photo));
    let exists = bob.run(&["get", "alice", "1"]).failure(1);
    assert!(exists.stderr.contains("exists"), "{exists:?}");

    let small = bob.path("small.jpg");
    let deadline = Instant::now() + PATIENCE;
    while !bob.run(&["get", "alice", "1", "--thumbnail", "-o", "small.jpg"]).status.success() {
        assert!(Instant::now() < deadline, "no thumbnail");
    }
    let reader = ImageReader::open(&small).expect("there").with_guessed_format().expect("readable");
    assert_eq!(reader.format(), Some(ImageFormat::Jpeg));
    assert_eq!(reader.into_dimensions().expect("a JPEG"), (320, 240));
}

#[test]
fn an_upload_survives_two_kills_of_the_client_and_one_of_the_server() {
    let mut server = Server::start();
    let (alice, bob) = Cli::contacts(server.http());
    let file = alice.path("big.bin");
    Synthetic::new(300 * MIB, 7).write(&file);
    let command = ["send", "bob", "--file", "big.bin"];

    let mut again = Vec::new();
    for kill_server in [false, true, false] {
        let mut client = alice.start(&command);
        await_durable(&server, durable(&server) + 40 * MIB);
        signal(client.id(), "STOP");
        let read = read_position(client.id(), &file);
        if kill_server {
            server.kill();
            let durable = durable(&server);
            again.push(read.saturating_sub(durable));
            server.restart();
            signal(client.id(), "CONT");
            // The same process goes on by itself.
            await_durable(&server, durable + 20 * MIB);
        } else {
            again.push(read.saturating_sub(durable(&server)));
        }
        client.kill();
    }
    println!("bytes sent again after each kill: {again:?}");
    assert!(again.iter().all(|bytes| *bytes <= AGAIN_BYTES_MAX), "{again:?}");

    let had = durable(&server);
    assert!(had < 300 * MIB, "killed too late to show anything");
    let sent = alice.json(&command);
    let resumed = sent[0]["resumed_from"].as_u64().expect("a number");
    assert!(resumed >= had, "it went on at {resumed} of {had}");
    bob.json(&["get", "alice", "1", "-o", "copy.bin"]);
    assert_eq!(sha256(&bob.path("copy.bin")), sha256(&file));
    assert_eq!(alice.json(&["log", "bob"]).len(), 1, "one message, however often it was sent");
}

#[test]
fn a_download_continues_after_its_client_was_killed() {
    let size = 60 * MIB;
    let (server, relay) = Server::behind_a_relay("");
    let (alice, bob) = Cli::contacts(server.http());
    let file = alice.path("big.bin");
    Synthetic::new(size, 7).write(&file);
    alice.json(&["send", "bob", "--file", "big.bin"]);

    // More than ten seconds for all of it, so that there is something to interrupt.
    let slow = Conditions::delayed(Duration::from_millis(5));
    relay.set_both(slow.with_rate(40_000_000, Duration::from_millis(100)));
    let mut client = bob.start(&["get", "alice", "1", "-o", "copy.bin"]);
    let part = bob.path("copy.bin.part");
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&part).map_or(0, |data| data.len()) < 8 * MIB {
        assert!(Instant::now() < deadline, "the download does not get on");
        std::thread::sleep(Duration::from_millis(2));
    }
    client.kill();
    let had = fs::metadata(&part).expect("what came stays").len();
    assert!(had < size, "killed too late to show anything");
    relay.set_both(Conditions::default());
    let got = bob.json(&["get", "alice", "1", "-o", "copy.bin"]);
    let resumed = got[0]["resumed_from"].as_u64().expect("a number");
    assert!(resumed > 0 && resumed <= had, "resumed from {resumed} of {had}");
    assert_eq!(sha256(&bob.path("copy.bin")), sha256(&file));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_through_cuts_loss_and_another_address() {
    let (server, relay) = Server::behind_a_relay("");
    let (alice, bob) = Cli::contacts(server.http());
    let file = alice.path("walk.bin");
    Synthetic::new(12 * MIB, 7).write(&file);
    let bad = Conditions::delayed(Duration::from_millis(5)).with_loss(0.01);
    relay.set_both(bad);

    let client = alice.start(&["send", "bob", "--file", "walk.bin"]);
    for at_mib in [2, 6] {
        await_durable(&server, at_mib * MIB);
        relay.cut(true);
        // A walk out of the door: nothing for a while, then another address.
        tokio::time::sleep(Duration::from_millis(800)).await;
        relay.rebind();
        relay.set_both(bad);
    }
    let sent = client.find(|object| object["seq"].is_u64());
    assert_eq!(sent["resumed_from"], 0, "the same process, from the first byte on");
    relay.set_both(Conditions::default());
    bob.json(&["get", "alice", "1", "-o", "copy.bin"]);
    assert_eq!(sha256(&bob.path("copy.bin")), sha256(&file));
}

/// What a client leaves behind that has uploaded `file` and was then away for so long that the
/// server threw it away: a message that waits, and shows a file that is not there.
fn leave_too_late(alice: &Cli, conversation: u64, file: &Path) {
    let (id, name) = (EntryId(rand::random()), FileName::parse("note.txt").expect("a name"));
    let content = Content::File { blob: BlobId(rand::random()), name };
    let draft = Draft { conversation: ConversationId(conversation), id, content };
    let data = fs::metadata(file).expect("there");
    let changed = data.modified().expect("a time").duration_since(UNIX_EPOCH).expect("after 1970");
    let home = rusqlite::Connection::open(alice.home().join("skein.db")).expect("the home");
    let sql = "INSERT INTO drafts (id, draft) VALUES (?1, ?2)";
    home.execute(sql, (id.0, encode_draft(&draft))).expect("the draft waits");
    let sql = "INSERT INTO uploads
        (path, conversation, size, mtime_ns, hash, media_type, upload, entry)
        VALUES (?1, ?2, ?3, ?4, ?5, 'text/plain', ?6, ?7)";
    let path = fs::canonicalize(file).expect("there");
    let row = (
        path.to_str(),
        conversation.cast_signed(),
        data.len().cast_signed(),
        i64::try_from(changed.as_nanos()).expect("before 2262"),
        *blake3::hash(&fs::read(file).expect("there")).as_bytes(),
        rand::random::<[u8; 16]>(),
        id.0,
    );
    home.execute(sql, row).expect("the upload is known");
}

#[test]
fn a_file_whose_message_came_too_late_is_sent_again() {
    let server = Server::start();
    let (alice, bob) = Cli::contacts(server.http());
    let conversation = alice.json(&["contacts"])[0]["conversation"].as_u64().expect("a number");
    let file = alice.path("note.txt");
    fs::write(&file, "written long ago").expect("the folder is ours");

    leave_too_late(&alice, conversation, &file);
    let told = alice.run_until_told(&["contacts"], "not sent to bob");
    assert!(told.stderr.contains("note.txt"), "{told:?}");
    assert_eq!(alice.json(&["send", "bob", "--file", "note.txt"])[0]["seq"], 1);

    // Also at once, when nobody was told before.
    leave_too_late(&alice, conversation, &file);
    let sent = alice.run(&["send", "bob", "--file", "note.txt"]).success();
    assert!(!sent.stderr.contains("not sent"), "{sent:?}");
    bob.json(&["get", "alice", "2", "-o", "copy.txt"]);
    assert_eq!(sha256(&bob.path("copy.txt")), sha256(&file));
    assert_eq!(bob.json(&["log", "alice"]).len(), 2);
}

#[test]
fn someone_elses_file_cannot_be_fetched() {
    let server = Server::start();
    let (alice, _bob) = Cli::contacts(server.http());
    let eve = Cli::registered(server.http(), "eve");
    fs::write(alice.path("secret.txt"), "for bob").expect("the folder is ours");
    alice.json(&["send", "bob", "--file", "secret.txt"]);
    eve.run(&["get", "alice", "1"]).failure(1);
    eve.run(&["log", "alice"]).failure(1);
}
