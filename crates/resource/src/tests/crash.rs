//! Nodes that die in each of the steps by which an upload becomes an object, and who goes on.

use skein_blob::multipart;
use skein_testkit::eventually;

use super::{
    bucket::{Node, OCTETS, PART, Site, durable, is_given_up, large, send},
    *,
};
use crate::ledger::Step;

/// Who finds what the dead node left.
#[derive(Debug, Clone, Copy)]
enum Finder {
    /// The client, at the same node after its restart.
    Here,
    /// The client, at the other node.
    Elsewhere,
    /// The other node's sweeper.
    Sweeper,
}

/// Kills the node while it finishes the upload.
async fn die(site: &Site, node: &mut Node, spec: &UploadSpec, file: &[u8], step: Step) {
    let (_, offsets, mut sink) = node.open(spec).await;
    send(&mut *sink, &file[offsets.received as usize..]).await;
    site.ledger.book().hang = Some(step);
    let finishing = tokio::spawn(sink.finish());
    eventually("it is at that step", async || site.ledger.book().hung).await;
    site.ledger.book().hung = false;
    site.restart(node);
    let died = finishing.await.unwrap();
    assert_eq!(code(died), Some(Code::Draining));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_finishes_leaves_what_another_one_finishes() {
    let site = Site::new();
    let (mut node, other) = (site.node(), site.node());
    let steps = [
        Step::BeforeCompleting,
        Step::AfterCompleting,
        Step::BeforeCompletion,
        Step::AfterCompletion,
    ];
    let mut id = 0;
    for size in [PART + 1000, 3000] {
        let file = large(size);
        for step in steps {
            let of_parts = matches!(step, Step::BeforeCompleting | Step::AfterCompleting);
            if size < PART && of_parts {
                continue;
            }
            for finder in [Finder::Here, Finder::Elsewhere, Finder::Sweeper] {
                id += 1;
                let spec = spec(id, OCTETS, &file);
                die(&site, &mut node, &spec, &file, step).await;
                go_on(&site, (&node, &other), &spec, &file, finder).await;
            }
        }
    }
    // What the dead node had in its spool goes with the next round after a while.
    site.clock.0.fetch_add(60 * 60 * 1000, Ordering::Relaxed);
    node.role.sweep(site.clock.now()).await.unwrap();
    other.role.sweep(site.clock.now()).await.unwrap();
    assert_eq!((node.spooled(), other.spooled()), (0, 0));
}

async fn go_on(
    site: &Site,
    (node, other): (&Node, &Node),
    spec: &UploadSpec,
    file: &[u8],
    finder: Finder,
) {
    let at = match finder {
        Finder::Here => node,
        Finder::Elsewhere => other,
        Finder::Sweeper => {
            let later = site.clock.now() + Duration::from_secs(61);
            other.role.sweep(later).await.unwrap();
            other
        }
    };
    let info = match at.role.open_upload(ACCOUNT, spec.clone()).await.unwrap() {
        OpenUpload::Complete(info) => info,
        OpenUpload::Partial { offsets, mut sink, .. } => {
            send(&mut *sink, &file[offsets.received as usize..]).await;
            sink.finish().await.unwrap()
        }
    };
    assert_eq!((info.size, info.hash), (spec.size, spec.hash));
    assert!(node.bytes(info.id, 0, spec.size).await == file, "{finder:?}");
    assert_eq!(other.complete(spec).await, info);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_complete_the_same_upload_at_once() {
    let site = Site::new();
    let (mut node, other) = (site.node(), site.node());
    let file = super::download::jpeg(1800, 1300);
    // A picture of two parts: what follows the picture is for nobody to see.
    let mut file = [file, large(PART)].concat();
    file.truncate(PART + 500);
    let spec = spec(1, "image/jpeg", &file);
    die(&site, &mut node, &spec, &file, Step::AfterCompleting).await;
    let later = site.clock.now() + Duration::from_secs(61);
    let (a, b, c) =
        tokio::join!(node.role.sweep(later), other.role.sweep(later), node.complete(&spec));
    a.unwrap();
    b.unwrap();
    assert_eq!(c.dimensions, Some((1800, 1300)));
    assert!(other.bytes(c.id, 0, spec.size).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_parts_are_lost_while_completing_begins_anew() {
    let site = Site::new();
    let (mut node, other) = (site.node(), site.node());
    let file = large(PART + 1000);
    for (id, by_sweeper) in [(1, true), (2, false)] {
        let spec = spec(id, OCTETS, &file);
        die(&site, &mut node, &spec, &file, Step::AfterCompleting).await;
        let held = site.held(&spec).unwrap();
        let blob = site.ledger.book().uploads[&(ACCOUNT, spec.id)].blob;
        let multipart = node.role.parts().depot.multipart().unwrap();
        multipart.abort(blob, &held).await.unwrap();
        if by_sweeper {
            let later = site.clock.now() + Duration::from_secs(61);
            assert_eq!(other.role.sweep(later).await.unwrap().completed, 1);
        }
        let (again, offsets, _) = other.open(&spec).await;
        assert!(again != blob && offsets == Offsets::default());
        let info = other.upload(&spec, &file).await;
        assert!(node.bytes(info.id, 0, spec.size).await == file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_fails_costs_nothing_but_an_opening() {
    let site = Site::new();
    let node = site.node();
    let file = large(2 * PART + 1000);
    let spec = spec(1, OCTETS, &file);
    let (_, _, mut sink) = node.open(&spec).await;
    send(&mut *sink, &file[..PART - 10]).await;
    site.ledger.book().fail_checkpoint = true;
    // The part goes; its record does not. A later write says so, or the end.
    let mut result = sink.write(chunks(&file[PART - 10..PART + 10], 20)).await.map(|_| ());
    for piece in file[PART + 10..].chunks(MIB) {
        if result.is_ok() {
            result = sink.write(chunks(piece, MIB)).await.map(|_| ());
        }
    }
    if result.is_ok() {
        result = sink.finish().await.map(|_| ());
    }
    assert_eq!(code(result), Some(Code::Internal));
    let (_, offsets, mut sink) = node.open(&spec).await;
    assert!(offsets.received >= PART as u64 + 10, "{offsets:?}");
    send(&mut *sink, &file[offsets.received as usize..]).await;
    durable(&site, &spec, 2 * PART).await;
    let held = site.held(&spec).unwrap();
    let info = sink.finish().await.unwrap();
    assert!(node.bytes(info.id, 0, spec.size).await == file);
    is_given_up(&node, info.id, held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_a_superseded_node_replaced_is_not_joined() {
    let site = Site::new();
    let (mut node, other) = (site.node(), site.node());
    let file = large(PART + 1000);
    let spec = spec(1, OCTETS, &file);
    let (blob, offsets, sink) = node.open(&spec).await;
    assert_eq!(offsets, Offsets::default());
    drop(sink);
    die(&site, &mut node, &spec, &file, Step::AfterCompleting).await;
    // The first part comes once more, late and with other bytes.
    let saved = site.held(&spec).unwrap().save();
    let id_end = 3 + usize::from(u16::from_le_bytes([saved[1], saved[2]]));
    let mut anew = multipart::Parts::restore(&saved[..id_end]).unwrap();
    assert_eq!(anew.count(), 0);
    let multipart = node.role.parts().depot.multipart().unwrap();
    multipart.put_next(blob, &mut anew, Bytes::from(vec![7; PART])).await.unwrap();
    // The object store joins the part that was named, or says that it is gone.
    let info = match other.role.open_upload(ACCOUNT, spec.clone()).await.unwrap() {
        OpenUpload::Complete(info) => info,
        OpenUpload::Partial { blob: again, offsets, .. } => {
            assert!(again != blob && offsets == Offsets::default());
            other.upload(&spec, &file).await
        }
    };
    assert!(node.bytes(info.id, 0, spec.size).await == file);
}
