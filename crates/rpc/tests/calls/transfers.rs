//! Uploads and downloads: several MB, refusals in the middle, and processes that go away.

use std::sync::Arc;

use bytes::Bytes;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    port::resource::{
        BlobInfo, DownloadSource, Offsets, OpenUpload, Resource, UploadOf, UploadSink, UploadSpec,
        Variant,
    },
    refusal::Code,
};
use skein_ops::lifecycle::Outcome;
use skein_rpc::{access::Role, resource};
use tokio::time::timeout;

use super::{
    double::{Blobs, TAKES_BYTES, info},
    peer::{Authority, Nobody, PATIENCE, Process, Relay, answer},
};

const ACCOUNT: AccountId = AccountId(42);

fn spec(number: u8, size: usize) -> UploadSpec {
    UploadSpec {
        id: UploadId([number; 16]),
        size: size as u64,
        media_type: MediaType::parse("image/png").unwrap(),
        hash: [number; 32],
    }
}

/// Bytes of which no two places look alike.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

async fn one() -> (Authority, Blobs, Process, resource::Client) {
    let (authority, blobs) = (Authority::new(), Blobs::default());
    let process = Process::start(authority.credentials(Role::Resource), blobs.ports()).await;
    let chat = authority.credentials(Role::Chat);
    let client = resource::Client::new(&[process.address()], &chat).unwrap();
    // From here on it is connected.
    assert_eq!(answer(|| client.discard_upload(ACCOUNT, UploadId([255; 16]))).await, Ok(()));
    (authority, blobs, process, client)
}

async fn partial(
    client: &resource::Client,
    spec: UploadSpec,
) -> (BlobId, Offsets, Box<dyn UploadSink>) {
    match client.open_upload(ACCOUNT, spec).await.map_err(|refusal| refusal.code).unwrap() {
        OpenUpload::Partial { blob, offsets, sink } => (blob, offsets, sink),
        OpenUpload::Complete(_) => panic!("not complete"),
    }
}

async fn complete(client: &resource::Client, spec: UploadSpec) -> BlobInfo {
    match client.open_upload(ACCOUNT, spec).await.map_err(|refusal| refusal.code).unwrap() {
        OpenUpload::Complete(info) => info,
        OpenUpload::Partial { .. } => panic!("complete"),
    }
}

async fn all(source: &mut Box<dyn DownloadSource>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = source.next().await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= 256 * 1024);
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[tokio::test]
async fn megabytes_go_up_and_come_down() {
    let (_authority, blobs, _process, client) = one().await;
    let bytes = Bytes::from(noise(9_000_001));
    let spec = spec(1, bytes.len());
    let (blob, offsets, mut sink) = partial(&client, spec.clone()).await;
    assert_eq!((blob, offsets), (BlobId([1; 16]), Offsets::default()));
    // Pieces as they come from a network, and one that is larger than a message and than a batch.
    let (head, tail) = (bytes.slice(..1_000_000), bytes.slice(1_000_000..));
    let chunks = head.chunks(1_200).map(Bytes::copy_from_slice).collect();
    let offsets = sink.write(chunks).await.unwrap();
    assert_eq!(offsets, Offsets { received: 1_000_000, durable: 500_000 });
    assert_eq!(sink.write(Vec::new()).await, Ok(offsets));
    let offsets = sink.write(vec![tail]).await.unwrap();
    assert_eq!(offsets.received, 9_000_001);
    assert_eq!(sink.finish().await, Ok(info(ACCOUNT, &spec)));
    assert_eq!(blobs.file(spec.id).as_deref(), Some(&bytes[..]));
    assert_eq!(complete(&client, spec.clone()).await, info(ACCOUNT, &spec));

    let download = |offset, length| client.open_download(blob, Variant::Original, offset, length);
    let mut whole = download(0, None).await.map_err(|refusal| refusal.code).unwrap();
    assert_eq!((whole.size, whole.length, whole.hash), (9_000_001, 9_000_001, Some([9; 32])));
    assert_eq!(whole.media_type.as_str(), "image/png");
    assert!(all(&mut whole.source).await == bytes);
    let mut part = download(8_000_000, Some(5)).await.map_err(|refusal| refusal.code).unwrap();
    assert_eq!(all(&mut part.source).await, bytes[8_000_000..8_000_005]);
    let mut none = download(9_000_001, None).await.map_err(|refusal| refusal.code).unwrap();
    assert_eq!((none.length, all(&mut none.source).await.len()), (0, 0));
}

#[tokio::test]
async fn an_upload_can_be_thrown_away() {
    let (_authority, blobs, _process, client) = one().await;
    let spec = spec(1, 10);
    let (_, _, mut sink) = partial(&client, spec.clone()).await;
    sink.write(vec![Bytes::from_static(b"12345")]).await.unwrap();
    drop(sink);
    assert_eq!(client.discard_upload(ACCOUNT, spec.id).await, Ok(()));
    assert_eq!(blobs.file(spec.id), None);
    assert_eq!(client.discard_upload(ACCOUNT, spec.id).await, Ok(()));
    assert_eq!(partial(&client, spec).await.1, Offsets::default());
}

#[tokio::test]
async fn refusals_come_through_at_every_step() {
    let (_authority, _blobs, _process, client) = one().await;
    let large = client.open_upload(ACCOUNT, spec(1, TAKES_BYTES + 1)).await;
    assert_eq!(large.err().map(|refusal| refusal.code), Some(Code::FileTooLarge));

    let (_, _, mut sink) = partial(&client, spec(2, 10)).await;
    let beyond = sink.write(vec![Bytes::from(vec![0; 11])]).await.unwrap_err();
    assert_eq!((beyond.code, &*beyond.message), (Code::BeyondSize, "too many"));
    let after = sink.write(vec![Bytes::from_static(b"x")]).await.unwrap_err();
    assert_eq!(after.code, Code::Unavailable, "the stream is over; open the upload again");

    // Much more than fits into the stream's window, refused at its beginning.
    let (_, _, mut sink) = partial(&client, spec(3, 10)).await;
    let refused = sink.write(vec![Bytes::from(vec![0; 4 * 1024 * 1024])]);
    let refused = timeout(PATIENCE, refused).await.expect("no deadlock").unwrap_err();
    assert_eq!(refused.code, Code::BeyondSize);

    let (_, _, mut sink) = partial(&client, spec(4, 10)).await;
    sink.write(vec![Bytes::from_static(b"12345")]).await.unwrap();
    let early = sink.finish().await.unwrap_err();
    assert_eq!((early.code, &*early.message), (Code::Incomplete, "5 are here"));

    let download = |blob, variant| client.open_download(BlobId(blob), variant, 0, None);
    let code = |refused: Result<_, skein_core::refusal::Refusal>| refused.err().map(|r| r.code);
    let unknown = download([9; 16], Variant::Original).await.map(|_| ());
    assert_eq!(code(unknown), Some(Code::NotFound));
    let pending = download([4; 16], Variant::Thumbnail).await.map(|_| ());
    assert_eq!(code(pending), Some(Code::ThumbnailPending));
}

#[tokio::test]
async fn a_dropped_sink_ends_the_stream_and_the_upload_can_be_resumed() {
    let (_authority, blobs, _process, client) = one().await;
    let (_, _, mut sink) = partial(&client, spec(1, 10)).await;
    sink.write(vec![Bytes::from_static(b"12345")]).await.unwrap();
    drop(sink);
    timeout(PATIENCE, blobs.sink_dropped()).await.expect("the server notices");
    let (_, offsets, mut sink) = partial(&client, spec(1, 10)).await;
    assert_eq!(offsets.received, 5);
    sink.write(vec![Bytes::from_static(b"67890")]).await.unwrap();
    sink.finish().await.unwrap();
}

#[tokio::test]
async fn every_chat_node_finds_the_same_process_and_the_next_if_it_is_away() {
    let authority = Authority::new();
    let shelves: Vec<_> = (0..3).map(|_| Blobs::default()).collect();
    let mut processes = Vec::new();
    for blobs in &shelves {
        let credentials = authority.credentials(Role::Resource);
        processes.push(Some(Process::start(credentials, blobs.ports()).await));
    }
    let address = |number: usize| processes[number].as_ref().unwrap().address();
    let chat = authority.credentials(Role::Chat);
    let client = |order: [usize; 3]| resource::Client::new(&order.map(address), &chat).unwrap();
    let (one, other) = (client([0, 1, 2]), client([2, 0, 1]));
    let holder = |id| shelves.iter().position(|blobs| blobs.file(id).is_some());
    let mut holders = [0; 3];
    for number in 0..32 {
        let (_, _, mut sink) = partial(&one, spec(number, 10)).await;
        sink.write(vec![Bytes::from_static(b"12345")]).await.unwrap();
        drop(sink);
        holders[holder(UploadId([number; 16])).unwrap()] += 1;
        let (_, offsets, _) = partial(&other, spec(number, 10)).await;
        assert_eq!(offsets.received, 5, "{number}");
    }
    assert!(holders.iter().all(|count| *count > 0), "{holders:?}");

    // The process dies in the middle of an upload: the sink says so, and the next opening finds
    // another process, the same one from every chat node.
    let (_, _, mut sink) = partial(&one, spec(0, 10)).await;
    let first = holder(UploadId([0; 16])).unwrap();
    processes[first].take().unwrap().stop().await;
    let gone = timeout(PATIENCE, sink.write(vec![Bytes::from_static(b"x")])).await.unwrap();
    assert_eq!(gone.unwrap_err().code, Code::Unavailable);
    let (_, offsets, mut sink) = partial(&one, spec(0, 10)).await;
    assert_eq!(offsets.received, 0);
    sink.write(vec![Bytes::from_static(b"123")]).await.unwrap();
    let (_, offsets, _) = partial(&other, spec(0, 10)).await;
    assert_eq!(offsets.received, 3);
}

#[tokio::test]
async fn downloads_come_from_whoever_lives_and_end_when_they_die() {
    let (authority, blobs, process, client) = one().await;
    let bytes = Bytes::from(noise(8 * 1024 * 1024));
    let spec = spec(1, bytes.len());
    let (blob, _, mut sink) = partial(&client, spec.clone()).await;
    sink.write(vec![bytes.clone()]).await.unwrap();
    sink.finish().await.unwrap();

    let chat = authority.credentials(Role::Chat);
    let away = [Nobody::new(), Nobody::new()];
    let addresses = [away[0].address.clone(), process.address(), away[1].address.clone()];
    let several = resource::Client::new(&addresses, &chat).unwrap();
    for _ in 0..4 {
        let opened = several.open_download(blob, Variant::Original, 0, None).await;
        let mut opened = opened.map_err(|refusal| refusal.code).unwrap();
        assert!(all(&mut opened.source).await == bytes);
    }

    // More is left than the stream's window holds.
    let relay = Relay::before(process.addr).await;
    let client = resource::Client::new(std::slice::from_ref(&relay.address), &chat).unwrap();
    let opened = client.open_download(blob, Variant::Original, 0, None).await;
    let mut opened = opened.map_err(|refusal| refusal.code).unwrap();
    opened.source.next().await.unwrap();
    relay.cut();
    let gone = async {
        loop {
            if let Err(refusal) = opened.source.next().await {
                return refusal.code;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, gone).await.expect("it is noticed"), Code::Unavailable);
    assert!(blobs.file(spec.id).is_some());
}

#[tokio::test]
async fn the_end_of_what_is_followed_is_told_after_its_last_byte() {
    let (authority, blobs, process, _client) = one().await;
    let bytes = Bytes::from(noise(700_000));
    let chat = authority.credentials(Role::Chat);
    // The process that the upload went to, and whoever is there if it is away.
    let away = Nobody::new();
    let addresses = [away.address.clone(), process.address()];
    let client = resource::Client::new(&addresses, &chat).unwrap();
    let (blob, _, mut sink) = partial(&client, spec(1, 10 * bytes.len())).await;
    sink.write(vec![bytes.clone()]).await.unwrap();
    assert!(blobs.file(UploadId([1; 16])).is_some());
    let upload = UploadOf { account: ACCOUNT, id: UploadId([1; 16]), blob };
    for (offset, length) in [(0, None), (5, Some(300_000)), (700_000, None)] {
        let opened = client.follow_upload(upload, offset, length).await;
        let mut opened = opened.map_err(|refusal| refusal.code).unwrap();
        assert_eq!((opened.size, opened.hash), (1 << 40, Some([8; 32])));
        let from = usize::try_from(offset).unwrap();
        let end = length.map_or(bytes.len(), |length| from + usize::try_from(length).unwrap());
        assert!(all(&mut opened.source).await == bytes[from..end]);

        // All bytes come, and only then it shows that they are worth nothing.
        let bad = UploadOf { account: AccountId(1), ..upload };
        let opened = client.follow_upload(bad, offset, length).await;
        let mut opened = opened.map_err(|refusal| refusal.code).unwrap();
        let mut left = end - from;
        while left > 0 {
            left -= opened.source.next().await.unwrap().unwrap().len();
        }
        assert_eq!(opened.source.next().await.unwrap_err().code, Code::WrongHash);
    }
    let unknown = UploadOf { id: UploadId([9; 16]), ..upload };
    let refused = client.follow_upload(unknown, 0, None).await;
    assert_eq!(refused.err().map(|refusal| refusal.code), Some(Code::NotFound));
}

#[tokio::test]
async fn a_process_that_stops_sends_its_uploads_elsewhere() {
    let (_authority, _blobs, process, client) = one().await;
    let (_, _, mut sink) = partial(&client, spec(1, 10)).await;
    process.begin_to_stop();
    let told = timeout(PATIENCE, sink.write(vec![Bytes::from_static(b"1")])).await.unwrap();
    assert_eq!(told.unwrap_err().code, Code::Unavailable);
    let refused = client.open_upload(ACCOUNT, spec(1, 10)).await;
    assert_eq!(refused.err().map(|refusal| refusal.code), Some(Code::Unavailable));
    assert_eq!(process.end().await, Outcome::Clean);
}

#[tokio::test]
async fn many_slow_downloads_keep_nobody_waiting() {
    let (_authority, _blobs, _process, client) = one().await;
    let bytes = Bytes::from(noise(2 * 1024 * 1024));
    let (blob, _, mut sink) = partial(&client, spec(1, bytes.len())).await;
    sink.write(vec![bytes.clone()]).await.unwrap();
    sink.finish().await.unwrap();
    let client = Arc::new(client);
    let mut slow = Vec::new();
    for _ in 0..200 {
        // Nobody reads from these.
        let opened = client.open_download(blob, Variant::Original, 0, None).await;
        slow.push(opened.map_err(|refusal| refusal.code).unwrap());
    }
    let opened = client.open_download(blob, Variant::Original, 0, None).await;
    let mut opened = opened.map_err(|refusal| refusal.code).unwrap();
    let read = timeout(PATIENCE, all(&mut opened.source)).await.expect("nothing is in the way");
    assert!(read == bytes);
}
