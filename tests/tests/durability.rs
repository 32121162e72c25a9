//! What was acknowledged stays, once, in order and without a gap, though the server is killed while
//! messages are being sent.

use std::{collections::HashMap, pin::pin, time::Duration};

use skein_client::{
    Body, Client, ConversationId, DeviceName, Entry, Event, LogId, Note, Seq, Text, Username,
};
use skein_testkit::{PATIENCE, cli::PASSWORD, gate::Gate, raw::RawSession, server::Server};
use skein_wire::pb::{self, reply, request};
use tempfile::TempDir;

const MESSAGES: usize = 2_000;
const KILLS: usize = 5;

async fn client(server: &Server, folder: &TempDir, name: &str) -> Client {
    let client = Client::open(&folder.path().join(name)).expect("a home");
    let name = Username::parse(name).expect("a name");
    let device = DeviceName::parse("test").expect("a device name");
    client.log_in(server.http(), &name, PASSWORD, &device).await.expect("logged in");
    client.connect().await.expect("connecting");
    client.live(PATIENCE).await.expect("live");
    client
}

async fn befriend(alice: &Client, bob: &Client) -> ConversationId {
    let name = |text| Username::parse(text).expect("a name");
    let bob_id = alice.person(&name("bob")).await.expect("bob is there").id;
    let greeting = Note::parse("hello").expect("a note");
    alice.request_contact(bob_id, greeting).await.expect("asked");
    let alice_id = bob.person(&name("alice")).await.expect("alice is there").id;
    let remark = Note::parse("").expect("a note");
    bob.accept_contact(alice_id, remark).await.expect("accepted");
    bob.conversation_with(&name("alice")).await.expect("a conversation").0
}

fn words(entry: &Entry) -> String {
    match &entry.body {
        Body::Text(text) => text.as_str().to_owned(),
        other => panic!("only texts were sent, not {other:?}"),
    }
}

/// The whole log, read from the server in pages.
async fn whole_log(session: &mut RawSession, log: u64) -> Vec<pb::Entry> {
    let mut entries: Vec<pb::Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let read = pb::ReadLog { log, after, before: 0, limit: 0 };
        match session.request(request::Kind::ReadLog(read)).await {
            reply::Kind::Page(page) if page.entries.is_empty() => return entries,
            reply::Kind::Page(page) => entries.extend(page.entries),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_messages_survive_five_kills_of_the_server() {
    let mut server = Server::start();
    let gate = Gate::new(server.http());
    gate.register("alice").await;
    gate.register("bob").await;
    let folder = TempDir::new().expect("the temporary folder takes folders");
    let alice = client(&server, &folder, "alice").await;
    let bob = client(&server, &folder, "bob").await;
    let conversation = befriend(&alice, &bob).await;

    // Bob hears everything live, or catches up.
    let mut events = bob.events().await.expect("the home can be read");
    let listening = tokio::spawn(async move {
        let mut heard: Vec<Entry> = Vec::new();
        while heard.len() < MESSAGES {
            // Also of what a slow listener missed, the entries come.
            let event = events.next().await.expect("bob's client goes on");
            if let Event::Entry { log: LogId::Conversation(_), entry } = event {
                heard.push(entry);
            }
        }
        heard
    });

    // Alice's texts wait for their acknowledgement while the server is killed in between.
    let mut acknowledged = HashMap::new();
    let mut waiting = Vec::new();
    for number in 0..MESSAGES {
        let text = Text::parse(format!("text {number}")).expect("a text");
        let delivery = alice.send_text(conversation, text).await.expect("kept");
        waiting.push((number, tokio::spawn(delivery.acknowledged())));
        if number % (MESSAGES / KILLS) == MESSAGES / KILLS / 2 {
            server.kill();
            server.restart();
            // The clients wait out their backoff; a person who is at the keyboard would not.
            alice.nudge().await;
            bob.nudge().await;
        }
    }
    for (number, task) in waiting {
        let seq = tokio::time::timeout(Duration::from_secs(180), task).await.expect("in time");
        let seq: Seq = seq.expect("no panic").expect("acknowledged");
        acknowledged.insert(seq, number);
    }
    assert_eq!(acknowledged.len(), MESSAGES, "no two messages have the same place");

    // One more kill: what was acknowledged must be there without the process that said so.
    server.kill();
    server.restart();
    let login = gate.login("bob").await;
    let mut session = RawSession::open(&login).await.expect("welcome");
    let log = whole_log(&mut session, conversation.0).await;
    assert_eq!(log.len(), MESSAGES);
    for (at, entry) in log.into_iter().enumerate() {
        let entry = Entry::try_from(entry).expect("an entry");
        assert_eq!(entry.seq, Seq(at as u64 + 1), "dense and in order");
        assert_eq!(words(&entry), format!("text {at}"), "in the order of writing");
        assert_eq!(acknowledged.get(&entry.seq), Some(&at), "where it was acknowledged");
    }
    let heard =
        tokio::time::timeout(PATIENCE, listening).await.expect("in time").expect("no panic");
    for (at, entry) in heard.iter().enumerate() {
        assert_eq!((entry.seq, words(entry)), (Seq(at as u64 + 1), format!("text {at}")));
    }
    assert_eq!(alice.unsent().await.expect("the home can be read"), 0);
}

/// How many times a client waits for its disk before it is connecting: more than it takes.
const CONNECTING_STEPS: usize = 8;

#[tokio::test]
async fn what_is_written_while_a_client_connects_is_sent_as_well() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    gate.register("alice").await;
    gate.register("bob").await;
    let folder = TempDir::new().expect("the temporary folder takes folders");
    let alice = client(&server, &folder, "alice").await;
    let bob = client(&server, &folder, "bob").await;
    let conversation = befriend(&alice, &bob).await;
    let mut events = alice.events().await.expect("the home can be read");
    for step in 0..CONNECTING_STEPS {
        alice.close().await;
        let mut connecting = pin!(alice.connect());
        let mut connected = false;
        for _ in 0..step {
            tokio::select! {
                biased;
                result = &mut connecting, if !connected => {
                    result.expect("connecting");
                    connected = true;
                }
                () = std::future::ready(()) => {}
            }
            // Behind whatever it has asked its home for.
            alice.unsent().await.expect("the home can be read");
        }
        let text = Text::parse(format!("in step {step}")).expect("a text");
        let written = alice.send_text(conversation, text).await.expect("kept").id();
        if !connected {
            connecting.await.expect("connecting");
        }
        let sent = async {
            while !matches!(events.next().await, Some(Event::Sent { id, .. }) if id == written) {}
        };
        tokio::time::timeout(PATIENCE, sent).await.expect("it is sent");
    }
}
