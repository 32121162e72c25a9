//! A download over a path that holds more than one stream may have unread: several ranges are under way at
//! once, no byte comes twice, and what has come stays over an interruption.

use std::{fs, path::Path, time::Duration};

use skein_net::transport::{BYTES_DOWN, STREAM_BYTES_DOWN};
use skein_testkit::{
    cli::{Cli, Watcher},
    network::{Conditions, UdpRelay},
    port,
    server::Server,
    transfer::Synthetic,
};

const MIB: u64 = 1024 * 1024;
const FILE_BYTES: u64 = 24 * MIB;
/// A path that holds 4 MB, and is slow enough for any machine.
const BITS_PER_SECOND: u64 = 40_000_000;
const DELAY: Duration = Duration::from_millis(400);
/// More than one stream may hold unread, and a piece that the server has in its hand.
const SEVERAL_BYTES: u64 = STREAM_BYTES_DOWN as u64 + MIB;
/// What may be under way at all.
const UNDER_WAY_MAX: u64 = BYTES_DOWN as u64;

struct Scene {
    server: Server,
    observe: String,
    /// Held: it ends with this.
    _relay: UdpRelay,
    alice: Cli,
    bob: Cli,
}

impl Scene {
    /// Alice has sent bob a file, and the path becomes long.
    fn new() -> Self {
        let observe = format!("127.0.0.1:{}", port::free());
        let log = "[log]\nfilter = \"info,skein_chat::connection=debug\"\n";
        let config = format!("{log}[observe]\nlisten = \"{observe}\"\n");
        let (server, relay) = Server::behind_a_relay(&config);
        let (alice, bob) = Cli::contacts(server.http());
        Synthetic::new(FILE_BYTES, 7).write(&alice.path("sea.bin"));
        alice.json(&["send", "bob", "--file", "sea.bin"]);
        let path = Conditions::delayed(DELAY);
        relay.set_both(path.with_rate(BITS_PER_SECOND, Duration::from_millis(100)));
        Self { server, observe, _relay: relay, alice, bob }
    }

    /// Bytes of files that the server has sent.
    async fn sent(&self) -> u64 {
        let response = reqwest::get(format!("http://{}/metrics", self.observe)).await;
        let text = response.expect("an answer").text().await.expect("a text");
        let name = "skein_chat_transfer_bytes_total{direction=\"down\"}";
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    /// How many sessions the server has had. A client makes another one also beside one that is silent for
    /// most of a second, as where the machine stands still: then it asks again for what was under way.
    fn sessions(&self) -> u64 {
        self.server.log().matches("a session begins").count() as u64
    }

    /// Waits until more is on its way to bob than one range may be. How much bob has then.
    async fn several_ranges(&self) -> u64 {
        let part = self.bob.path("copy.bin.part");
        skein_testkit::eventually("several ranges are under way", || async {
            let sent = self.sent().await;
            sent > length(&part) + SEVERAL_BYTES
        })
        .await;
        length(&part)
    }

    async fn await_file(&self, mut client: Watcher) {
        let copy = self.bob.path("copy.bin");
        let is_there = || std::future::ready(copy.exists());
        skein_testkit::eventually("the file is there", is_there).await;
        assert!(client.wait().0.success());
        self.assert_same();
    }

    fn assert_same(&self) {
        let (copy, original) = (self.bob.path("copy.bin"), self.alice.path("sea.bin"));
        assert!(fs::read(copy).expect("there") == fs::read(original).expect("there"));
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_are_under_way_at_once_and_no_byte_comes_twice() {
    let scene = Scene::new();
    let before = scene.sessions();
    let client = scene.bob.start(&["get", "alice", "1", "-o", "copy.bin"]);
    scene.several_ranges().await;
    scene.await_file(client).await;
    let others = scene.sessions() - before - 1;
    let again = scene.sent().await - FILE_BYTES;
    assert!(again <= others * UNDER_WAY_MAX, "{again} bytes again over {others} more sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_leaves_what_was_taken() {
    let mut scene = Scene::new();
    let before = scene.sessions();
    let client = scene.bob.start(&["get", "alice", "1", "-o", "copy.bin"]);
    let taken = scene.several_ranges().await;
    scene.server.kill();
    scene.server.restart();
    scene.await_file(client).await;
    let others = scene.sessions() - before - 2;
    let after = scene.sent().await;
    println!("{taken} bytes were there, {after} came afterwards, over {others} more sessions");
    let at_most = FILE_BYTES - taken + others * UNDER_WAY_MAX;
    assert!(taken > 0 && after <= at_most, "{after} and {taken}");
}
