//! Sessions over bad networks: whatever these do, each message stands in the log once and in order,
//! and is heard of once.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use skein_net::dial::{DialConfig, DialError};
use skein_testkit::{
    PATIENCE,
    gate::{Gate, Login, befriend},
    network::{Blocking, Burst, Conditions, Loss, Queue, Rate, Reordering, UdpRelay},
    raw::{self, RawSession, text_draft},
    server::Server,
};
use skein_wire::pb::{event, reply, request, server_frame};

/// Messages in each test.
const MESSAGES: u8 = 100;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Alice behind a relay, and Bob beside the server.
struct Scene {
    server: Server,
    relay: UdpRelay,
    login: Login,
    alice: RawSession,
    bob: RawSession,
    conversation: u64,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start();
        let gate = Gate::new(server.http());
        let (mut login, bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
        let relay = UdpRelay::start(server.quic()).expect("a relay");
        login.chat.address = relay.address().to_string();
        let mut alice = RawSession::open(&login).await.expect("welcome");
        let mut bob = RawSession::open(&bob).await.expect("welcome");
        let conversation = befriend(&mut alice, &mut bob).await;
        Self { server, relay, login, alice, bob, conversation }
    }

    /// Alice asks for this message to be appended.
    async fn ask(&mut self, number: u8) -> u64 {
        let text = format!("message {number}");
        let draft = text_draft(self.conversation, [number; 16], &text);
        self.alice.ask(request::Kind::Append(draft)).await
    }

    /// Alice is told where each of so many messages stands: where it was sent.
    async fn acknowledged(&mut self, mut asked: BTreeMap<u64, u8>) {
        while !asked.is_empty() {
            let next = tokio::time::timeout(PATIENCE, self.alice.next());
            if let server_frame::Kind::Reply(reply) = next.await.expect("a reply in time") {
                let number = asked.remove(&reply.request).expect("asked, and answered once");
                let Some(reply::Kind::Appended(entry)) = reply.kind else { panic!("{reply:?}") };
                assert_eq!(entry.seq, u64::from(number) + 1);
            }
        }
    }

    /// Bob hears of all messages in order, each once.
    async fn heard(&mut self) {
        let mut seq = 0;
        while seq < u64::from(MESSAGES) {
            let next = tokio::time::timeout(PATIENCE, self.bob.next()).await;
            let server_frame::Kind::Event(event) = next.expect("an event in time") else {
                panic!("a reply nobody waits for")
            };
            if let Some(event::Kind::Appended(appended)) = event.kind
                && appended.log == self.conversation
            {
                seq += 1;
                assert_eq!(appended.entry.expect("an entry").seq, seq);
            }
        }
    }
}

/// Bad in every way at once.
fn storm() -> Conditions {
    Conditions {
        burst: Some(Burst::of(0.03, 4.0)),
        jitter: ms(10),
        reordering: Some(Reordering { probability: 0.1, late: ms(12) }),
        duplication: 0.1,
        rate: Some(Rate { bits_per_second: 2_000_000, queue: Queue::Time(ms(100)) }),
        mtu: Some(1400),
        ..Conditions::delayed(ms(15)).with_loss(0.08)
    }
}

#[tokio::test]
async fn loss_jitter_reordering_and_copies_change_no_message() {
    let mut scene = Scene::new().await;
    scene.relay.set_both(storm());
    let mut asked = BTreeMap::new();
    for number in 0..MESSAGES {
        asked.insert(scene.ask(number).await, number);
        // Not all in one packet.
        tokio::time::sleep(ms(5)).await;
    }
    scene.acknowledged(asked).await;
    scene.heard().await;
    let (up, down) = scene.relay.counts();
    println!("up: {up}\ndown: {down}");
    assert!(up.lost() > 0 && up.late > 0 && up.duplicated > 0, "{up}");
}

#[tokio::test]
async fn messages_wait_for_the_end_of_a_blackout() {
    let mut scene = Scene::new().await;
    let mut asked = BTreeMap::new();
    for number in 0..MESSAGES {
        if number == MESSAGES / 2 {
            scene.relay.cut(true);
        }
        asked.insert(scene.ask(number).await, number);
        tokio::time::sleep(ms(2)).await;
    }
    tokio::time::sleep(ms(1500)).await;
    scene.relay.cut(false);
    scene.acknowledged(asked).await;
    scene.heard().await;
    assert!(scene.relay.counts().0.lost_to(Loss::Cut) > 0);
}

#[tokio::test]
async fn a_session_moves_with_its_client_from_address_to_address() {
    let mut scene = Scene::new().await;
    let delay = Conditions::delayed(ms(10));
    scene.relay.set_both(delay);
    let mut asked = BTreeMap::new();
    for number in 0..MESSAGES {
        match number % 50 {
            10 => scene.relay.rebind(),
            35 => scene.relay.readdress(Ipv4Addr::new(127, 0, 0, 2 + number / 50).into()),
            _ => {}
        }
        asked.insert(scene.ask(number).await, number);
        tokio::time::sleep(ms(5)).await;
    }
    scene.acknowledged(asked).await;
    scene.heard().await;
}

#[tokio::test]
async fn a_network_without_udp_is_no_way_to_connect() {
    let mut scene = Scene::new().await;
    for blocking in [Blocking::Silent, Blocking::Refused] {
        scene.relay.block(Some(blocking)).expect("blocked");
        let config = DialConfig { handshake_timeout: ms(500), ..DialConfig::default() };
        let failed = raw::connect(&scene.login, config).await.err();
        assert!(matches!(failed, Some(DialError::Unreachable { .. })), "{failed:?}");
        scene.relay.block(None).expect("open");
    }
    // The session that was there has seen nothing but a pause.
    let id = scene.ask(0).await;
    scene.acknowledged(BTreeMap::from([(id, 0)])).await;
    drop(scene.server);
}
