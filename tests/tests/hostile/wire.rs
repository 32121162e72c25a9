//! Bytes that are no frames, frames at the wrong place, streams and connections that say nothing,
//! and tokens that are none.

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use serde_json::json;
use skein_core::{
    limit::CURSORS_MAX,
    refusal::Code,
    token::{TOKEN_SECRET_BYTES, token_text},
};
use skein_net::{dial::DialConfig, priority::Priority};
use skein_testkit::{
    cli::PASSWORD,
    raw::{RawSession, connect, random_id},
    transfer::{Synthetic, status},
};
use skein_wire::{
    close::CloseCode,
    pb::{self, open, reply, request, upload_status},
};

use crate::scene::{Scene, abandoned, code, frame, hello, in_time, open_upload, stream_error};

/// Random streams of each kind.
const SEEDS: u64 = 8;
/// Bytes in a random stream at most.
const RANDOM_BYTES_MAX: usize = 4096;
/// Waits of the server that a test waits out; what is in order does not pause for so long, however
/// busy the machine.
const SHORT: &str = "[chat]\nhello_timeout_seconds = 4\nstall_timeout_seconds = 4\n";
/// A length of 2^32, and the beginning of what it announces.
const FOUR_GIB: [u8; 8] = [0x80, 0x80, 0x80, 0x80, 0x10, 1, 2, 3];

fn random_bytes(seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = vec![0; random.random_range(1..RANDOM_BYTES_MAX)];
    random.fill_bytes(&mut bytes);
    bytes
}

/// Whether an error is one that bytes without sense may cause.
fn is_nonsense(code: Code) -> bool {
    matches!(code, Code::Malformed | Code::FrameTooLarge | Code::Invalid)
}

#[tokio::test]
async fn random_bytes_before_login_end_the_connection() {
    let scene = Scene::start("").await;
    for seed in 0..SEEDS {
        let closed = scene.first_stream(random_bytes(seed), true).await;
        assert_eq!(closed.code, Some(CloseCode::Protocol), "seed {seed}: {closed}");
        let named = ["malformed: ", "frame_too_large: ", "protocol: "];
        assert!(named.iter().any(|name| closed.message.starts_with(name)), "seed {seed}: {closed}");
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn random_bytes_on_a_session_end_it() {
    let scene = Scene::start("").await;
    for seed in 0..SEEDS {
        let mut session = scene.alice().await;
        session.sender.bytes(random_bytes(seed).into()).await.expect("the server takes them");
        session.sender.finish();
        let closed = in_time(session.connection.closed()).await;
        assert_eq!(closed.code, Some(CloseCode::Protocol), "seed {seed}: {closed}");
    }
    scene.still_serves().await;
}

#[tokio::test]
async fn random_bytes_on_work_streams_end_those_alone() {
    let scene = Scene::start("").await;
    let mut session = scene.alice().await;
    let file = Synthetic::new(1024, 1);
    for seed in 0..SEEDS {
        let first = stream_error(&session, random_bytes(seed), true).await;
        assert!(is_nonsense(first), "seed {seed}: {first}");

        // Where the upload should begin.
        let (mut sender, mut receiver, _) = open_upload(&session, file.open(random_id())).await;
        sender.bytes(random_bytes(seed).into()).await.expect("the server takes them");
        sender.finish();
        let upload_status::Kind::Error(error) = in_time(status(&mut receiver)).await else {
            panic!("seed {seed}: random bytes began an upload")
        };
        let second = code(&error);
        assert!(is_nonsense(second) || second == Code::WrongOffset, "seed {seed}: {second}");

        // In place of a download's only frame.
        let mut download = frame(open::Kind::Download(pb::DownloadOpen::default()));
        download.truncate(1);
        download.extend(random_bytes(seed).into_iter().map(|byte| byte | 0x80));
        let third = stream_error(&session, download, true).await;
        assert!(is_nonsense(third), "seed {seed}: {third}");
    }
    let reply = session.send_text(scene.conversation, [1; 16], "unharmed").await;
    assert!(matches!(reply, reply::Kind::Appended(_)), "{reply:?}");
    scene.still_serves().await;
}

#[tokio::test]
async fn a_frame_that_claims_4_gib_costs_nothing() {
    let scene = Scene::start("").await;
    let closed = scene.first_stream(FOUR_GIB.to_vec(), false).await;
    assert_eq!(closed.code, Some(CloseCode::Protocol));
    assert!(closed.message.starts_with("frame_too_large: "), "{closed}");

    let session = scene.alice().await;
    assert_eq!(stream_error(&session, FOUR_GIB.to_vec(), false).await, Code::FrameTooLarge);
    let mut session = scene.alice().await;
    session.sender.bytes(FOUR_GIB.to_vec().into()).await.expect("the server takes a few bytes");
    let closed = in_time(session.connection.closed()).await;
    assert_eq!(closed.code, Some(CloseCode::Protocol));
    assert!(closed.message.starts_with("frame_too_large: "), "{closed}");
    scene.still_serves().await;
}

#[tokio::test]
async fn who_never_says_hello_is_closed() {
    let scene = Scene::start(SHORT).await;
    let (_dialer, silent) = connect(&scene.alice, DialConfig::default()).await.expect("connected");
    assert_eq!(in_time(silent.closed()).await.code, Some(CloseCode::TimedOut));
    // Half a hello is none.
    let mut half = hello(&scene.alice.token, Vec::new());
    half.truncate(20);
    let closed = scene.first_stream(half.clone(), false).await;
    assert_eq!(closed.code, Some(CloseCode::TimedOut));
    assert!(closed.message.starts_with("timed_out: "), "{closed}");
    // And one that ends there is broken.
    let closed = scene.first_stream(half, true).await;
    assert_eq!(closed.code, Some(CloseCode::Protocol));
    scene.still_serves().await;
}

#[tokio::test]
async fn a_stream_opened_and_never_used_is_reset() {
    let scene = Scene::start(SHORT).await;
    let mut session = scene.alice().await;
    // One byte: QUIC does not tell the peer of a stream that nothing was sent on.
    assert_eq!(stream_error(&session, vec![1], false).await, Code::TimedOut);

    // An upload that is opened and gets no bytes says why it ends.
    let file = Synthetic::new(1024, 1);
    let (mut sender, mut receiver, _) = open_upload(&session, file.open(random_id())).await;
    sender.frame(&pb::UploadBegin { offset: 0 }).await.expect("the stream goes on");
    let upload_status::Kind::Error(error) = in_time(status(&mut receiver)).await else {
        panic!("nothing was sent")
    };
    assert_eq!(code(&error), Code::TimedOut);
    let reply = session.send_text(scene.conversation, [1; 16], "unharmed").await;
    assert!(matches!(reply, reply::Kind::Appended(_)), "{reply:?}");
    scene.still_serves().await;
}

#[tokio::test]
async fn streams_say_once_and_at_their_time_what_they_are() {
    let scene = Scene::start("").await;
    let mut session = scene.alice().await;
    let second = hello(&scene.alice.token, Vec::new());
    assert_eq!(stream_error(&session, second, false).await, Code::Protocol);
    // Field 31, which no version has.
    assert_eq!(stream_error(&session, vec![3, 0xfa, 1, 0], false).await, Code::Malformed);
    assert_eq!(stream_error(&session, vec![0], false).await, Code::Malformed);
    assert_eq!(stream_error(&session, Vec::new(), true).await, Code::Malformed);

    let upload = open::Kind::Upload(Synthetic::new(1, 1).open(random_id()));
    let closed = scene.first_stream(frame(upload), false).await;
    assert_eq!(closed.code, Some(CloseCode::Protocol));
    assert!(closed.message.starts_with("protocol: "), "{closed}");

    // A stream that comes before the hello waits until it is known whose it is.
    let (_dialer, connection) =
        connect(&scene.alice, DialConfig::default()).await.expect("connected");
    let (mut first, _replies) = connection.open(Priority::Session).await.expect("allowed");
    let (mut early, mut answers) = connection.open(Priority::Bulk).await.expect("allowed");
    early.bytes(vec![0].into()).await.expect("taken");
    first.bytes(hello(&scene.alice.token, Vec::new()).into()).await.expect("taken");
    assert_eq!(abandoned(&mut answers).await, Code::Malformed);

    let unknown = pb::Request { id: 7, kind: None };
    session.sender.frame(&unknown).await.expect("taken");
    let reply = loop {
        if let pb::server_frame::Kind::Reply(reply) = in_time(session.next()).await {
            break reply;
        }
    };
    let Some(reply::Kind::Error(error)) = reply.kind else { panic!("{reply:?}") };
    assert_eq!((reply.request, code(&error)), (7, Code::Malformed));
    scene.still_serves().await;
}

#[tokio::test]
async fn a_hello_names_a_bounded_number_of_logs() {
    let scene = Scene::start("").await;
    let cursors = vec![pb::Cursor { log: 1, seq: 1 }; CURSORS_MAX + 1];
    let closed = scene.first_stream(hello(&scene.alice.token, cursors), false).await;
    assert_eq!(closed.code, Some(CloseCode::Protocol), "{closed}");
    scene.still_serves().await;
}

#[tokio::test]
async fn tokens_that_are_none_or_not_any_more_are_unauthorised() {
    let scene = Scene::start("").await;
    let made_up = token_text(&[7; TOKEN_SECRET_BYTES]);
    let long = "x".repeat(100_000);
    for token in ["", "garbage", "skein_", &made_up, "' OR 1=1 --", "\0", &long] {
        let closed = scene.first_stream(hello(token, Vec::new()), false).await;
        assert_eq!(closed.code, Some(CloseCode::Unauthorised), "{token:.20}: {closed}");
        assert!(!closed.message.contains("skein_"), "{closed}");
    }

    // Of a device that logged out.
    let http = reqwest::Client::new();
    let url = format!("{}/v1/logout", scene.server.http());
    let gone = scene.gate.login("alice").await;
    let answer = http.post(url).bearer_auth(&gone.token).send().await.expect("the gate answers");
    assert!(answer.status().is_success());
    // And one that another login on the same device has replaced.
    let mut tokens = vec![gone.token];
    for _ in 0..2 {
        let body = json!({
            "name": "alice", "password": PASSWORD, "device": "0f".repeat(16), "device_name": "x",
        });
        let (_, answer) = scene.gate.post("/v1/login", &body).await;
        tokens.push(answer["token"].as_str().expect("a token").to_owned());
    }
    let valid = tokens.pop().expect("three");
    for token in tokens {
        let closed = scene.first_stream(hello(&token, Vec::new()), false).await;
        assert_eq!(closed.code, Some(CloseCode::Unauthorised), "{closed}");
    }
    let login = skein_testkit::gate::Login { token: valid, ..scene.alice.clone() };
    let mut session = RawSession::open(&login).await.expect("the newest token is valid");
    let list = request::Kind::ListContacts(pb::ListContacts {});
    assert!(matches!(session.request(list).await, reply::Kind::Contacts(_)));
    scene.still_serves().await;
}
