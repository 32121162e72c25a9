//! What is left of a session that ended: nothing. Looks inside a server that runs in this process.

use std::{net::SocketAddr, time::Duration};

use skein_net::dial::DialConfig;
use skein_ops::lifecycle::{Outcome, Shutdown};
use skein_testkit::{
    eventually,
    gate::{Gate, befriend},
    network::UdpRelay,
    raw::RawSession,
};
use skein_wire::close::CloseCode;
use skeind::{Config, Role, Server};
use tempfile::TempDir;

async fn start(folder: &TempDir, shutdown: &Shutdown) -> Server {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config =
        Config { data: folder.path().join("data"), http: any, quic: any, ..Config::default() };
    // Longer than a busy machine keeps a client that is there from being heard.
    config.chat.idle_timeout_seconds = 6;
    Server::start(Role::All, config, shutdown).await.expect("the server starts")
}

#[tokio::test]
async fn sessions_queues_and_topics_are_gone_with_the_client() {
    let folder = TempDir::new().expect("the temporary folder takes folders");
    let shutdown = Shutdown::new();
    let server = start(&folder, &shutdown).await;
    let listening = server.ready();
    let gate = Gate::new(&listening.http.expect("a gate"));
    let (alice, mut bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let relay = UdpRelay::start(listening.quic.expect("a chat node")).expect("a relay");
    bob.chat.address = relay.address().to_string();
    let keep_alive = DialConfig { keep_alive: Duration::from_secs(1), ..Default::default() };
    let mut alice = RawSession::open_with(&alice, keep_alive).await.expect("welcome");
    let mut bob = RawSession::open_with(&bob, keep_alive).await.expect("welcome");
    befriend(&mut alice, &mut bob).await;
    let hub = server.hub().expect("a chat node");
    // Two personal logs and one conversation.
    eventually("both live on their conversation", || async { hub.followed_logs() == 3 }).await;
    assert_eq!(hub.sessions(), 2);

    relay.cut(true);
    eventually("the silent client is cleaned up", || async { hub.sessions() == 1 }).await;
    eventually("its personal log too", || async { hub.followed_logs() == 2 }).await;

    alice.connection.close(CloseCode::Normal, "bye");
    eventually("the other one as well", || async { hub.sessions() == 0 }).await;
    eventually("nothing is followed", || async { hub.followed_logs() == 0 }).await;

    shutdown.begin();
    assert_eq!(server.finish(Duration::from_secs(60)).await, Outcome::Clean);
}
