//! UDP is blocked, and everything works all the same: messages, files, and what interrupts them.

use std::{
    fs,
    time::{Duration, Instant},
};

use skein_testkit::{
    PATIENCE,
    cli::Cli,
    network::{Blocking, Conditions, Death, Path, TcpRelay, UdpRelay},
    server::Server,
    transfer::Synthetic,
};

const MIB: u64 = 1024 * 1024;
/// How often a number is tried that must be free for UDP and TCP.
const NUMBERS_MAX: usize = 50;

/// A server that is reached through a network that drops UDP.
struct Scene {
    server: Server,
    tcp: TcpRelay,
    udp: UdpRelay,
    alice: Cli,
    bob: Cli,
}

impl Scene {
    fn new() -> Self {
        let mut server = Server::start();
        let (udp, tcp) = relays(&server);
        udp.block(Some(Blocking::Silent)).expect("it drops all");
        server.kill();
        server.restart_with(&format!("[chat]\nadvertise = \"{}\"\n", udp.address()));
        let (alice, bob) = Cli::contacts(server.http());
        Self { server, tcp, udp, alice, bob }
    }

    /// Waits until the server has so much of the only upload under way.
    fn await_durable(&self, at_least: u64) {
        let store = rusqlite::Connection::open(self.server.data().join("skein.db"));
        let store = store.expect("the store");
        store.busy_timeout(PATIENCE).expect("a timeout");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let durable = store.query_row("SELECT max(durable) FROM uploads", [], |row| {
                row.get::<_, Option<i64>>(0)
            });
            let durable = durable.expect("the store can be read").unwrap_or(0);
            if durable.unsigned_abs() >= at_least {
                return;
            }
            assert!(Instant::now() < deadline, "the upload does not get on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Relays to the server with the same number.
fn relays(server: &Server) -> (UdpRelay, TcpRelay) {
    for _ in 0..NUMBERS_MAX {
        let udp = UdpRelay::start(server.quic()).expect("a relay");
        if let Ok(tcp) = TcpRelay::listen_on(Path::default(), server.quic(), udp.address()) {
            return (udp, tcp);
        }
    }
    panic!("no number is free for both");
}

#[test]
fn messages_and_files_go_over_tcp_and_on_after_what_interrupts_them() {
    let scene = Scene::new();
    let (alice, bob) = (&scene.alice, &scene.bob);
    for number in 1..=5 {
        let sent = alice.json(&["send", "bob", &format!("message {number}")]);
        assert_eq!(sent[0]["seq"], number);
    }
    let texts: Vec<_> = bob.json(&["log", "alice"]);
    let texts: Vec<_> = texts.iter().filter_map(|entry| entry["text"].as_str()).collect();
    assert_eq!(texts, ["message 1", "message 2", "message 3", "message 4", "message 5"]);

    // Twenty seconds for all of it, so that there is something to interrupt.
    let slow = Conditions::delayed(Duration::from_millis(5));
    scene.tcp.set_both(slow.with_rate(10_000_000, Duration::from_millis(100)));
    let file = alice.path("walk.bin");
    Synthetic::new(24 * MIB, 11).write(&file);
    let command = ["send", "bob", "--file", "walk.bin"];
    let mut client = alice.start(&command);
    scene.await_durable(2 * MIB);
    // Another address: the connection dies, and the same process goes on over a new one.
    scene.tcp.rebind(Death::Reset);
    scene.await_durable(5 * MIB);
    client.kill();
    scene.tcp.set_both(Conditions::default());
    let sent = alice.json(&command);
    let resumed = sent[0]["resumed_from"].as_u64().expect("a number");
    assert!(resumed >= 5 * MIB, "it went on at {resumed}");
    bob.json(&["get", "alice", "6", "-o", "copy.bin"]);
    let (copy, file) = (fs::read(bob.path("copy.bin")), fs::read(&file));
    assert!(copy.expect("there") == file.expect("there"), "bit for bit");
    assert_eq!(alice.json(&["log", "bob"]).len(), 6, "each once");

    let (up, _) = scene.tcp.counts();
    assert!(up.delivered.bytes > 24 * MIB, "{up:?}");
    let (up, _) = scene.udp.counts();
    assert_eq!(up.delivered.bytes, 0, "{up:?}");
}

#[test]
fn a_session_moves_to_quic_once_udp_is_open_though_tcp_works() {
    let scene = Scene::new();
    let watch = scene.bob.start(&["watch"]);
    watch.find(|object| object["status"] == "online");
    // The attempt that lost goes on for some seconds, and finds the way open.
    scene.udp.block(None).expect("it lets all through");
    let deadline = Instant::now() + PATIENCE;
    for number in 1.. {
        let text = number.to_string();
        let (_, before) = scene.tcp.counts();
        scene.alice.json(&["send", "bob", &text]);
        watch.find(|object| {
            // A machine that stands still may take it for silent, but a session is there all the time.
            let is_there = object["status"] != "offline" && object["message"] != "connecting";
            assert!(object["event"] != "status" || is_there, "{object}");
            object["text"] == *text
        });
        let (_, after) = scene.tcp.counts();
        if after.delivered.bytes == before.delivered.bytes {
            break;
        }
        assert!(Instant::now() < deadline, "it stays where it was");
    }
    let (_, down) = scene.udp.counts();
    assert!(down.delivered.bytes > 0, "{down:?}");
}

#[test]
fn a_session_goes_on_over_quic_once_udp_is_open_and_tcp_is_gone() {
    let scene = Scene::new();
    let watch = scene.bob.start(&["watch"]);
    scene.alice.json(&["send", "bob", "over TCP"]);
    watch.find(|object| object["text"] == "over TCP");
    scene.udp.block(None).expect("it lets all through");
    scene.tcp.cut(true);
    scene.alice.json(&["send", "bob", "over QUIC"]);
    watch.find(|object| object["text"] == "over QUIC");
    let (up, _) = scene.udp.counts();
    assert!(up.delivered.bytes > 0, "{up:?}");
    assert_eq!(scene.bob.json(&["log", "alice"]).len(), 2);
}
