//! A server, somebody who walks, and somebody who listens, each in a namespace of their own or the
//! server's; and what must hold of a walk.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use skein_testkit::{
    PATIENCE,
    binaries::binary,
    cli::{Cli, Watcher},
    namespaces::{Lab, LabError, Place, SERVER_NAME},
    process::Process,
    transfer::Synthetic,
};
use tempfile::TempDir;

/// The variable that makes the lab a duty, with the value `require`.
const REQUIRE: &str = "TEST_NAMESPACES";
const HTTP_PORT: u16 = 8080;
const QUIC_PORT: u16 = 4433;
/// Large enough to be on its way while networks change.
const FILE_BYTES: u64 = 32 * 1024 * 1024;
/// What each interface takes, so that it takes some seconds.
const MEGABITS_PER_SECOND: u32 = 40;
const FILE_SEED: u8 = 4;
/// Messages that must be heard of after a change before the next.
const MESSAGES_BETWEEN: u64 = 20;
/// A stop against hanging, for what must happen by itself after a change.
const STOP_AFTER: Duration = PATIENCE.saturating_mul(2);

/// Something that happens to the client's network.
pub(crate) type Change<'a> = &'a dyn Fn(&mut Lab) -> Result<(), LabError>;

/// A lab; none where it is not allowed, which is said so that nobody overlooks it.
pub(crate) fn lab() -> Option<Lab> {
    let error = match Lab::new() {
        Ok(lab) => return Some(lab),
        Err(error) => error,
    };
    let required = env::var(REQUIRE).is_ok_and(|value| value == "require");
    assert!(!required, "{REQUIRE}=require, and there is no lab: {error}");
    // Not with `eprintln!`, which nobody sees of a test that passes.
    // In one piece, since other tests say the same.
    let said = format!(
        "\n*** NOT TESTED: network namespaces are not to be had here ({error}).\n\
         *** Run the tests as root, after tests/install-packages.sh, to test real interfaces.\n\n"
    );
    io::stderr().write_all(said.as_bytes()).expect("a place to say it");
    None
}

/// The server's namespace has the server and bob, the client's has alice.
pub(crate) struct Scene {
    folder: TempDir,
    alice: Cli,
    bob: Cli,
    _server: Process,
    // Last, so that it is taken down after those who live there have ended.
    lab: Lab,
}

impl Scene {
    pub(crate) fn new(lab: Lab) -> Self {
        lab.rate(MEGABITS_PER_SECOND).expect("a rate");
        let folder = TempDir::new().expect("the temporary folder takes folders");
        let server = start_server(&lab, folder.path());
        let url = format!("http://{SERVER_NAME}:{HTTP_PORT}");
        let alice = Cli::within(&url, &lab.namespace(Place::Client));
        let bob = Cli::within(&url, &lab.namespace(Place::Server));
        alice.register("alice");
        bob.register("bob");
        alice.json(&["add", "bob"]);
        bob.json(&["accept", "alice"]);
        Self { folder, alice, bob, _server: server, lab }
    }

    /// Alice writes all the time and sends a file while these changes happen, one after the other:
    /// each when she is online, is heard of, and the file is on its way. Everything must arrive.
    pub(crate) fn walk(&mut self, what: &str, changes: &[Change<'_>]) {
        let path = self.folder.path().join("walk.bin");
        Synthetic::new(FILE_BYTES, FILE_SEED).write(&path);
        let listening = self.bob.start(&["watch"]);
        let mut heard = Heard { listening, messages: 0, files: 0, last_ms: None, gap_ms: 0 };
        let mut command = self.lab.command(Place::Client, &binary("examples/walk"));
        command.arg(self.alice.home()).arg("bob").arg(&path).stdin(Stdio::piped());
        let mut walk = Walk::of(Watcher::start(&mut command));
        heard.messages_up_to(MESSAGES_BETWEEN);
        for (number, change) in (1_u64..).zip(changes) {
            let far = FILE_BYTES * number / (changes.len() as u64 + 2);
            walk.until("the file is on its way", |walk| walk.sent || walk.done >= far);
            heard.what_was_said();
            let (at, began) = (walk.done, Instant::now());
            change(&mut self.lab).expect("the network changes");
            heard.messages_up_to(heard.messages + MESSAGES_BETWEEN);
            walk.until("alice is online", |walk| walk.state == "online");
            let all = began.elapsed();
            println!(
                "{what}: change {number} with {at} bytes sent; {MESSAGES_BETWEEN} messages and \
                 online after {all:?}; states so far {:?}",
                walk.states
            );
        }
        walk.until("the file is sent", |walk| walk.sent);
        walk.watcher.end_input();
        walk.until("all is acknowledged", |walk| walk.total.is_some());
        let total = walk.total.expect("just seen");
        heard.until(|heard| heard.messages == total && heard.files == 1);
        println!(
            "{what}: {total} messages; longest wait of one {} ms, longest gap in the log {} ms; \
             {} bytes of the file sent again",
            walk.longest_ms, heard.gap_ms, walk.resent
        );
        self.check(total);
    }

    /// The log has every message once and in order, and the file is what was sent.
    fn check(&self, total: u64) {
        let log = self.bob.json(&["log", "alice", "-n", &(total + 100).to_string()]);
        assert_eq!(log.len() as u64, total + 1, "no entry twice, and none missing");
        let texts: Vec<_> = log.iter().filter_map(|entry| entry["text"].as_str()).collect();
        let wanted: Vec<_> = (1..=total).map(|number| number.to_string()).collect();
        assert_eq!(texts, wanted);
        let file = log.iter().find(|entry| entry["kind"] == "file").expect("the file");
        let seq = file["seq"].to_string();
        // The download verifies the hash that the message names; it must be that of the file.
        let fetched = self.bob.json(&["get", "alice", &seq, "-o", "copy.bin"]);
        let hash = self::hash(&self.folder.path().join("walk.bin"));
        assert_eq!(fetched[0]["blake3"], hash.to_hex().as_str());
        assert_eq!(self::hash(&self.bob.path("copy.bin")), hash);
    }
}

/// What bob hears: each message once, in the order of writing.
struct Heard {
    listening: Watcher,
    messages: u64,
    files: u64,
    last_ms: Option<u64>,
    gap_ms: u64,
}

impl Heard {
    fn messages_up_to(&mut self, count: u64) {
        self.until(|heard| heard.messages >= count);
    }

    /// Takes in what has come so far.
    fn what_was_said(&mut self) {
        while let Some(object) = self.listening.next_within(Duration::ZERO) {
            self.hear(&object);
        }
    }

    fn until(&mut self, reached: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + STOP_AFTER;
        while !reached(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let object = self.listening.next_within(left);
            let object = object.unwrap_or_else(|| panic!("bob hears no more: {}", self.messages));
            self.hear(&object);
        }
    }

    fn hear(&mut self, entry: &Value) {
        if entry["event"] != "entry" || entry["log"] != "conversation" {
            return;
        }
        assert_eq!(entry["seq"], self.messages + self.files + 1, "in order, without a gap");
        if entry["kind"] == "file" {
            self.files += 1;
        } else {
            self.messages += 1;
            assert_eq!(entry["text"], self.messages.to_string());
        }
        let at = entry["at_ms"].as_u64().expect("a time");
        let gap = at.saturating_sub(self.last_ms.unwrap_or(at));
        (self.last_ms, self.gap_ms) = (Some(at), self.gap_ms.max(gap));
    }
}

/// What the walking program says.
struct Walk {
    watcher: Watcher,
    state: String,
    states: Vec<String>,
    done: u64,
    sent: bool,
    resent: u64,
    total: Option<u64>,
    longest_ms: u64,
}

impl Walk {
    fn of(watcher: Watcher) -> Self {
        let (state, states) = (String::new(), Vec::new());
        Self { watcher, state, states, done: 0, sent: false, resent: 0, total: None, longest_ms: 0 }
    }

    /// Reads on until `reached`, and at least whatever it has said by now.
    fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + STOP_AFTER;
        while let Some(said) = self.watcher.next_within(Duration::ZERO) {
            self.hear(&said);
        }
        while !reached(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(said) = self.watcher.next_within(left) else {
                panic!("waited in vain until {what}: {:?}, {} bytes", self.states, self.done)
            };
            self.hear(&said);
        }
    }

    fn hear(&mut self, said: &Value) {
        let number = |name: &str| said[name].as_u64().expect("a number");
        match said["event"].as_str() {
            Some("status") => {
                let state = said["status"].as_str().expect("a word");
                if self.state != state {
                    state.clone_into(&mut self.state);
                    self.states.push(state.to_owned());
                }
            }
            Some("file") => self.done = number("done"),
            Some("file_sent") => (self.sent, self.resent) = (true, number("resent")),
            Some("done") => {
                self.total = Some(number("messages"));
                self.longest_ms = number("longest_ms");
            }
            _ => {}
        }
    }
}

fn start_server(lab: &Lab, folder: &Path) -> Process {
    let (config, ready) = (folder.join("skein.toml"), folder.join("ready.json"));
    let text = format!(
        "[gate]\nallow_plain_http = true\n[chat]\nadvertise = \"{SERVER_NAME}:{QUIC_PORT}\"\n"
    );
    fs::write(&config, text).expect("the folder is ours");
    let mut server = lab
        .program(Place::Server, &binary("skeind"), &folder.join("log"))
        .args(["--data".as_ref(), folder.join("data").as_os_str()])
        .args(["--http", &format!("[::]:{HTTP_PORT}"), "--quic", &format!("[::]:{QUIC_PORT}")])
        .args(["--config".as_ref(), config.as_os_str()])
        .args(["--ready-file".as_ref(), ready.as_os_str()])
        .start();
    server.until("the server is ready", || ready.exists());
    server
}

fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut fs::File::open(path).expect("there"), &mut hasher).expect("readable");
    hasher.finalize()
}
