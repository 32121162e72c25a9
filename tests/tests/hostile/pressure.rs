//! Clients that ask too fast, too often or in too great numbers, and one that never reads.

use std::{collections::HashMap, time::Duration};

use skein_core::{refusal::Code, sync::KEEP_ALIVE};
use skein_net::dial::{DialConfig, DialError, Transports};
use skein_testkit::{
    PATIENCE, eventually,
    memory::{peak_bytes, reset_peak},
    raw::{RawSession, connect, random_id, text_draft},
};
use skein_wire::{
    close::CloseCode,
    pb::{self, download_status, event, open, reply, request, server_frame},
};

use crate::scene::{Scene, code, in_time, open_at_last};

/// Bytes of text that bob is sent while he does not read.
const FLOOD_BYTES: usize = 96 * 1024 * 1024;
/// Bytes of one of those texts.
const TEXT_BYTES: usize = 16 * 1024;
/// What the flood may cost the server: bob's windows and queue, and what appends take on the way.
/// Well below the flood, so that something that keeps it all is found.
const FLOOD_COST_BYTES_MAX: u64 = 40 * 1024 * 1024;
/// Appends that are sent ahead of their replies.
const AHEAD: usize = 64;
/// Pages that are asked for and not read: some 48 MiB.
const PAGES: usize = 256;
/// What those may cost: a few pages under way, and what the queue and the windows hold.
const PAGES_COST_BYTES_MAX: u64 = 12 * 1024 * 1024;
/// Requests that an account may make at once where the rate is tried. After them it may make one a
/// second, which is slower than a busy machine.
const BURST: u64 = 10;
/// How often a client gives a sign of life that gives none while a test runs.
const SILENT: Duration = Duration::from_secs(3600);
/// No limit for requests that a test would reach.
const FAST: &str = "[chat]\nrequests_per_second = 1000000\nrequests_burst = 1000000\n";

#[tokio::test]
async fn a_fast_session_is_held_back_and_a_fast_opener_refused() {
    let config = format!("[chat]\nrequests_per_second = 1\nrequests_burst = {BURST}\n");
    let scene = Scene::start(&config).await;
    let mut alice = scene.alice().await;
    // Requests wait, so that they stay in order; none is lost.
    let texts = BURST + 4;
    for _ in 0..texts {
        alice.ask(request::Kind::Append(text_draft(scene.conversation, rand::random(), "x"))).await;
    }
    let mut next = 1;
    while next <= texts {
        if let server_frame::Kind::Reply(reply) = in_time(alice.next()).await {
            let Some(reply::Kind::Appended(entry)) = reply.kind else { panic!("{reply:?}") };
            assert_eq!(entry.seq, next);
            next += 1;
        }
    }
    // Streams are refused, and told when to come back.
    let limited = async {
        loop {
            let open = pb::DownloadOpen { blob: random_id(), ..pb::DownloadOpen::default() };
            let (_sender, mut receiver) = alice.work(open::Kind::Download(open)).await;
            let status = receiver.frame::<pb::DownloadStatus>().await.expect("a status");
            let Some(download_status::Kind::Error(error)) = status.and_then(|status| status.kind)
            else {
                panic!("there is no such blob")
            };
            if code(&error) != Code::NotFound {
                return error;
            }
        }
    };
    let error = in_time(limited).await;
    assert_eq!(code(&error), Code::RateLimited);
    assert!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
    // Coming back does not refill what the account may ask; time does, even while it comes back.
    drop(alice);
    let mut refused = None;
    for _ in 0..BURST / 2 {
        refused = RawSession::open(&scene.alice).await.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("the rate is used up");
    assert_eq!(refused.code, Some(CloseCode::Overloaded), "{refused}");
    scene.still_serves().await;
}

#[tokio::test]
async fn sessions_have_a_number() {
    let scene = Scene::start("[chat]\naccount_sessions_max = 2\nsessions_max = 3\n").await;
    let gone = |session: RawSession| session.connection.close(CloseCode::Normal, "bye");
    // The sessions that made the two contacts have ended, or soon will have.
    let open = async || RawSession::open(&scene.alice).await;
    eventually("alice has room", async || match open().await {
        Ok(session) => {
            gone(session);
            true
        }
        Err(_) => false,
    })
    .await;
    let mut kept = Vec::new();
    let closed = loop {
        match open().await {
            Ok(session) => kept.push(session),
            Err(closed) => break closed,
        }
    };
    assert!(kept.len() <= 2, "{} sessions", kept.len());
    assert_eq!(closed.code, Some(CloseCode::Overloaded), "{closed}");
    // The other accounts have what is left of the server, and no more.
    let mut others = Vec::new();
    let full = loop {
        let login = scene.gate.newcomer(&format!("guest{}", others.len())).await;
        match RawSession::open(&login).await {
            Ok(session) => others.push(session),
            Err(closed) => break closed,
        }
    };
    assert_eq!(full.code, Some(CloseCode::Overloaded), "{full}");
    assert!(kept.len() + others.len() <= 3);
    kept.into_iter().chain(others).for_each(gone);
    eventually("there is room again", async || match RawSession::open(&scene.bob).await {
        Ok(session) => {
            gone(session);
            true
        }
        Err(_) => false,
    })
    .await;
    scene.still_serves().await;
}

#[tokio::test]
async fn a_client_that_was_cut_off_finds_room_when_it_comes_back() {
    let scene = Scene::start("[chat]\naccount_sessions_max = 2\n").await;
    let config =
        |transports, keep_alive| DialConfig { transports, keep_alive, ..DialConfig::default() };
    // A silent session holds its place for half a minute.
    let open = async |config| {
        let opened = open_at_last(&scene.alice, config);
        tokio::time::timeout(2 * PATIENCE, opened).await.expect("there is room in time")
    };
    let mut silent = Vec::new();
    for transports in [Transports::Quic, Transports::WebSocket] {
        // What came before these has ended, or soon will have. Nothing more is heard of them, as if
        // their network had gone.
        silent.push(open(config(transports, SILENT)).await);
    }
    let mut back = Vec::new();
    for _ in &silent {
        back.push(open(config(Transports::Both, KEEP_ALIVE)).await);
    }
    for session in silent {
        let closed = in_time(session.connection.closed()).await;
        assert_eq!(closed.code, Some(CloseCode::TimedOut), "{closed}");
    }
    let refused = RawSession::open(&scene.alice).await.err().expect("these two are heard");
    assert_eq!(refused.code, Some(CloseCode::Overloaded), "{refused}");
}

#[tokio::test]
async fn connections_without_a_login_have_a_number() {
    let scene = Scene::start("[chat]\nunproven_per_address_max = 2\n").await;
    // Another transport, tried beside this one, would take a place of its own.
    let quic = DialConfig { transports: Transports::Quic, ..DialConfig::default() };
    let mut silent = Vec::new();
    let refused = loop {
        match connect(&scene.alice, quic).await {
            Ok(connected) => silent.push(connected),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, DialError::Unreachable { .. }), "{refused}");
    assert_eq!(silent.len(), 2);
    for (_, connection) in &silent {
        connection.close(CloseCode::Normal, "bye");
    }
    eventually("the places are free again", async || connect(&scene.alice, quic).await.is_ok())
        .await;
    drop(silent);
    scene.still_serves().await;
}

/// Sends bob the flood, which takes the seqs from `first` on; gives the last of them. However many
/// appends are under way, they take effect in the order in which they were sent.
async fn flood(alice: &mut RawSession, conversation: u64, first: u64) -> u64 {
    let texts = FLOOD_BYTES / TEXT_BYTES;
    let text = "x".repeat(TEXT_BYTES);
    let mut expected = HashMap::new();
    let mut next = first;
    let end = first + texts as u64;
    while next < end || !expected.is_empty() {
        if next < end && expected.len() < AHEAD {
            let mut draft = text_draft(conversation, [0; 16], &text);
            draft.id = random_id();
            expected.insert(alice.ask(request::Kind::Append(draft)).await, next);
            next += 1;
        } else if let server_frame::Kind::Reply(reply) = in_time(alice.next()).await {
            let Some(reply::Kind::Appended(entry)) = reply.kind else { panic!("{reply:?}") };
            assert_eq!(expected.remove(&reply.request), Some(entry.seq));
        }
    }
    end - 1
}

#[tokio::test]
async fn who_does_not_read_costs_little_and_is_told_what_is_missing() {
    let mut scene = Scene::start(FAST).await;
    // A fresh process: hashing passwords has left memory that would hide what the flood takes.
    scene.server.kill();
    scene.server.restart();
    let mut alice = scene.alice().await;
    let mut bob = RawSession::open(&scene.bob).await.expect("welcome");
    let first = alice.send_text(scene.conversation, rand::random(), "here it comes").await;
    assert!(matches!(first, reply::Kind::Appended(_)));
    reset_peak(scene.server.id());
    let before = peak_bytes(scene.server.id());
    let last = flood(&mut alice, scene.conversation, 2).await;
    let cost = peak_bytes(scene.server.id()) - before;
    println!(
        "{} MiB unread cost the server {} KiB on {} KiB",
        FLOOD_BYTES >> 20,
        cost / 1024,
        before / 1024
    );
    assert!(cost <= FLOOD_COST_BYTES_MAX, "{cost} bytes");

    // Now he reads: what waited, and from the log what he is told that he missed.
    let (mut applied, mut head, mut fetching, mut was_behind) = (0, 0, false, false);
    while applied < last {
        match in_time(bob.next()).await {
            server_frame::Kind::Event(event) => match event.kind {
                Some(event::Kind::Appended(appended)) if appended.log == scene.conversation => {
                    let seq = appended.entry.expect("an entry").seq;
                    applied += u64::from(seq == applied + 1);
                    head = head.max(seq);
                }
                Some(event::Kind::Behind(heads)) => {
                    was_behind = true;
                    let of_log = heads.heads.iter().find(|head| head.log == scene.conversation);
                    head = head.max(of_log.expect("all of his logs are told").seq);
                }
                _ => {}
            },
            server_frame::Kind::Reply(reply) => {
                let Some(reply::Kind::Page(page)) = reply.kind else { panic!("{reply:?}") };
                for entry in page.entries {
                    applied += u64::from(entry.seq == applied + 1);
                }
                fetching = false;
            }
        }
        if head > applied && !fetching {
            let (log, after) = (scene.conversation, applied);
            let read = pb::ReadLog { log, after, before: 0, limit: 0 };
            bob.ask(request::Kind::ReadLog(read)).await;
            fetching = true;
        }
    }
    assert!(was_behind, "the server has kept {FLOOD_BYTES} bytes for bob");
    scene.still_serves().await;
}

#[tokio::test]
async fn who_does_not_read_for_long_is_let_go() {
    let config = format!("{FAST}stall_timeout_seconds = 4\n");
    let scene = Scene::start(&config).await;
    let mut alice = scene.alice().await;
    let bob = RawSession::open(&scene.bob).await.expect("welcome");
    flood(&mut alice, scene.conversation, 1).await;
    let closed = in_time(bob.connection.closed()).await;
    assert_eq!(closed.code, Some(CloseCode::Behind), "{closed}");
    scene.still_serves().await;
}

#[tokio::test]
async fn who_asks_for_much_and_reads_nothing_costs_little() {
    let mut scene = Scene::start(FAST).await;
    let mut alice = scene.alice().await;
    let text = "x".repeat(TEXT_BYTES);
    for id in 0..16_u8 {
        alice.send_text(scene.conversation, [id; 16], &text).await;
    }
    scene.server.kill();
    scene.server.restart();
    let mut hoarder = scene.alice().await;
    scene.still_serves().await;
    reset_peak(scene.server.id());
    let before = peak_bytes(scene.server.id());
    // As many pages as a session may ask for at a time, each as long as a page may be.
    let read = pb::ReadLog { log: scene.conversation, after: 0, before: 0, limit: 0 };
    for _ in 0..PAGES {
        hoarder.ask(request::Kind::ReadLog(read)).await;
    }
    in_time(hoarder.next()).await;
    scene.still_serves().await;
    let cost = peak_bytes(scene.server.id()) - before;
    println!("{PAGES} pages unread cost the server {} KiB", cost / 1024);
    assert!(cost <= PAGES_COST_BYTES_MAX, "{cost} bytes");
    // They come when they are read.
    for _ in 1..PAGES {
        let next = in_time(hoarder.next()).await;
        let server_frame::Kind::Reply(reply) = next else { continue };
        assert!(matches!(reply.kind, Some(reply::Kind::Page(_))), "{reply:?}");
    }
}
