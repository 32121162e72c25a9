//! Requests about logs, people and blobs that are not the asker's, or not in form.

use std::time::{Duration, Instant};

use bytes::Bytes;
use skein_core::{limit, refusal::Code};
use skein_testkit::{
    gate::befriend,
    raw::{RawSession, random_id, text_draft},
    transfer::Synthetic,
};
use skein_wire::{
    close::CloseCode,
    pb::{self, draft, event, reply, request, server_frame},
};

use crate::scene::{Scene, code, download, in_time, refused, upload};

/// Numbers at which arithmetic goes wrong, and where no conversation or account is.
const NUMBERS: [u64; 5] = [0, 999, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];

/// How long it takes at most, on a machine that is not held up, until somebody is told who came.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

fn append(conversation: u64, content: draft::Content) -> request::Kind {
    let id = random_id();
    request::Kind::Append(pb::Draft { conversation, id, content: Some(content) })
}

fn text(conversation: u64, id: u8, text: &str) -> request::Kind {
    request::Kind::Append(text_draft(conversation, [id; 16], text))
}

fn file(blob: Bytes, name: &str) -> draft::Content {
    draft::Content::File(pb::BlobRef { blob, name: name.to_owned() })
}

fn read(log: u64, after: u64, before: u64) -> request::Kind {
    request::Kind::ReadLog(pb::ReadLog { log, after, before, limit: u32::MAX })
}

#[tokio::test]
async fn texts_have_a_length() {
    let scene = Scene::start("").await;
    let mut alice = scene.alice().await;
    let longest = "x".repeat(limit::TEXT_BYTES_MAX);
    for bad in ["", " \n\t ", "a\0b", &format!("{longest}x")] {
        assert_eq!(refused(&mut alice, text(scene.conversation, 1, bad)).await, Code::Invalid);
    }
    let reply = alice.send_text(scene.conversation, [1; 16], &longest).await;
    assert!(matches!(reply, reply::Kind::Appended(entry) if entry.seq == 1));
    scene.still_serves().await;
}

#[tokio::test]
async fn file_names_lead_nowhere() {
    let scene = Scene::start("").await;
    let mut alice = scene.alice().await;
    let blob = upload(&alice, &Synthetic::new(100, 1)).await;
    let long = "x".repeat(limit::FILE_NAME_BYTES_MAX + 1);
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "a\nb",
        "a\0",
        "\u{7f}",
        &long,
    ] {
        let request = append(scene.conversation, file(blob.clone(), name));
        assert_eq!(refused(&mut alice, request).await, Code::Invalid, "{name:?}");
    }
    let request = append(scene.conversation, file(blob, "passwd..txt"));
    assert!(matches!(alice.request(request).await, reply::Kind::Appended(_)));
    scene.still_serves().await;
}

#[tokio::test]
async fn an_entry_id_is_for_one_entry() {
    let scene = Scene::start("").await;
    let mut alice = scene.alice().await;
    let first = alice.send_text(scene.conversation, [1; 16], "one").await;
    assert!(matches!(&first, reply::Kind::Appended(entry) if entry.seq == 1));
    assert_eq!(alice.send_text(scene.conversation, [1; 16], "one").await, first);
    let other = text(scene.conversation, 1, "two");
    assert_eq!(refused(&mut alice, other).await, Code::EntryConflict);
    // From another device, too: the id is the account's.
    let laptop = scene.gate.login("alice").await;
    let mut laptop = RawSession::open(&laptop).await.expect("welcome");
    assert_eq!(laptop.send_text(scene.conversation, [1; 16], "one").await, first);
    // And nobody else's: bob may draw the same.
    let mut bob = RawSession::open(&scene.bob).await.expect("welcome");
    let of_bob = bob.send_text(scene.conversation, [1; 16], "mine").await;
    assert!(matches!(of_bob, reply::Kind::Appended(entry) if entry.seq == 2));
    for bytes in [0, 15, 17, 1000] {
        let mut draft = text_draft(scene.conversation, [0; 16], "x");
        draft.id = vec![1; bytes].into();
        assert_eq!(refused(&mut alice, request::Kind::Append(draft)).await, Code::Malformed);
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn what_is_not_yours_does_not_exist() {
    let scene = Scene::start("").await;
    let (mut alice, mut mallory) = (scene.alice().await, scene.stranger().await);
    let blob = upload(&alice, &Synthetic::new(100, 1)).await;
    let shared = append(scene.conversation, file(blob.clone(), "ours.txt"));
    assert!(matches!(alice.request(shared).await, reply::Kind::Appended(_)));

    // Theirs is answered exactly as what nobody has.
    for number in NUMBERS.into_iter().chain([scene.conversation]) {
        assert_eq!(refused(&mut mallory, text(number, 1, "hi")).await, Code::NotFound, "{number}");
        if number != 0 {
            assert_eq!(refused(&mut mallory, read(number, 0, 0)).await, Code::NotFound, "{number}");
        }
    }
    for id in [blob.clone(), random_id()] {
        let error = download(&mallory, id.clone(), 0).await.expect_err("not hers");
        assert_eq!(code(&error), Code::NotFound);
        let leak = append(scene.conversation, file(id.clone(), "theirs.txt"));
        assert_eq!(refused(&mut mallory, leak).await, Code::NotFound);
        // Alice may speak, but not of what she cannot read.
        if id != blob {
            let leak = append(scene.conversation, file(id, "theirs.txt"));
            assert_eq!(refused(&mut alice, leak).await, Code::NotFound);
        }
    }
    let mut bob = RawSession::open(&scene.bob).await.expect("welcome");
    let (header, length, _) = download(&bob, blob, 0).await.expect("it was sent to bob");
    assert_eq!((header.size, length), (100, 100));
    assert!(matches!(bob.request(read(scene.conversation, 0, 0)).await, reply::Kind::Page(_)));
    scene.still_serves().await;
}

#[tokio::test]
async fn logs_are_read_within_their_bounds() {
    let scene = Scene::start("").await;
    let mut alice = scene.alice().await;
    for id in 1..=3 {
        alice.send_text(scene.conversation, [id; 16], "text").await;
    }
    for (after, before, expected) in [
        (0, 0, vec![1, 2, 3]),
        (2, 0, vec![3]),
        (3, 0, vec![]),
        (u64::MAX, 0, vec![]),
        (i64::MAX as u64 + 1, 0, vec![]),
        (0, 1, vec![]),
        (0, 3, vec![1, 2]),
        (0, u64::MAX, vec![1, 2, 3]),
    ] {
        let reply = alice.request(read(scene.conversation, after, before)).await;
        let reply::Kind::Page(page) = reply else { panic!("{after}, {before}: {reply:?}") };
        let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
        assert_eq!((seqs, page.head), (expected, 3), "after {after}, before {before}");
    }
    assert_eq!(refused(&mut alice, read(scene.conversation, 1, 2)).await, Code::Malformed);
    scene.still_serves().await;
}

#[tokio::test]
async fn people_are_asked_in_form() {
    let scene = Scene::start("").await;
    let (mut alice, mut mallory) = (scene.alice().await, scene.stranger().await);
    let ask = |account, greeting: &str| {
        let greeting = greeting.to_owned();
        request::Kind::RequestContact(pb::RequestContact { account, greeting, id: random_id() })
    };
    for number in NUMBERS {
        assert_eq!(refused(&mut mallory, ask(number, "")).await, Code::NotFound, "{number}");
    }
    let (own, of_alice) = (mallory.account(), scene.alice.account);
    assert_eq!(refused(&mut mallory, ask(own, "")).await, Code::Invalid);
    assert_eq!(refused(&mut mallory, ask(of_alice, "a\u{1b}[31m")).await, Code::Invalid);
    let long = "x".repeat(limit::NOTE_BYTES_MAX + 1);
    assert_eq!(refused(&mut mallory, ask(of_alice, &long)).await, Code::Invalid);
    assert_eq!(refused(&mut alice, ask(scene.bob.account, "")).await, Code::AlreadyContacts);

    // What was not asked cannot be answered.
    let accept = pb::AcceptContact { account: of_alice, remark: String::new(), id: random_id() };
    let accept = request::Kind::AcceptContact(accept);
    assert_eq!(refused(&mut mallory, accept).await, Code::NotFound);
    let answer = || pb::AnswerContact { account: of_alice, id: random_id() };
    let decline = request::Kind::DeclineContact(answer());
    assert_eq!(refused(&mut mallory, decline).await, Code::NotFound);
    for prefix in ["", &"x".repeat(limit::NAME_CHARS_MAX + 1)] {
        let find = request::Kind::FindAccounts(pb::FindAccounts { prefix: prefix.to_owned() });
        assert_eq!(refused(&mut mallory, find).await, Code::Malformed);
    }
    // A pattern is no prefix.
    let find = request::Kind::FindAccounts(pb::FindAccounts { prefix: "%".to_owned() });
    let reply = mallory.request(find).await;
    assert_eq!(reply, reply::Kind::Accounts(pb::Accounts { accounts: Vec::new() }));

    // After the end of a friendship its log can be read and not written.
    let remove = pb::AnswerContact { account: scene.bob.account, id: random_id() };
    assert!(matches!(
        alice.request(request::Kind::RemoveContact(remove)).await,
        reply::Kind::Step(_)
    ));
    let late = text(scene.conversation, 9, "wait!");
    assert_eq!(refused(&mut alice, late).await, Code::NotContacts);
    assert!(matches!(alice.request(read(scene.conversation, 0, 0)).await, reply::Kind::Page(_)));
    let list = request::Kind::ListContacts(pb::ListContacts {});
    assert!(matches!(mallory.request(list).await, reply::Kind::Contacts(_)));
}

#[tokio::test]
async fn who_was_removed_does_not_learn_who_is_online() {
    let scene = Scene::start("").await;
    let mut bob = RawSession::open(&scene.bob).await.expect("welcome");
    let mut carol = scene.stranger().await;
    let with_carol = befriend(&mut carol, &mut bob).await;
    let list = || request::Kind::ListContacts(pb::ListContacts {});
    let mut alice = scene.alice().await;
    // Bob is told that she came, unless she was away for less than a moment. What he is told of her
    // after this would be a leak.
    let came = pb::Presence { account: scene.alice.account, online: true };
    let came = event::Kind::Presence(came);
    let deadline = Instant::now() + TOLD_WITHIN;
    while bob.events.iter().all(|event| event.kind.as_ref() != Some(&came))
        && Instant::now() < deadline
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
        bob.request(list()).await;
    }
    let remove = pb::AnswerContact { account: scene.bob.account, id: random_id() };
    let removed = alice.request(request::Kind::RemoveContact(remove)).await;
    assert!(matches!(removed, reply::Kind::Step(_)), "{removed:?}");
    let contacts = bob.request(list()).await;
    assert!(matches!(&contacts, reply::Kind::Contacts(all) if all.contacts.len() == 1));
    bob.events.clear();

    // Alice goes and comes, twice, and carol writes after that.
    for _ in 0..2 {
        alice.connection.close(CloseCode::Normal, "bye");
        alice = scene.alice().await;
        alice.request(list()).await;
    }
    carol.send_text(with_carol, [1; 16], "now").await;
    loop {
        let next = in_time(bob.next()).await;
        let server_frame::Kind::Event(event) = next else { panic!("{next:?}") };
        match event.kind.expect("an event says something") {
            event::Kind::Presence(presence) => {
                assert_ne!(presence.account, scene.alice.account, "bob learns of alice");
            }
            event::Kind::Appended(appended) if appended.log == with_carol => break,
            _ => {}
        }
    }
}
