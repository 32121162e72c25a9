//! What operators do with the embedded form, through the real binaries: look after accounts while
//! the server runs and while it does not, back it up under load and restore it, and ask what is
//! wrong.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;
use skein_testkit::{PATIENCE, binaries::binary, cli::Cli, process::patiently, server::Server};
use tempfile::TempDir;

/// The words of a command that must succeed.
fn skeind(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("skeind"));
    command.args(["--data".as_ref(), data.as_os_str()]).args(arguments).stdin(Stdio::null());
    command.output().expect("skeind starts")
}

/// The objects of an `admin` command that must succeed.
fn admin(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = skeind(data, &[&["admin", "--json"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The code with which an `admin` command fails.
fn refused(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, &[&["admin", "--json"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    error["error"]["code"].as_str().expect("a code").to_owned()
}

/// The texts in the conversation with someone, by number.
fn texts(cli: &Cli, with: &str) -> Vec<(u64, String)> {
    let entries = cli.json(&["log", with, "-n", "1000"]);
    let texts = entries.iter().filter(|entry| entry["kind"] == "text");
    texts
        .map(|entry| {
            let text = entry["text"].as_str().expect("a text").to_owned();
            (entry["seq"].as_u64().expect("a number"), text)
        })
        .collect()
}

#[test]
fn accounts_are_looked_after_with_and_without_a_running_server() {
    let mut server = Server::start();
    let data = server.data();
    let (alice, bob) = Cli::contacts(server.http());
    let names: Vec<_> = admin(&data, &["users", "list"]);
    let names: Vec<_> = names.iter().map(|user| user["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["alice", "bob"]);
    assert_eq!(admin(&data, &["nodes"])[0]["node"], "chat-1");
    // It is the only one, and nobody could connect any more.
    assert_eq!(refused(&data, &["drain", "chat-1"]), "last_node");
    assert_eq!(refused(&data, &["drain", "chat-9"]), "not_found");
    assert_eq!(admin(&data, &["nodes"])[0]["draining"], false);

    let mut watching = bob.start(&["watch"]);
    watching.find(|event| event["caught_up"] == true);
    let disabled = admin(&data, &["users", "disable", "bob"]);
    assert!(disabled[0]["disabled_ms"].is_u64() && disabled[0]["logins"] == 0, "{disabled:?}");
    watching.wait();
    let refusal = bob.with_password(&["login", "bob", "--password-stdin"]);
    assert!(refusal.stderr.contains("disabled"), "{refusal:?}");

    // The folder of a server that is stopped is worked on directly.
    server.terminate();
    assert!(server.wait().success());
    let enabled = admin(&data, &["users", "enable", "bob"]);
    assert!(enabled[0]["disabled_ms"].is_null(), "{enabled:?}");
    assert_eq!(refused(&data, &["nodes"]), "no_server");
    assert_eq!(refused(&data, &["users", "reset", "bob"]), "no_server");
    assert_eq!(refused(&data, &["users", "show", "carol"]), "not_found");
    server.restart();
    bob.with_password(&["login", "bob", "--password-stdin"]).success();

    let sessions = admin(&data, &["users", "sessions", "alice"]);
    let device = sessions[0]["device"].as_str().expect("an id").to_owned();
    assert_eq!(admin(&data, &["users", "kick", "alice", "--device", &device])[0]["logins"], 1);
    assert_eq!(refused(&data, &["users", "kick", "alice", "--device", &device]), "not_found");
    let ended = alice.run(&["send", "bob", "hello"]);
    assert!(!ended.status.success(), "{ended:?}");
    admin(&data, &["users", "reset", "alice"]);
    // It is sent on its way, not waited for.
    patiently("a code is mailed to alice", || {
        server.mails().iter().any(|mail| mail.contains("alice@example.org"))
    });

    let draining = admin(&data, &["drain", "chat-1", "--over", "1s", "--force"]);
    assert_eq!(draining[0]["over_ms"], 1000);
    // Who is told twice is told the same.
    assert_eq!(admin(&data, &["drain", "chat-1", "--over", "9s"])[0]["over_ms"], 1000);
    assert_eq!(admin(&data, &["nodes"])[0]["draining"], true);
}

/// Open uploads: more than the server tells of in one answer.
const UPLOADS: usize = 1_001;

#[test]
fn open_uploads_are_listed_to_the_last() {
    let server = Server::start();
    let data = server.data();
    let _alice = Cli::registered(server.http(), "alice");
    assert!(admin(&data, &["uploads"]).is_empty());
    // An account may not have so many. Five at a time were touched at the same moment.
    let store = rusqlite::Connection::open(data.join("skein.db")).expect("the store");
    store.busy_timeout(PATIENCE).expect("a timeout");
    let open = "WITH RECURSIVE upload (at) AS \
                (SELECT 1 UNION ALL SELECT at + 1 FROM upload WHERE at < ?1) \
                INSERT INTO uploads (account, id, blob, size, media_type, hash, state, durable, \
                hash_state, touched_ms) \
                SELECT (SELECT id FROM accounts WHERE name = 'alice'), randomblob(16), \
                randomblob(16), 5, 'text/plain', zeroblob(32), 1, 0, x'', at / 5 FROM upload";
    store.execute(open, [i64::try_from(UPLOADS).expect("a count")]).expect("they are opened");
    let listed = admin(&data, &["uploads"]);
    let ids: BTreeSet<_> = listed.iter().map(|one| one["upload"].to_string()).collect();
    assert_eq!((listed.len(), ids.len()), (UPLOADS, UPLOADS), "each once");
    assert!(
        listed.is_sorted_by_key(|one| one["touched_ms"].as_u64()),
        "the longest untouched first"
    );
}

#[test]
fn a_backup_under_chat_is_restored_and_clients_begin_anew() {
    let mut server = Server::start();
    let data = server.data();
    let (alice, bob) = Cli::contacts(server.http());
    let folder = TempDir::new().expect("a temporary folder");
    let (picture, copy) = (folder.path().join("geese.bin"), folder.path().join("copy.bin"));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    fs::write(&picture, &bytes).expect("a file");
    let picture = picture.to_str().expect("a path");
    let sent = alice.json(&["send", "bob", "--file", picture]);
    let number = sent[0]["seq"].as_u64().expect("a number").to_string();

    let backup = folder.path().join("backup");
    let path = backup.to_str().expect("a path");
    let done = AtomicBool::new(false);
    let (before, during) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Acquire) || sent < 5 {
                alice.json(&["send", "bob", &format!("message {sent}")]);
                sent += 1;
            }
            sent
        });
        let before = texts(&bob, "alice");
        let made = admin(&data, &["backup", path]);
        assert_eq!(made[0]["blobs"], 1, "{made:?}");
        assert_eq!(refused(&data, &["backup", path]), "backup");
        done.store(true, Ordering::Release);
        (before, sender.join().expect("it sends"))
    });
    alice.json(&["send", "bob", "after the backup"]);
    let all = texts(&bob, "alice");
    assert_eq!(all.len(), during + 1);

    // Everything since the backup is gone with the machine.
    server.kill();
    fs::rename(&data, folder.path().join("lost")).expect("ours");
    let restored = skeind(&data, &["admin", "restore", path]);
    assert!(restored.contains("1 file"), "{restored}");
    assert_eq!(refused(&data, &["restore", path]), "restore");
    server.restart();

    let ended = bob.run(&["find", "alice"]);
    assert!(ended.stderr.contains("log in again"), "{ended:?}");
    for (cli, name) in [(&alice, "alice"), (&bob, "bob")] {
        let login = ["login", name, "--password-stdin"];
        let answer = cli.with_password(&login);
        assert!(answer.status.success(), "{answer:?}");
    }
    alice.json(&["send", "bob", "a new beginning"]);
    let (hers, his) = (texts(&alice, "bob"), texts(&bob, "alice"));
    assert_eq!(hers, his);
    // A beginning of what there was, all that was there before the backup, and the new one.
    let kept = hers.len() - 1;
    assert!(before.len() <= kept && kept < all.len(), "{} {kept} {}", before.len(), all.len());
    assert_eq!(hers[..kept], all[..kept]);
    assert_eq!(hers[kept], (all[kept - 1].0 + 1, "a new beginning".to_owned()));
    bob.run(&["get", "alice", &number, "-o", copy.to_str().expect("a path")]).success();
    assert!(fs::read(copy).expect("a file") == bytes);
}

#[test]
fn the_doctor_and_the_configuration_say_what_is_wrong_and_no_secret() {
    let folder = TempDir::new().expect("a temporary folder");
    let (data, file) = (folder.path().join("data"), folder.path().join("skein.toml"));
    let free = skein_testkit::port::free();
    let config = format!(
        "[store]\nurl = \"postgres://skein:hunter2@127.0.0.1:{free}/skein\"\n\
         [bus]\nurl = \"redis://:hunter2@127.0.0.1:{free}\"\n\
         [blobs]\nendpoint = \"http://127.0.0.1:{free}\"\nbucket = \"skein\"\nallow_http = true\n\
         access_key = \"skein\"\nsecret_key = \"hunter2\"\nrequest_timeout_ms = 500\n\
         [verify.smtp]\nhost = \"127.0.0.1\"\nport = {free}\nsecurity = \"none\"\n\
         from = \"skein@example.org\"\n"
    );
    fs::write(&file, config).expect("ours");
    let file = file.to_str().expect("a path");
    let shown = skeind(&data, &["--config", file, "config"]);
    assert!(shown.contains("[store]") && !shown.contains("hunter2"), "{shown}");

    let looked = run(&data, &["--config", file, "doctor", "--json"]);
    assert_eq!(looked.status.code(), Some(1));
    let text = String::from_utf8(looked.stdout).expect("text");
    assert!(!text.contains("hunter2"), "{text}");
    let findings: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for check in ["store", "bus", "blobs", "verify.smtp"] {
        let finding = findings.iter().find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("nothing about {check}: {text}"));
        assert_eq!(finding["verdict"], "fail", "{finding}");
        assert!(finding["mend"].is_string(), "{finding}");
    }
    let embedded = run(&data, &["doctor", "--json"]);
    let text = String::from_utf8(embedded.stdout).expect("text");
    assert!(embedded.status.success() && text.contains("there is no data yet"), "{text}");
    assert!(!data.exists(), "the doctor makes nothing");

    let alone = run(&data, &["chat"]);
    let said = String::from_utf8(alone.stderr).expect("text");
    assert!(!alone.status.success() && said.contains("[store] url"), "{said}");
}
