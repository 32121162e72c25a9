//! Uploads that lie about their offset, size or hash, that ask for too much, or stop half-way; and
//! downloads that ask for what is not there, or are never read.

use bytes::Bytes;
use skein_core::refusal::Code;
use skein_net::stream::{Receiver, Sender, StreamError};
use skein_testkit::{
    PATIENCE,
    raw::{RawSession, random_id},
    transfer::{Synthetic, status},
};
use skein_wire::pb::{self, download_status, open, upload_status::Kind};

use crate::scene::{Scene, code, download, in_time, open_upload, upload};

const MIB: u64 = 1024 * 1024;

/// Opens an upload that the server is ready for.
async fn ready(session: &RawSession, open: pb::UploadOpen) -> (Sender, Receiver, pb::UploadReady) {
    let (sender, receiver, first) = open_upload(session, open).await;
    let Kind::Ready(ready) = first else { panic!("{first:?}") };
    (sender, receiver, ready)
}

/// The error with which an upload is refused before any byte.
async fn refused_at_open(session: &RawSession, open: pb::UploadOpen) -> Code {
    let (_sender, _receiver, first) = open_upload(session, open).await;
    let Kind::Error(error) = first else { panic!("{first:?}") };
    code(&error)
}

/// Sends bytes from `offset` on and ends the stream; gives how the upload ended.
async fn send(
    (mut sender, mut receiver): (Sender, Receiver),
    offset: u64,
    bytes: Vec<Bytes>,
) -> Result<pb::UploadComplete, Code> {
    sender.frame(&pb::UploadBegin { offset }).await.expect("the server reads the offset");
    for piece in bytes {
        // A server that has seen enough says so in its status.
        if sender.bytes(piece).await.is_err() {
            break;
        }
    }
    sender.finish();
    loop {
        match in_time(status(&mut receiver)).await {
            Kind::Progress(progress) => assert_eq!(progress.received, progress.durable),
            Kind::Complete(complete) => return Ok(complete),
            Kind::Error(error) => return Err(code(&error)),
            Kind::Ready(ready) => panic!("the server is ready twice: {ready:?}"),
        }
    }
}

fn pieces(file: &Synthetic, from: u64, to: u64) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut at = from;
    while at < to {
        let piece = file.piece(at, to - at);
        at += piece.len() as u64;
        pieces.push(piece);
    }
    pieces
}

#[tokio::test]
async fn an_upload_begins_where_the_server_says() {
    let scene = Scene::start("").await;
    let session = scene.alice().await;
    let file = Synthetic::new(1_000, 1);
    let open = file.open(random_id());
    for offset in [1, 999, 1_000, 1_001, u64::MAX] {
        let (sender, receiver, _) = ready(&session, open.clone()).await;
        let sent = send((sender, receiver), offset, Vec::new()).await;
        assert_eq!(sent, Err(Code::WrongOffset), "{offset}");
    }
    let (sender, receiver, first) = ready(&session, open).await;
    let sent = send((sender, receiver), 0, pieces(&file, 0, 1_000)).await.expect("complete");
    assert_eq!(sent.blob, first.blob);
    let (_, length, hash) = download(&session, sent.blob, 0).await.expect("it is ours");
    assert_eq!((length, hash), (1_000, file.hash));
    scene.still_serves().await;
}

#[tokio::test]
async fn an_upload_has_the_announced_size() {
    let scene = Scene::start("").await;
    let session = scene.alice().await;
    let file = Synthetic::new(3 * MIB, 1);
    let open = file.open(random_id());
    // One byte more, and many more than any window holds.
    for beyond in [1, 16 * MIB] {
        let (sender, receiver, first) = ready(&session, open.clone()).await;
        let mut bytes = pieces(&file, first.received, file.size);
        bytes.extend(pieces(&Synthetic::new(beyond, 2), 0, beyond));
        let sent = send((sender, receiver), first.received, bytes).await;
        assert_eq!(sent, Err(Code::BeyondSize), "{beyond}");
    }

    // Too few are no harm: they stay, and the rest may follow.
    let short = Synthetic::new(3 * MIB, 3);
    let open = short.open(random_id());
    let (sender, receiver, _) = ready(&session, open.clone()).await;
    let sent = send((sender, receiver), 0, pieces(&short, 0, 1_000)).await;
    assert_eq!(sent, Err(Code::Incomplete));
    let (sender, receiver, again) = ready(&session, open).await;
    assert_eq!((again.received, again.durable), (1_000, 1_000));
    let rest = pieces(&short, 1_000, short.size);
    let blob = send((sender, receiver), 1_000, rest).await.expect("complete").blob;
    let (_, _, hash) = download(&session, blob, 0).await.expect("it is ours");
    assert_eq!(hash, short.hash);
    scene.still_serves().await;
}

#[tokio::test]
async fn a_wrong_hash_is_found_and_makes_nothing_visible() {
    let scene = Scene::start("").await;
    let session = scene.alice().await;
    let file = Synthetic::new(2 * MIB, 1);
    let mut open = file.open(random_id());
    open.blake3 = vec![7; 32].into();
    for _ in 0..2 {
        let (sender, receiver, first) = ready(&session, open.clone()).await;
        assert_eq!(first.received, 0, "nothing of it was kept");
        let sent = send((sender, receiver), 0, pieces(&file, 0, file.size)).await;
        assert_eq!(sent, Err(Code::WrongHash));
        let error = download(&session, first.blob, 0).await.expect_err("it is not visible");
        assert_eq!(code(&error), Code::NotFound);
    }
    // An empty file has a hash, too.
    let empty = Synthetic::new(0, 1);
    let (sender, receiver, _) = ready(&session, empty.open(random_id())).await;
    let blob = send((sender, receiver), 0, Vec::new()).await.expect("complete").blob;
    let (header, length, hash) = download(&session, blob, 0).await.expect("it is ours");
    assert_eq!((header.size, length, hash), (0, 0, empty.hash));
    scene.still_serves().await;
}

#[tokio::test]
async fn too_much_is_refused_at_open() {
    let config = "[resource]\nfile_bytes_max = 10000\naccount_bytes_max = 18000\n\
                  open_uploads_max = 2\n";
    let scene = Scene::start(config).await;
    let session = scene.alice().await;
    let open = |size: u64| {
        let file = Synthetic::new(1, 1);
        pb::UploadOpen { size, ..file.open(random_id()) }
    };
    for size in [10_001, 1 << 40, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        assert_eq!(refused_at_open(&session, open(size)).await, Code::FileTooLarge, "{size}");
    }
    upload(&session, &Synthetic::new(9_000, 1)).await;
    assert_eq!(refused_at_open(&session, open(9_001)).await, Code::Quota);
    // What is announced counts before it arrives, and a small file as one of 4,096 bytes.
    let (_first, _statuses, _) = ready(&session, open(4_500)).await;
    assert_eq!(refused_at_open(&session, open(4_501)).await, Code::Quota);
    let (_second, _statuses, _) = ready(&session, open(10)).await;
    assert_eq!(refused_at_open(&session, open(1)).await, Code::TooMany);
    // That is alice's storage, and nobody else's.
    let bob = RawSession::open(&scene.bob).await.expect("welcome");
    upload(&bob, &Synthetic::new(9_000, 2)).await;
    scene.still_serves().await;
}

#[tokio::test]
async fn an_upload_id_is_for_one_file_and_one_stream() {
    let scene = Scene::start("").await;
    let session = scene.alice().await;
    let (file, other) = (Synthetic::new(1_000, 1), Synthetic::new(1_000, 2));
    let id = random_id();
    let (mut first, mut statuses, _) = ready(&session, file.open(id.clone())).await;
    assert_eq!(refused_at_open(&session, other.open(id.clone())).await, Code::UploadConflict);
    let longer = pb::UploadOpen { size: 1_001, ..file.open(id.clone()) };
    assert_eq!(refused_at_open(&session, longer).await, Code::UploadConflict);

    // Opened again, the first stream may write no more.
    let (second, answers, _) = ready(&session, file.open(id.clone())).await;
    first.frame(&pb::UploadBegin { offset: 0 }).await.expect("the server reads on");
    first.bytes(file.piece(0, 10)).await.expect("the server reads on");
    let Kind::Error(error) = in_time(status(&mut statuses)).await else {
        panic!("the first stream was superseded")
    };
    assert_eq!(code(&error), Code::Superseded);
    let blob = send((second, answers), 0, pieces(&file, 0, 1_000)).await.expect("complete").blob;

    // Complete, it answers so, and only for the same file.
    let (_sender, _receiver, again) = open_upload(&session, file.open(id.clone())).await;
    assert!(matches!(again, Kind::Complete(complete) if complete.blob == blob));
    assert_eq!(refused_at_open(&session, other.open(id.clone())).await, Code::UploadConflict);
    // Somebody else's id is another id.
    let bob = RawSession::open(&scene.bob).await.expect("welcome");
    let (_sender, _receiver, of_bob) = ready(&bob, other.open(id)).await;
    assert_ne!(of_bob.blob, blob);
    scene.still_serves().await;
}

#[tokio::test]
async fn an_upload_that_is_given_up_can_be_resumed() {
    let scene = Scene::start("").await;
    let session = scene.alice().await;
    let file = Synthetic::new(3 * MIB, 1);
    let open = file.open(random_id());
    let (mut sender, mut receiver, _) = ready(&session, open.clone()).await;
    sender.frame(&pb::UploadBegin { offset: 0 }).await.expect("the server reads on");
    sender.bytes(file.piece(0, 1_000)).await.expect("the server reads on");
    let Kind::Progress(progress) = in_time(status(&mut receiver)).await else {
        panic!("bytes were sent")
    };
    assert_eq!(progress.durable, 1_000);
    sender.reset(Code::Internal);
    let (sender, receiver, again) = ready(&session, open).await;
    assert_eq!(again.durable, 1_000);
    let rest = pieces(&file, 1_000, file.size);
    send((sender, receiver), 1_000, rest).await.expect("complete");
    scene.still_serves().await;
}

#[tokio::test]
async fn downloads_stay_within_the_file() {
    let scene = Scene::start("").await;
    let session = scene.alice().await;
    let file = Synthetic::new(1_000, 1);
    let blob = upload(&session, &file).await;
    for offset in [1_001, i64::MAX as u64 + 1, u64::MAX] {
        let error = download(&session, blob.clone(), offset).await.expect_err("beyond the end");
        assert_eq!(code(&error), Code::WrongOffset, "{offset}");
    }
    for (offset, length, expected) in
        [(0, 0, 1_000), (999, 0, 1), (1_000, 0, 0), (0, 10, 10), (990, u64::MAX, 10)]
    {
        let open = pb::DownloadOpen { blob: blob.clone(), offset, length, thumbnail: false };
        let (_sender, mut receiver) = session.work(open::Kind::Download(open)).await;
        let status = in_time(receiver.frame::<pb::DownloadStatus>()).await.expect("a status");
        let Some(download_status::Kind::Header(header)) = status.and_then(|status| status.kind)
        else {
            panic!("{offset}, {length} is within the file")
        };
        assert_eq!((header.size, header.length), (1_000, expected), "{offset}, {length}");
    }
    let open = pb::DownloadOpen { blob, offset: 0, length: 0, thumbnail: true };
    let (_sender, mut receiver) = session.work(open::Kind::Download(open)).await;
    let status = in_time(receiver.frame::<pb::DownloadStatus>()).await.expect("a status");
    let Some(download_status::Kind::Error(error)) = status.and_then(|status| status.kind) else {
        panic!("a file that is no picture has no thumbnail")
    };
    assert_eq!(code(&error), Code::NotFound);
    scene.still_serves().await;
}

#[tokio::test]
async fn a_download_that_nobody_reads_is_given_up() {
    let scene = Scene::start("[chat]\nstall_timeout_seconds = 4\n").await;
    let session = scene.alice().await;
    // More than the windows and buffers of both sides hold.
    let blob = upload(&session, &Synthetic::new(16 * MIB, 1)).await;
    let open = pb::DownloadOpen { blob, offset: 0, length: 0, thumbnail: false };
    let (_sender, mut receiver) = session.work(open::Kind::Download(open)).await;
    receiver.frame::<pb::DownloadStatus>().await.expect("a status");
    // A byte now and then opens no window.
    let end = async {
        loop {
            match receiver.bytes(1).await {
                Ok(Some(_)) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                end => return end,
            }
        }
    };
    let end = tokio::time::timeout(PATIENCE, end).await.expect("the server gives up");
    assert_eq!(end, Err(StreamError::Abandoned(Some(Code::TimedOut))));
    scene.still_serves().await;
}
