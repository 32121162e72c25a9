//! What an upload sends again, over a path of a known rate and delay: nothing where the client turns up
//! at another address, and little where its connection is lost.

use std::{
    fs,
    time::{Duration, Instant},
};

use skein_core::transfer::AGAIN_BYTES_WANTED;
use skein_testkit::{
    PATIENCE,
    cli::Cli,
    network::{Conditions, UdpRelay},
    server::Server,
    transfer::Synthetic,
};

const KIB: u64 = 1024;
/// A path that is slow enough for any machine: 4 Mbit/s each way, 40 ms there and back.
const BITS_PER_SECOND: u64 = 4_000_000;

fn behind_a_relay() -> (Server, UdpRelay) {
    let log = "[log]\nfilter = \"info,skein_chat::connection=debug\"\n";
    let (server, relay) = Server::behind_a_relay(log);
    let path = Conditions::delayed(Duration::from_millis(20));
    relay.set_both(path.with_rate(BITS_PER_SECOND, Duration::from_millis(100)));
    (server, relay)
}

/// How many sessions the server has had. A client makes another not only where its connection is
/// lost, but also beside one that is silent for most of a second, as where the machine stands still.
fn sessions(server: &Server) -> u64 {
    server.log().matches("a session begins").count() as u64
}

fn await_durable(server: &Server, at_least: u64) {
    let deadline = Instant::now() + PATIENCE;
    let store = rusqlite::Connection::open(server.data().join("skein.db")).expect("the store");
    store.busy_timeout(PATIENCE).expect("a timeout");
    loop {
        let durable = store
            .query_row("SELECT max(durable) FROM uploads", [], |row| row.get::<_, Option<i64>>(0));
        if durable.expect("the store can be read").unwrap_or(0).cast_unsigned() >= at_least {
            return;
        }
        assert!(Instant::now() < deadline, "the upload does not get on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_where_the_client_moves() {
    let (server, relay) = behind_a_relay();
    let (alice, _bob) = Cli::contacts(server.http());
    Synthetic::new(2_000 * KIB, 5).write(&alice.path("walk.bin"));
    let before = sessions(&server);
    let client = alice.start(&["send", "bob", "--file", "walk.bin"]);
    for at_kib in [300, 800, 1_300] {
        await_durable(&server, at_kib * KIB);
        relay.rebind();
    }
    let sent = client.find(|object| object["seq"].is_u64());
    assert_eq!(sent["resumed_from"], 0, "{sent}");
    let silences = sessions(&server) - before - 1;
    let resent = sent["resent"].as_u64().expect("a number");
    assert!(resent <= silences * AGAIN_BYTES_WANTED, "{sent} over {silences} silences");
}

#[tokio::test(flavor = "multi_thread")]
async fn little_is_sent_again_where_the_connection_is_lost() {
    const LOST: u64 = 3;
    let (mut server, _relay) = behind_a_relay();
    let (alice, bob) = Cli::contacts(server.http());
    let file = alice.path("walk.bin");
    Synthetic::new(4_000 * KIB, 5).write(&file);
    let before = sessions(&server);
    let client = alice.start(&["send", "bob", "--file", "walk.bin"]);
    for number in 1..=LOST {
        await_durable(&server, number * 900 * KIB);
        server.kill();
        server.restart();
    }
    let sent = client.find(|object| object["seq"].is_u64());
    let resent = sent["resent"].as_u64().expect("a number");
    let left = sessions(&server) - before - 1;
    println!("bytes sent again after {left} lost connections: {resent}");
    assert!(left >= LOST && resent <= left * AGAIN_BYTES_WANTED, "{sent}");
    bob.json(&["get", "alice", "1", "-o", "copy.bin"]);
    let (copy, original) = (bob.path("copy.bin"), fs::read(&file).expect("there"));
    assert!(fs::read(copy).expect("there") == original);
}
