//! Downloads that follow an upload on its way to an object store.

use skein_core::{
    coming::Destination, id::ConversationId, name::FileName, port::resource::UploadOf,
};
use skein_store::coming::ComingFiles;

use super::{
    bucket::{Node, OCTETS, PART, Site, durable, large, send},
    follow::take,
    *,
};
use crate::incoming::Incoming;

/// Says that the upload is for somebody, as a chat node does once it is open.
async fn address(site: &Site, upload: UploadOf) {
    let name = FileName::parse("film.mp4").unwrap();
    let destination = Destination { conversation: ConversationId(1), name };
    site.ledger.address_upload(upload, destination).await.unwrap();
}

async fn follow(node: &Node, upload: UploadOf, offset: usize) -> Result<OpenDownload, Refusal> {
    node.role.follow_upload(upload, offset as u64, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_stay_for_those_who_follow_until_the_object_is_whole() {
    let site = Site::new();
    let (node, other) = (site.node(), site.node());
    let file = large(3 * PART + 54_321);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = node.open(&spec).await;
    let upload = UploadOf { account: ACCOUNT, id: spec.id, blob };
    address(&site, upload).await;
    let mut early = follow(&node, upload, 0).await.unwrap();
    assert_eq!((early.size, early.length, early.hash), (spec.size, spec.size, Some(spec.hash)));
    send(&mut *sink, &file[..2 * PART + 1000]).await;
    durable(&site, &spec, 2 * PART).await;

    // The object store has two parts, which nobody can read there yet.
    assert!(take(&mut early.source, 2 * PART + 1000).await == file[..2 * PART + 1000]);
    let mut late = follow(&node, upload, PART - 3).await.unwrap();
    assert!(take(&mut late.source, 3).await == file[PART - 3..PART], "no piece of two parts");
    assert_eq!(code(follow(&other, upload, 0).await), Some(Code::Unavailable));
    // Its sender comes back, to a spool that was looked through.
    drop(sink);
    let (_, offsets, mut sink) = node.open(&spec).await;
    assert_eq!(offsets.received, (2 * PART + 1000) as u64);
    let mut again = follow(&node, upload, 5).await.unwrap();
    assert!(take(&mut again.source, PART - 5).await == file[5..PART]);
    send(&mut *sink, &file[2 * PART + 1000..]).await;
    assert!(take(&mut early.source, PART + 53_321).await == file[2 * PART + 1000..]);
    let info = sink.finish().await.unwrap();
    assert_eq!(early.source.next().await, Ok(None));

    // Who is not through goes on in the object: nothing stays in the spool.
    assert_eq!((info.hash, node.spooled()), (spec.hash, 0));
    assert!(take(&mut late.source, file.len() - PART).await == file[PART..]);
    assert_eq!(late.source.next().await, Ok(None));
    assert!(whole(follow(&other, upload, 7).await.unwrap()).await == file[7..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_refused_until_it_is_complete() {
    let site = Site::new();
    let mut node = site.node();
    let file = large(PART + 5000);
    // It is meant for nobody, so its parts go as soon as the object store has them.
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = node.open(&spec).await;
    let upload = UploadOf { account: ACCOUNT, id: spec.id, blob };
    send(&mut *sink, &file[..PART + 1000]).await;
    let part = node.folder.path().join("staging").join(blob.to_string()).join("0");
    skein_testkit::eventually("the part is gone", async || !part.exists()).await;
    let refused = follow(&node, upload, 0).await.err().unwrap();
    assert!(refused.code == Code::Unavailable && refused.retry_after.is_some(), "{refused:?}");
    let mut end = follow(&node, upload, PART + 10).await.unwrap();
    assert!(take(&mut end.source, 990).await == file[PART + 10..PART + 1000]);

    // Nobody has it open here after a restart, until its sender comes back.
    drop(sink);
    site.restart(&mut node);
    assert_eq!(code(follow(&node, upload, PART + 10).await), Some(Code::Unavailable));
    let (_, offsets, mut sink) = node.open(&spec).await;
    let mut end = follow(&node, upload, PART + 10).await.unwrap();
    send(&mut *sink, &file[offsets.received as usize..]).await;
    assert!(take(&mut end.source, 4990).await == file[PART + 10..]);
    sink.finish().await.unwrap();
    assert_eq!(end.source.next().await, Ok(None));
    assert!(whole(follow(&node, upload, 0).await.unwrap()).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_on_their_way_have_no_clean_end() {
    let site = Site::new();
    let node = site.node();
    let file = large(PART + 5000);
    let wrong = UploadSpec { hash: [9; 32], ..spec(1, OCTETS, &file) };
    let (blob, _, mut sink) = node.open(&wrong).await;
    let upload = UploadOf { account: ACCOUNT, id: wrong.id, blob };
    address(&site, upload).await;
    let mut following = follow(&node, upload, 0).await.unwrap();
    send(&mut *sink, &file).await;
    take(&mut following.source, file.len()).await;
    assert_eq!(code(sink.finish().await), Some(Code::WrongHash));
    assert_eq!(code(following.source.next().await), Some(Code::WrongHash));
    assert_eq!(code(follow(&node, upload, 0).await), Some(Code::NotFound));
    assert_eq!(node.spooled(), 0);
}

/// The first part of an upload in a node's spool.
fn first_part(node: &Node, blob: BlobId) -> std::path::PathBuf {
    node.folder.path().join("staging").join(blob.to_string()).join("0")
}

async fn left_alone(node: &Node, blob: BlobId) {
    let reaches = &node.role.parts().reaches;
    skein_testkit::eventually("nobody has it open", async || !reaches.is_held(blob)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_continues_make_room_for_others() {
    let site = Site::new();
    let mut node = site.node();
    let file = large(PART + 5000);
    let (first, second) = (spec(1, OCTETS, &file), spec(2, OCTETS, &file));
    let (left, _, mut sink) = node.open(&first).await;
    address(&site, UploadOf { account: ACCOUNT, id: first.id, blob: left }).await;
    send(&mut *sink, &file[..PART + 1000]).await;
    durable(&site, &first, PART).await;
    drop(sink);
    left_alone(&node, left).await;
    assert!(first_part(&node, left).exists());

    // Somebody follows what takes all the room that is left.
    let Incoming::Spool(lane) = node.role.parts().incoming.clone() else { panic!("a bucket") };
    let other = BlobId([9; 16]);
    let held = node.role.parts().reaches.hold(other);
    assert!((0..).take_while(|part| lane.kept.keep(other, *part)).count() > 0);
    let (blob, _, mut sink) = node.open(&second).await;
    address(&site, UploadOf { account: ACCOUNT, id: second.id, blob }).await;
    send(&mut *sink, &file[..PART + 1000]).await;
    skein_testkit::eventually("it is kept", async || lane.kept.from(blob, 1) == 0).await;
    assert!(!first_part(&node, left).exists() && first_part(&node, blob).exists());
    drop((sink, held));

    // What an earlier process kept goes at the start of the next, and nothing that is still needed.
    left_alone(&node, blob).await;
    site.restart(&mut node);
    let gone = async || !first_part(&node, blob).exists();
    skein_testkit::eventually("what was kept is gone", gone).await;
    for spec in [&first, &second] {
        let (_, offsets, mut sink) = node.open(spec).await;
        assert_eq!(offsets.received, (PART + 1000) as u64);
        send(&mut *sink, &file[PART + 1000..]).await;
        assert_eq!(sink.finish().await.unwrap().hash, spec.hash);
    }
    assert_eq!(node.spooled(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_kept_at_a_node_that_the_upload_has_left() {
    let site = Site::new();
    let (node, other) = (site.node(), site.node());
    let file = large(2 * PART + 5000);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = node.open(&spec).await;
    let upload = UploadOf { account: ACCOUNT, id: spec.id, blob };
    address(&site, upload).await;
    send(&mut *sink, &file[..PART + 1000]).await;
    durable(&site, &spec, PART).await;
    let mut early = follow(&node, upload, 0).await.unwrap();
    drop(sink);
    let (_, _, mut sink) = other.open(&spec).await;
    send(&mut *sink, &file[PART..2 * PART + 1000]).await;
    durable(&site, &spec, 2 * PART).await;
    assert_eq!(code(follow(&node, upload, 0).await), Some(Code::Unavailable));
    assert!(take(&mut early.source, PART + 1000).await == file[..PART + 1000], "it is here");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_bytes_of_two_beginnings() {
    let site = Site::new();
    let node = site.node();
    let file = large(PART + 5000);
    let wrong = UploadSpec { hash: [9; 32], ..spec(1, OCTETS, &file) };
    let (blob, _, mut sink) = node.open(&wrong).await;
    let upload = UploadOf { account: ACCOUNT, id: wrong.id, blob };
    address(&site, upload).await;
    send(&mut *sink, &file[..1000]).await;
    let mut slow = follow(&node, upload, 0).await.unwrap();
    take(&mut slow.source, 1000).await;
    // It may have been damaged between the two openings, so it begins anew.
    drop(sink);
    let (_, _, mut sink) = node.open(&wrong).await;
    send(&mut *sink, &file[1000..]).await;
    assert_eq!(code(sink.finish().await), Some(Code::Incomplete));
    let (_, offsets, mut sink) = node.open(&wrong).await;
    assert_eq!(offsets.received, 0);
    send(&mut *sink, &file).await;
    assert_eq!(code(slow.source.next().await), Some(Code::Unavailable));
    let mut again = follow(&node, upload, 1000).await.unwrap();
    assert!(take(&mut again.source, PART - 1000).await == file[1000..PART]);
}
