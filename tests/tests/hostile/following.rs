//! Coming files in the hands of those who have no right to them, or who lie about theirs.

use bytes::Bytes;
use skein_core::{limit, refusal::Code};
use skein_net::stream::{Receiver, Sender, StreamError};
use skein_testkit::{
    eventually,
    raw::{RawSession, random_id},
    transfer::{Synthetic, send_until, status},
};
use skein_wire::pb::{
    self, download_status, event, open, reply, request, server_frame, upload_status::Kind,
};

use crate::scene::{Scene, abandoned, code, download, in_time, open_upload, refused};

const KIB: u64 = 1024;

/// Opens an upload to this conversation and sends the first bytes of the file; gives its stream.
async fn begin(
    session: &RawSession,
    file: &Synthetic,
    conversation: u64,
    bytes: u64,
) -> (Sender, Receiver, Bytes) {
    let destination = pb::Destination { conversation, name: "film.mp4".into() };
    let open = pb::UploadOpen { destination: Some(destination), ..file.open(random_id()) };
    let (mut sender, mut receiver, first) = open_upload(session, open).await;
    let Kind::Ready(ready) = first else { panic!("{first:?}") };
    sender.frame(&pb::UploadBegin { offset: 0 }).await.expect("the server reads the offset");
    in_time(send_until(&mut sender, &mut receiver, file, 0, bytes)).await;
    (sender, receiver, ready.blob)
}

/// Opens a download that goes on; gives the stream after its header.
async fn follow(session: &RawSession, blob: Bytes) -> (pb::DownloadHeader, Receiver) {
    let request = pb::DownloadOpen { blob, offset: 0, length: 0, thumbnail: false };
    let (_sender, mut receiver) = session.work(open::Kind::Download(request)).await;
    let status = in_time(receiver.frame::<pb::DownloadStatus>()).await.expect("a status");
    match status.and_then(|status| status.kind) {
        Some(download_status::Kind::Header(header)) => (header, receiver),
        other => panic!("{other:?}"),
    }
}

async fn take(receiver: &mut Receiver, count: u64) -> blake3::Hash {
    let (mut left, mut hasher) = (count, blake3::Hasher::new());
    while left > 0 {
        let max = usize::try_from(left).expect("few");
        let bytes = in_time(receiver.bytes(max)).await.expect("the stream goes on");
        let bytes = bytes.expect("not the end");
        left -= bytes.len() as u64;
        hasher.update(&bytes);
    }
    hasher.finalize()
}

fn list(conversation: u64) -> request::Kind {
    request::Kind::ListComing(pb::ListComing { conversation })
}

#[tokio::test]
async fn a_coming_file_is_for_the_members_of_its_conversation() {
    let scene = Scene::start("").await;
    let (alice, mut mallory) = (scene.alice().await, scene.stranger().await);
    let mut bob = RawSession::open(&scene.bob).await.expect("welcome");
    let file = Synthetic::new(300 * KIB, 1);
    let (mut sender, mut receiver, blob) =
        begin(&alice, &file, scene.conversation, 100 * KIB).await;

    let event = loop {
        if let server_frame::Kind::Event(event) = in_time(bob.next()).await
            && let Some(event::Kind::Coming(coming)) = event.kind
        {
            break coming;
        }
    };
    let named = event.file.clone().expect("a file");
    assert_eq!((&named.blob, named.size, &named.blake3[..]), (&blob, file.size, &file.hash[..]));
    let listed = in_time(bob.request(list(scene.conversation))).await;
    assert_eq!(listed, reply::Kind::Coming(pb::ComingFiles { files: vec![event] }));

    // To a stranger nothing is coming, also to one who has learnt the id.
    let error = download(&mallory, blob.clone(), 0).await.expect_err("not for her");
    assert_eq!(code(&error), Code::NotFound);
    assert_eq!(refused(&mut mallory, list(scene.conversation)).await, Code::NotFound);
    let (header, mut following) = follow(&bob, blob.clone()).await;
    assert_eq!((header.size, header.length), (file.size, file.size));
    take(&mut following, 100 * KIB).await;

    // The rest, and the message that never comes: it is bob's all the same, and not hers.
    in_time(send_until(&mut sender, &mut receiver, &file, 100 * KIB, file.size)).await;
    sender.finish();
    while !matches!(in_time(status(&mut receiver)).await, Kind::Complete(_)) {}
    take(&mut following, 200 * KIB).await;
    assert!(in_time(following.bytes(1)).await.expect("a clean end").is_none());
    let (_, _, hash) = download(&bob, blob.clone(), 0).await.expect("complete");
    assert_eq!(hash, file.hash);
    let error = download(&mallory, blob, 0).await.expect_err("not for her");
    assert_eq!(code(&error), Code::NotFound);
    scene.still_serves().await;
}

#[tokio::test]
async fn nobody_is_told_by_who_may_not_write_there() {
    let scene = Scene::start("").await;
    let mallory = scene.stranger().await;
    let file = Synthetic::new(10 * KIB, 1);
    for conversation in [scene.conversation, 0, u64::MAX] {
        let destination = pb::Destination { conversation, name: "film.mp4".into() };
        let open = pb::UploadOpen { destination: Some(destination), ..file.open(random_id()) };
        let (_sender, _receiver, first) = open_upload(&mallory, open).await;
        let Kind::Error(error) = first else { panic!("{first:?}") };
        assert_eq!(code(&error), Code::NotFound, "{conversation}");
    }
    let mut bob = RawSession::open(&scene.bob).await.expect("welcome");
    let listed = in_time(bob.request(list(scene.conversation))).await;
    assert_eq!(listed, reply::Kind::Coming(pb::ComingFiles { files: Vec::new() }));
    // What was uploaded for nobody is nobody's to follow.
    let alice = scene.alice().await;
    let (_sender, _receiver, first) = open_upload(&alice, file.open(random_id())).await;
    let Kind::Ready(ready) = first else { panic!("{first:?}") };
    let error = download(&bob, ready.blob, 0).await.expect_err("it was meant for nobody");
    assert_eq!(code(&error), Code::NotFound);
    scene.still_serves().await;
}

#[tokio::test]
async fn a_lie_about_the_hash_has_no_clean_end() {
    let scene = Scene::start("").await;
    let alice = scene.alice().await;
    let bob = RawSession::open(&scene.bob).await.expect("welcome");
    let mut file = Synthetic::new(50 * KIB, 1);
    file.hash = [7; 32];
    let (mut sender, mut receiver, blob) =
        begin(&alice, &file, scene.conversation, file.size).await;
    let (header, mut following) = follow(&bob, blob.clone()).await;
    assert_eq!(header.blake3, file.hash.to_vec());
    take(&mut following, file.size).await;
    sender.finish();
    let Kind::Error(error) = in_time(status(&mut receiver)).await else { panic!("it is wrong") };
    assert_eq!(code(&error), Code::WrongHash);
    assert_eq!(abandoned(&mut following).await, Code::WrongHash);
    let error = download(&bob, blob, 0).await.expect_err("it is gone");
    assert_eq!(code(&error), Code::NotFound);
    scene.still_serves().await;
}

#[tokio::test]
async fn nobody_takes_all_places_or_more_than_is_theirs() {
    let scene = Scene::start("").await;
    let mut alice = scene.alice().await;
    // One connection carries no more streams than that.
    let bob = RawSession::open(&scene.bob).await.expect("welcome");
    let elsewhere = RawSession::open(&scene.bob).await.expect("welcome");
    let file = Synthetic::new(50 * KIB, 1);
    let (mut sender, mut receiver, blob) = begin(&alice, &file, scene.conversation, 10 * KIB).await;
    let mut following = Vec::new();
    for number in 0..limit::FOLLOWED_MAX {
        let session = if number % 2 == 0 { &bob } else { &elsewhere };
        following.push(follow(session, blob.clone()).await.1);
    }
    let error = download(&elsewhere, blob.clone(), 0).await.expect_err("he has enough");
    assert_eq!(code(&error), Code::TooMany);
    // A stream that he stops is served no more, though nothing is due on it.
    for mut one in following.drain(1..) {
        one.stop(Code::Superseded);
    }
    let mut last = following.remove(0);
    take(&mut last, 10 * KIB).await;
    eventually("a place is free", async || {
        let request =
            pb::DownloadOpen { blob: blob.clone(), offset: 0, length: 0, thumbnail: false };
        let (_sender, mut receiver) = bob.work(open::Kind::Download(request)).await;
        let status = in_time(receiver.frame::<pb::DownloadStatus>()).await.expect("a status");
        let kind = status.and_then(|status| status.kind);
        matches!(kind, Some(download_status::Kind::Header(_)))
    })
    .await;

    // He is no contact any more, so the end is not for him to hear, whatever he has of it.
    let remove = pb::AnswerContact { account: bob.account(), id: random_id() };
    let removed = in_time(alice.request(request::Kind::RemoveContact(remove))).await;
    assert!(matches!(removed, reply::Kind::Step(_)), "{removed:?}");
    in_time(send_until(&mut sender, &mut receiver, &file, 10 * KIB, file.size)).await;
    sender.finish();
    while !matches!(in_time(status(&mut receiver)).await, Kind::Complete(_)) {}
    let end = async {
        loop {
            match last.bytes(usize::MAX).await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    };
    let end = in_time(end).await;
    assert_eq!(end, Err(StreamError::Abandoned(Some(Code::NotFound))));
    let error = download(&bob, blob, 0).await.expect_err("not for him any more");
    assert_eq!(code(&error), Code::NotFound);
}
