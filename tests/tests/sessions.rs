//! Sessions on the wire: live delivery, presence, kicking, cleaning up after the dead, draining.

use std::time::Duration;

use serde_json::json;
use skein_net::dial::DialConfig;
use skein_testkit::{
    PATIENCE, eventually,
    gate::{Gate, befriend},
    network::UdpRelay,
    raw::{RawSession, text_draft},
    server::Server,
};
use skein_wire::{
    close::CloseCode,
    pb::{self, event, reply, request, server_frame},
};

async fn next_event(session: &mut RawSession) -> event::Kind {
    if !session.events.is_empty() {
        return session.events.remove(0).kind.expect("an event says something");
    }
    match tokio::time::timeout(PATIENCE, session.next()).await.expect("an event in time") {
        server_frame::Kind::Event(event) => event.kind.expect("an event says something"),
        server_frame::Kind::Reply(reply) => panic!("a reply nobody waits for: {reply:?}"),
    }
}

/// Waits until it is told that the account came or went; news from before that may come late.
async fn hears_that(session: &mut RawSession, account: u64, online: bool) {
    while next_event(session).await != event::Kind::Presence(pb::Presence { account, online }) {}
}

async fn is_online(session: &mut RawSession, account: u64) -> bool {
    match session.request(request::Kind::ListContacts(pb::ListContacts {})).await {
        reply::Kind::Contacts(contacts) => contacts.contacts.iter().any(|contact| {
            contact.online && contact.profile.as_ref().is_some_and(|one| one.account == account)
        }),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_text_reaches_every_session_of_both_sides_once() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let (alice, bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let mut alice = RawSession::open(&alice).await.expect("welcome");
    let mut phone = RawSession::open(&bob).await.expect("welcome");
    let laptop = gate.login("bob").await;
    let mut laptop = RawSession::open(&laptop).await.expect("welcome");
    let conversation = befriend(&mut alice, &mut phone).await;

    let reply = alice.send_text(conversation, [1; 16], "hello").await;
    let reply::Kind::Appended(entry) = reply else { panic!("{reply:?}") };
    assert_eq!(entry.seq, 1);
    for session in [&mut phone, &mut laptop] {
        loop {
            let event = next_event(session).await;
            if let event::Kind::Appended(appended) = event
                && appended.log == conversation
            {
                assert_eq!(appended.entry, Some(entry.clone()));
                break;
            }
        }
    }
    // A retry is answered alike and appended once (invariant 2).
    let again = alice.send_text(conversation, [1; 16], "hello").await;
    assert_eq!(again, reply::Kind::Appended(entry));
    let next = alice.send_text(conversation, [2; 16], "second").await;
    assert!(matches!(next, reply::Kind::Appended(entry) if entry.seq == 2));
}

#[tokio::test]
async fn appends_are_answered_in_the_order_they_were_sent() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let (alice, bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let mut alice = RawSession::open(&alice).await.expect("welcome");
    let mut bob = RawSession::open(&bob).await.expect("welcome");
    let conversation = befriend(&mut alice, &mut bob).await;
    let mut asked = Vec::new();
    for number in 0..64_u8 {
        let draft = text_draft(conversation, [number; 16], &format!("text {number}"));
        asked.push(alice.ask(request::Kind::Append(draft)).await);
    }
    let mut seqs = vec![0; asked.len()];
    let mut answered = 0;
    while answered < asked.len() {
        if let server_frame::Kind::Reply(reply) = alice.next().await {
            let at = asked.iter().position(|id| *id == reply.request).expect("asked");
            let Some(reply::Kind::Appended(entry)) = reply.kind else { panic!("{reply:?}") };
            seqs[at] = entry.seq;
            answered += 1;
        }
    }
    let expected: Vec<u64> = (1..=64).collect();
    assert_eq!(seqs, expected);
}

#[tokio::test]
async fn presence_follows_the_sessions_of_a_contact() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let (alice, bob_login) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let mut alice = RawSession::open(&alice).await.expect("welcome");
    let mut bob = RawSession::open(&bob_login).await.expect("welcome");
    befriend(&mut alice, &mut bob).await;
    let account = bob.account();
    assert!(is_online(&mut alice, account).await);
    bob.connection.close(CloseCode::Normal, "bye");
    hears_that(&mut alice, account, false).await;
    assert!(!is_online(&mut alice, account).await);
    let _bob = RawSession::open(&bob_login).await.expect("welcome");
    hears_that(&mut alice, account, true).await;
}

#[tokio::test]
async fn a_dead_client_is_cleaned_up_after_the_idle_timeout() {
    // Longer than a busy machine keeps a client that is there from being heard.
    let server = Server::with_config("[chat]\nidle_timeout_seconds = 6\n");
    let gate = Gate::new(server.http());
    let (alice, mut bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let keep_alive = DialConfig { keep_alive: Duration::from_secs(1), ..Default::default() };
    let mut alice = RawSession::open_with(&alice, keep_alive).await.expect("welcome");
    let relay = UdpRelay::start(server.quic()).expect("a relay");
    bob.chat.address = relay.address().to_string();
    let mut bob = RawSession::open_with(&bob, keep_alive).await.expect("welcome");
    befriend(&mut alice, &mut bob).await;
    let account = bob.account();
    assert!(is_online(&mut alice, account).await);
    // Bob's network is gone: no packet says so, the silence does.
    relay.cut(true);
    hears_that(&mut alice, account, false).await;
    assert!(!is_online(&mut alice, account).await);
}

#[tokio::test]
async fn a_session_goes_on_when_the_client_comes_from_elsewhere() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let (alice, mut bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let mut alice = RawSession::open(&alice).await.expect("welcome");
    let relay = UdpRelay::start(server.quic()).expect("a relay");
    bob.chat.address = relay.address().to_string();
    let mut bob = RawSession::open(&bob).await.expect("welcome");
    let conversation = befriend(&mut alice, &mut bob).await;
    for round in 0..5_u8 {
        relay.rebind();
        let reply = bob.send_text(conversation, [round; 16], "still here").await;
        assert!(matches!(reply, reply::Kind::Appended(_)), "{reply:?}");
    }
}

#[tokio::test]
async fn an_exclusive_login_kicks_the_other_device_and_says_why() {
    let server = Server::with_config("[gate]\nsession_policy = \"exclusive\"\n");
    let gate = Gate::new(server.http());
    let first = gate.newcomer("alice").await;
    let session = RawSession::open(&first).await.expect("welcome");
    let second = gate.login("alice").await;
    let closed = session.connection.closed().await;
    assert_eq!(closed.code, Some(CloseCode::Kicked));
    assert_eq!(closed.message, "you logged in on test");
    let refused = RawSession::open(&first).await.err().expect("the token has ended");
    assert_eq!(refused.code, Some(CloseCode::Unauthorised));
    let session = RawSession::open(&second).await.expect("welcome");
    assert_eq!(session.welcome.heads.len(), 1);
    assert_eq!(session.welcome.heads[0].seq, 1, "the kick stands in the personal log");
}

#[tokio::test]
async fn many_devices_stay_by_default() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let first = gate.newcomer("alice").await;
    let mut first = RawSession::open(&first).await.expect("welcome");
    let second = gate.login("alice").await;
    let _second = RawSession::open(&second).await.expect("welcome");
    let list = request::Kind::ListContacts(pb::ListContacts {});
    assert!(matches!(first.request(list).await, reply::Kind::Contacts(_)));
}

#[tokio::test]
async fn a_logout_ends_the_devices_session() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let login = gate.newcomer("alice").await;
    let session = RawSession::open(&login).await.expect("welcome");
    let http = reqwest::Client::new();
    let logout = http.post(format!("{}/v1/logout", server.http())).bearer_auth(&login.token);
    assert!(logout.send().await.expect("the gate answers").status().is_success());
    assert_eq!(session.connection.closed().await.code, Some(CloseCode::Unauthorised));
    let (status, answer) = gate.get("/v1/whoami", &login.token).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (401, &json!("unauthorised")));
}

#[tokio::test]
async fn sigterm_drains_and_exits_truthfully() {
    let mut server = Server::start();
    let gate = Gate::new(server.http());
    let login = gate.newcomer("alice").await;
    let session = RawSession::open(&login).await.expect("welcome");
    server.terminate();
    let closed = session.connection.closed().await;
    assert_eq!(closed.code, Some(CloseCode::Draining));
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());

    // What the server knew it knows again.
    server.restart();
    eventually("the session is welcome again", || async { RawSession::open(&login).await.is_ok() })
        .await;
}

#[tokio::test]
async fn what_is_committed_is_told_though_its_author_has_gone() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let (login, bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let mut alice = RawSession::open(&login).await.expect("welcome");
    let mut bob = RawSession::open(&bob).await.expect("welcome");
    let conversation = befriend(&mut alice, &mut bob).await;
    for round in 0..40_u8 {
        for part in 0..10_u8 {
            let id = [round, part].repeat(8).try_into().expect("16 bytes");
            alice.ask(request::Kind::Append(text_draft(conversation, id, "and gone"))).await;
        }
        // Somewhere between the request and its answer.
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 50)).await;
        alice.connection.close(CloseCode::Normal, "gone");
        alice = RawSession::open(&login).await.expect("welcome");
    }
    let last = alice.send_text(conversation, [0xff; 16], "the last").await;
    let reply::Kind::Appended(last) = last else { panic!("{last:?}") };
    assert!(last.seq > 1, "some of it came through");
    // Each entry is told to bob, live or as a head to read up to.
    let mut told = std::collections::BTreeSet::new();
    while told.len() < usize::try_from(last.seq).expect("few") {
        match next_event(&mut bob).await {
            event::Kind::Appended(appended) if appended.log == conversation => {
                told.insert(appended.entry.expect("an entry").seq);
            }
            event::Kind::Behind(heads) => {
                let head = heads.heads.iter().find(|head| head.log == conversation);
                told.extend(1..=head.map_or(0, |head| head.seq));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_second_login_on_the_same_device_ends_the_first() {
    let server = Server::with_config("[gate]\nsession_policy = \"exclusive\"\n");
    let gate = Gate::new(server.http());
    gate.register("alice").await;
    let device = [7; 16];
    let first = gate.login_on("alice", device).await;
    let session = RawSession::open(&first).await.expect("welcome");
    let second = gate.login_on("alice", device).await;
    assert_eq!(session.connection.closed().await.code, Some(CloseCode::Kicked));
    let mut session = RawSession::open(&second).await.expect("welcome");
    let list = request::Kind::ListContacts(pb::ListContacts {});
    assert!(matches!(session.request(list).await, reply::Kind::Contacts(_)));
}

/// A server with a session whose client has fallen silent, so that it cannot be drained at once.
async fn with_a_silent_session(config: &str) -> (Server, UdpRelay, RawSession) {
    let server = Server::with_config(config);
    let gate = Gate::new(server.http());
    let mut login = gate.newcomer("alice").await;
    let relay = UdpRelay::start(server.quic()).expect("a relay");
    login.chat.address = relay.address().to_string();
    let session = RawSession::open(&login).await.expect("welcome");
    relay.cut(true);
    (server, relay, session)
}

#[tokio::test]
async fn the_deadline_ends_a_drain_and_the_exit_says_so() {
    let (mut server, _relay, _session) =
        with_a_silent_session("[shutdown]\ndeadline_seconds = 1\n").await;
    server.terminate();
    assert_eq!(server.wait().code(), Some(1), "{}", server.log());
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_and_the_exit_says_so() {
    let (mut server, _relay, _session) =
        with_a_silent_session("[shutdown]\ndeadline_seconds = 600\n").await;
    server.terminate();
    eventually("the drain has begun", || async { server.log().contains("stopping") }).await;
    server.terminate();
    assert_eq!(server.wait().code(), Some(1), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_that_come_and_go_at_once_do_not_hold_one_another_up() {
    let mut server = Server::start();
    let gate = std::sync::Arc::new(Gate::new(server.http()));
    let pairs: Vec<_> = (0..20)
        .map(|number| {
            let gate = std::sync::Arc::clone(&gate);
            tokio::spawn(async move {
                let alice = gate.newcomer(&format!("alice{number}")).await;
                let bob = gate.newcomer(&format!("bob{number}")).await;
                // New contacts make sessions compare their heads just when they end.
                let mut of_alice = RawSession::open(&alice).await.expect("welcome");
                let mut of_bob = RawSession::open(&bob).await.expect("welcome");
                befriend(&mut of_alice, &mut of_bob).await;
                drop((of_alice, of_bob));
                for _ in 0..5 {
                    let sessions = tokio::join!(RawSession::open(&alice), RawSession::open(&bob));
                    sessions.0.expect("welcome");
                    sessions.1.expect("welcome");
                }
            })
        })
        .collect();
    for pair in pairs {
        tokio::time::timeout(PATIENCE, pair).await.expect("in time").expect("no panic");
    }
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}
