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
