//! Nodes that share an object store and a record: uploads that move between them, and what they
//! throw away.

use std::path::Path;

use skein_blob::{depot::DepotError, multipart, s3, spool::PART_BYTES};
use skein_core::port::resource::Thumbnail;
use skein_testkit::{eventually, s3::S3};

use super::*;

pub(super) const OCTETS: &str = "application/octet-stream";
pub(super) const PART: usize = PART_BYTES as usize;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the nodes have in common.
pub(super) struct Site {
    pub(super) s3: S3,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<Hand>,
    pub(super) config: Config,
}

/// A resource node, with a folder of its own.
pub(super) struct Node {
    pub(super) role: Arc<ResourceRole>,
    pub(super) shutdown: Shutdown,
    pub(super) folder: tempfile::TempDir,
}

impl Site {
    pub(super) fn new() -> Self {
        Self {
            s3: S3::start(),
            ledger: Arc::default(),
            clock: Arc::new(Hand(AtomicU64::new(SystemClock.now().0))),
            config: Config::default(),
        }
    }

    pub(super) fn node(&self) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let (role, shutdown) = self.start(folder.path());
        Node { role, shutdown, folder }
    }

    /// What `kill -9` and a new start of the node leave.
    pub(super) fn restart(&self, node: &mut Node) {
        node.shutdown.force();
        (node.role, node.shutdown) = self.start(node.folder.path());
    }

    pub(super) fn start(&self, staging: &Path) -> (Arc<ResourceRole>, Shutdown) {
        let blobs = Blobs::S3 { config: bucket(&self.s3), staging: staging.to_owned() };
        let (ledger, clock) = (Arc::clone(&self.ledger) as _, Arc::clone(&self.clock) as _);
        let shutdown = Shutdown::new();
        let role = ResourceRole::start(self.config.clone(), ledger, blobs, clock, &shutdown);
        (role.unwrap(), shutdown)
    }

    fn turn(&self, span: Duration) -> Timestamp {
        self.clock.0.fetch_add(span.as_millis() as u64, Ordering::Relaxed);
        self.clock.now()
    }

    /// The unfinished object that the record names.
    pub(super) fn held(&self, spec: &UploadSpec) -> Option<multipart::Parts> {
        let book = self.ledger.book();
        multipart::Parts::restore(&book.uploads[&(ACCOUNT, spec.id)].checkpoint.parts)
    }
}

impl Node {
    pub(super) async fn open(&self, spec: &UploadSpec) -> (BlobId, Offsets, Box<dyn UploadSink>) {
        match self.role.open_upload(ACCOUNT, spec.clone()).await {
            Ok(OpenUpload::Partial { blob, offsets, sink }) => (blob, offsets, sink),
            Ok(OpenUpload::Complete(_)) => panic!("the upload is complete"),
            Err(refusal) => panic!("{refusal}"),
        }
    }

    pub(super) async fn complete(&self, spec: &UploadSpec) -> BlobInfo {
        match self.role.open_upload(ACCOUNT, spec.clone()).await {
            Ok(OpenUpload::Complete(info)) => info,
            Ok(OpenUpload::Partial { offsets, .. }) => panic!("the upload is at {offsets:?}"),
            Err(refusal) => panic!("{refusal}"),
        }
    }

    pub(super) async fn upload(&self, spec: &UploadSpec, file: &[u8]) -> BlobInfo {
        let (_, offsets, mut sink) = self.open(spec).await;
        send(&mut *sink, &file[offsets.received as usize..]).await;
        sink.finish().await.unwrap()
    }

    pub(super) async fn bytes(&self, blob: BlobId, from: u64, length: u64) -> Vec<u8> {
        let download =
            self.role.open_download(blob, Variant::Original, from, Some(length)).await.unwrap();
        whole(download).await
    }

    pub(super) fn spooled(&self) -> usize {
        files(self.folder.path().join("staging"))
    }
}

pub(super) fn bucket(s3: &S3) -> s3::Config {
    s3::Config {
        endpoint: s3.endpoint(),
        bucket: s3.bucket().into(),
        region: s3.region().into(),
        access_key: s3.access_key().into(),
        secret_key: s3.secret_key().into(),
        allow_http: true,
        tls_ca: None,
        request_timeout: Duration::from_secs(10),
    }
}

/// Bytes that are nowhere the same, made fast.
pub(super) fn large(len: usize) -> Vec<u8> {
    let mut bytes = content(MIB).repeat(len.div_ceil(MIB));
    bytes.truncate(len);
    for (number, piece) in bytes.chunks_mut(4096).enumerate() {
        let stamp = number.to_le_bytes();
        let length = piece.len().min(stamp.len());
        piece[..length].copy_from_slice(&stamp[..length]);
    }
    bytes
}

pub(super) async fn send(sink: &mut dyn UploadSink, bytes: &[u8]) -> Offsets {
    let mut offsets = sink.write(Vec::new()).await.unwrap();
    for piece in bytes.chunks(MIB - 77) {
        offsets = sink.write(chunks(piece, 300_000)).await.unwrap();
    }
    offsets
}

/// Waits until so many bytes are durable.
pub(super) async fn durable(site: &Site, spec: &UploadSpec, bytes: usize) {
    eventually("the parts are recorded", async || {
        let book = site.ledger.book();
        book.uploads[&(ACCOUNT, spec.id)].checkpoint.durable >= bytes as u64
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_at_its_last_byte_here_and_at_its_last_part_elsewhere() {
    let site = Site::new();
    let (mut first, second) = (site.node(), site.node());
    let file = large(3 * PART + 12_345);
    let spec = spec(1, OCTETS, &file);
    let (blob, offsets, mut sink) = first.open(&spec).await;
    assert_eq!(offsets, Offsets::default());
    let stop = 2 * PART + 2 * MIB + 5;
    let offsets = send(&mut *sink, &file[..stop]).await;
    assert_eq!(offsets.received, stop as u64);
    assert!(offsets.durable % PART_BYTES == 0, "{offsets:?}");
    durable(&site, &spec, 2 * PART).await;
    drop(sink);
    let here = Offsets { received: stop as u64, durable: 2 * PART_BYTES };
    assert_eq!(first.open(&spec).await.1, here);
    site.restart(&mut first);
    let (_, offsets, mut late) = first.open(&spec).await;
    assert_eq!(offsets, here);

    // The other node has only what is durable. What the first still does is in vain.
    let (_, offsets, mut sink) = second.open(&spec).await;
    assert_eq!(offsets, Offsets { received: 2 * PART_BYTES, durable: 2 * PART_BYTES });
    late.write(chunks(&file[stop..stop + 100], 100)).await.unwrap();
    let rest = late.write(chunks(&file[stop + 100..], PART)).await;
    assert!(rest.is_ok() || code(rest) == Some(Code::Superseded));
    assert_eq!(code(late.finish().await), Some(Code::Superseded));
    send(&mut *sink, &file[2 * PART..2 * PART + MIB]).await;
    drop(sink);

    // Back at the first, which knows more than the second by now.
    let (_, offsets, mut sink) = first.open(&spec).await;
    assert!(offsets.durable >= 2 * PART_BYTES, "{offsets:?}");
    send(&mut *sink, &file[offsets.received as usize..]).await;
    let info = sink.finish().await.unwrap();
    assert_eq!((info.id, info.size, info.hash), (blob, spec.size, spec.hash));
    assert_eq!(second.complete(&spec).await, info);
    assert!(second.bytes(blob, 0, spec.size).await == file);
    let across = (PART - 3) as u64;
    assert!(second.bytes(blob, across, 9).await == file[PART - 3..PART + 6]);

    // The second still has bytes of it, until it looks whether they are needed.
    assert_eq!((first.spooled(), second.spooled()), (0, 1));
    let swept = second.role.sweep(site.turn(DAY)).await.unwrap();
    assert_eq!((swept.orphans, second.spooled()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_around_the_border_of_a_part_arrives() {
    let site = Site::new();
    let (mut node, other) = (site.node(), site.node());
    for (id, size) in [0, 1, PART - 1, PART, PART + 1, 2 * PART].into_iter().enumerate() {
        let file = large(size);
        let spec = spec(id as u8, OCTETS, &file);
        let (_, _, mut sink) = node.open(&spec).await;
        send(&mut *sink, &file).await;
        drop(sink);
        site.restart(&mut node);
        let (_, offsets, mut sink) = node.open(&spec).await;
        assert_eq!(offsets.received, spec.size);
        assert_eq!(code(sink.write(chunks(b"x", 1)).await), Some(Code::BeyondSize));
        let info = sink.finish().await.unwrap();
        assert!(other.bytes(info.id, 0, spec.size).await == file, "{size}");
        assert_eq!(other.complete(&spec).await, info);
    }
    assert_eq!(node.spooled(), 0);
    let picture = super::download::jpeg(800, 600);
    let info = other.upload(&spec(9, "image/jpeg", &picture), &picture).await;
    assert_eq!(info.dimensions, Some((800, 600)));
    eventually("there is a thumbnail", async || {
        site.ledger.book().blobs[&info.id].0.thumbnail == Thumbnail::Ready
    })
    .await;
    let small = node.role.open_download(info.id, Variant::Thumbnail, 0, None).await.unwrap();
    let small = image::load_from_memory(&whole(small).await).unwrap();
    assert_eq!((small.width(), small.height()), (320, 240));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_leave_nothing_and_damaged_ones_are_sent_again() {
    let site = Site::new();
    let mut node = site.node();
    let file = large(PART + MIB);
    let wrong = UploadSpec { hash: [9; 32], ..spec(1, OCTETS, &file) };
    let (blob, _, mut sink) = node.open(&wrong).await;
    send(&mut *sink, &file).await;
    durable(&site, &wrong, PART).await;
    let held = site.held(&wrong).unwrap();
    assert_eq!(code(sink.finish().await), Some(Code::WrongHash));
    is_given_up(&node, blob, held).await;
    let (again, offsets, _) = node.open(&wrong).await;
    assert!(again != blob && offsets == Offsets::default());

    // A loss of power left other bytes than those that were written last.
    let good = spec(2, OCTETS, &file);
    let (blob, _, mut sink) = node.open(&good).await;
    send(&mut *sink, &file[..PART + 5000]).await;
    durable(&site, &good, PART).await;
    drop(sink);
    let held = site.held(&good).unwrap();
    site.restart(&mut node);
    let part = node.folder.path().join("staging").join(blob.to_string()).join("1");
    assert_eq!(fs::read(&part).unwrap().len(), 5000);
    fs::write(&part, [0; 5000]).unwrap();
    let (_, offsets, mut sink) = node.open(&good).await;
    assert_eq!(offsets.received, PART_BYTES + 5000);
    send(&mut *sink, &file[PART + 5000..]).await;
    assert_eq!(code(sink.finish().await), Some(Code::Incomplete));
    is_given_up(&node, blob, held).await;
    let (_, offsets, _) = node.open(&good).await;
    assert_eq!(offsets, Offsets::default());
    let info = node.upload(&good, &file).await;
    assert!(node.bytes(info.id, 0, good.size).await == file);
}

/// That the object store has forgotten the parts.
pub(super) async fn is_given_up(node: &Node, blob: BlobId, mut held: multipart::Parts) {
    let multipart = node.role.parts().depot.multipart().unwrap();
    let put = multipart.put_next(blob, &mut held, Bytes::from_static(b"more")).await;
    assert!(matches!(put, Err(DepotError::Missing(_))), "{put:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_the_object_store_gave_up_are_sent_again() {
    let site = Site::new();
    let node = site.node();
    let file = large(2 * PART + MIB);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = node.open(&spec).await;
    send(&mut *sink, &file[..PART + MIB]).await;
    durable(&site, &spec, PART).await;
    let multipart = node.role.parts().depot.multipart().unwrap();
    multipart.abort(blob, &site.held(&spec).unwrap()).await.unwrap();
    // The next part shows it, to this write or to a later one.
    let mut refused = None;
    for piece in file[PART + MIB..].chunks(MIB) {
        if let Err(refusal) = sink.write(chunks(piece, MIB)).await {
            refused = Some(refusal);
            break;
        }
    }
    let refused = match refused {
        Some(refusal) => refusal,
        None => sink.finish().await.unwrap_err(),
    };
    assert_eq!(refused.code, Code::Incomplete, "{refused}");
    let info = node.upload(&spec, &file).await;
    assert_eq!(info.id, blob);
    assert!(node.bytes(blob, 0, spec.size).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_gone_at_the_last_one_are_sent_again() {
    let site = Site::new();
    let node = site.node();
    let file = large(PART + MIB);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = node.open(&spec).await;
    send(&mut *sink, &file).await;
    durable(&site, &spec, PART).await;
    let multipart = node.role.parts().depot.multipart().unwrap();
    multipart.abort(blob, &site.held(&spec).unwrap()).await.unwrap();
    assert_eq!(code(sink.finish().await), Some(Code::Incomplete));
    let (_, offsets, _) = node.open(&spec).await;
    assert_eq!(offsets, Offsets::default());
    let info = node.upload(&spec, &file).await;
    assert_eq!(info.id, blob);
    assert!(node.bytes(blob, 0, spec.size).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweepers_of_two_nodes_do_no_harm_to_each_other() {
    let site = Site::new();
    let (first, second) = (site.node(), site.node());
    let file = large(PART + MIB);
    let (stale, slow) = (spec(1, OCTETS, &file), spec(2, OCTETS, &file));
    let (blob, _, mut sink) = first.open(&stale).await;
    send(&mut *sink, &file).await;
    durable(&site, &stale, PART).await;
    let held = site.held(&stale).unwrap();
    drop(sink);
    let (_, _, mut sink) = first.open(&slow).await;
    send(&mut *sink, &file[..1000]).await;
    // A byte now and then keeps it, also from the other node's sweeper.
    for hour in 0..5_u8 {
        let now = site.turn(DAY / 4);
        let offset = 1000 + usize::from(hour);
        sink.write(chunks(&file[offset..=offset], 1)).await.unwrap();
        eventually("the record is touched", async || {
            let before = now.before(Duration::from_secs(1));
            let open = second.role.parts().records.stale_uploads(before, None, 9).await.unwrap();
            !open.iter().any(|upload| upload.id == slow.id)
        })
        .await;
    }
    let now = site.clock.now();
    let (a, b) = tokio::join!(first.role.sweep(now), second.role.sweep(now));
    assert_eq!(a.unwrap().expired + b.unwrap().expired, 1);
    is_given_up(&second, blob, held).await;
    send(&mut *sink, &file[1005..]).await;
    let loose = sink.finish().await.unwrap().id;

    let now = site.turn(8 * DAY);
    let (a, b) = tokio::join!(first.role.sweep(now), second.role.sweep(now));
    assert_eq!(a.unwrap().collected + b.unwrap().collected, 1);
    assert_eq!(first.role.parts().depot.size(loose, Variant::Original).await.unwrap(), None);
    let orphan = BlobId([0xcd; 16]);
    let depot = &first.role.parts().depot;
    depot.put(orphan, Variant::Original, Bytes::from_static(b"lost")).await.unwrap();
    let swept = second.role.sweep(site.clock.now()).await.unwrap();
    assert_eq!(swept.orphans, 1, "the clock is a week ahead of the object store's");
    assert_eq!(depot.size(orphan, Variant::Original).await.unwrap(), None);
}
