//! An object store that is away, or hangs: what is said, and that everything goes on afterwards.

use std::time::Instant;

use skein_blob::s3;
use skein_store::upload::{Checkpoint, UploadState, Uploads};
use skein_testkit::eventually;

use super::{
    bucket::{Node, OCTETS, PART, Site, large, send},
    *,
};

/// Longer than any deadline of one request here, with its repetitions.
const SOON: Duration = Duration::from_secs(120);

/// Uploads piece by piece, as a client does that is told to try again, until `stop` says so.
async fn persist(node: &Node, spec: &UploadSpec, file: &[u8], refusals: &mut Vec<Refusal>) -> bool {
    let opened = node.role.open_upload(ACCOUNT, spec.clone()).await;
    let (offsets, mut sink) = match opened.unwrap() {
        OpenUpload::Complete(_) => return true,
        OpenUpload::Partial { offsets, sink, .. } => (offsets, sink),
    };
    for piece in file[offsets.received as usize..].chunks(MIB) {
        if let Err(refusal) = sink.write(chunks(piece, MIB)).await {
            refusals.push(refusal);
            return false;
        }
    }
    match sink.finish().await {
        Ok(_) => true,
        Err(refusal) => {
            refusals.push(refusal);
            false
        }
    }
}

fn all_say_away(refusals: &[Refusal]) {
    assert!(!refusals.is_empty());
    for refusal in refusals {
        assert_eq!(refusal.code, Code::Unavailable, "{refusal}");
        assert!(refusal.retry_after.is_some(), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_wait_for_a_store_that_is_away_and_then_go_on() {
    let mut site = Site::new();
    let node = site.node();
    let files = [large(3 * PART + 99), large(5000)];
    let specs = [spec(1, OCTETS, &files[0]), spec(2, OCTETS, &files[1])];
    let (_, _, mut sink) = node.open(&specs[0]).await;
    send(&mut *sink, &files[0][..PART / 2]).await;
    drop(sink);
    site.s3.stop();
    let mut refusals = Vec::new();
    for _ in 0..2 {
        for (spec, file) in specs.iter().zip(&files) {
            assert!(!persist(&node, spec, file, &mut refusals).await);
        }
    }
    all_say_away(&refusals);
    assert!(node.role.reach().await.is_err());
    // What was taken in meanwhile is here, and no more of it than the spool may hold.
    let (_, offsets, sink) = node.open(&specs[0]).await;
    assert!(offsets.received >= PART as u64, "{offsets:?}");
    assert!(offsets.received <= 3 * PART as u64, "{offsets:?}");
    drop(sink);
    site.s3.resume();
    for (spec, file) in specs.iter().zip(&files) {
        refusals.clear();
        while !persist(&node, spec, file, &mut refusals).await {
            all_say_away(&refusals);
        }
        let info = node.complete(spec).await;
        assert!(node.bytes(info.id, 0, spec.size).await == *file);
    }
    node.role.reach().await.unwrap();

    // Downloads say the same, and the sweeper throws nothing away that it could not.
    let blob = node.complete(&specs[1]).await.id;
    let stale = spec(3, OCTETS, &files[1]);
    let (_, _, sink) = node.open(&stale).await;
    drop(sink);
    site.s3.stop();
    let refused = node.role.open_download(blob, Variant::Original, 0, None).await;
    all_say_away(&[refused.err().unwrap()]);
    let late = site.clock.now() + Duration::from_secs(25 * 60 * 60);
    assert!(node.role.sweep(late).await.is_err());
    let is_recorded = || site.ledger.book().uploads.contains_key(&(ACCOUNT, stale.id));
    assert!(is_recorded());
    site.s3.resume();
    // It answers that it is well before it is quick.
    eventually("the upload is swept", || async {
        node.role.sweep(late).await.is_ok() && !is_recorded()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_without_number_fill_no_disk_while_the_store_is_away() {
    let mut site = Site::new();
    let node = site.node();
    let file = large(10 * PART);
    let spec = spec(1, OCTETS, &file);
    site.s3.stop();
    let mut refusals = Vec::new();
    let mut staged = 0;
    for _ in 0..6 {
        assert!(!persist(&node, &spec, &file, &mut refusals).await);
        let (blob, ..) = node.open(&spec).await;
        let folder = node.folder.path().join("staging").join(blob.to_string());
        let parts = fs::read_dir(folder).unwrap().map(|part| part.unwrap().metadata().unwrap());
        staged = parts.map(|part| part.len()).sum();
        assert!(staged <= 3 * PART as u64, "{staged}");
    }
    assert!(staged >= PART as u64, "{staged}");
    all_say_away(&refusals);
    site.s3.resume();
    while !persist(&node, &spec, &file, &mut refusals).await {}
    let info = node.complete(&spec).await;
    assert!(node.bytes(info.id, 0, spec.size).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_no_place_for_blobs() {
    let site = Site::new();
    site.node().role.reach().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = s3::Config { bucket: "elsewhere".into(), ..super::bucket::bucket(&site.s3) };
    let blobs = Blobs::S3 { config, staging: folder.path().to_owned() };
    let (ledger, clock) = (Arc::clone(&site.ledger) as _, Arc::clone(&site.clock) as _);
    let shutdown = Shutdown::new();
    let role = ResourceRole::start(Config::default(), ledger, blobs, clock, &shutdown).unwrap();
    let error = role.reach().await.unwrap_err();
    assert!(error.to_string().contains("no such bucket"), "{error}");
    // An upload whose parts seem to be gone there is not given up.
    let file = large(PART + 1000);
    let spec = spec(1, OCTETS, &file);
    let node = site.node();
    let (blob, _, mut sink) = node.open(&spec).await;
    send(&mut *sink, &file).await;
    super::bucket::durable(&site, &spec, PART).await;
    drop(sink);
    complete_bytes(&site, &spec).await;
    assert!(role.open_upload(ACCOUNT, spec.clone()).await.is_err());
    assert_eq!(site.ledger.book().uploads[&(ACCOUNT, spec.id)].blob, blob);
}

/// Records that all bytes are there.
async fn complete_bytes(site: &Site, spec: &UploadSpec) {
    let opened = site.ledger.open_upload(
        ACCOUNT,
        spec.clone(),
        BlobId([0; 16]),
        Config::default().quota(),
        site.clock.now(),
    );
    let UploadState::Receiving { checkpoint, opening, .. } = opened.await.unwrap() else {
        panic!("it is not receiving")
    };
    let all = Checkpoint { durable: spec.size, ..checkpoint };
    let now = site.clock.now();
    site.ledger.checkpoint_upload(ACCOUNT, spec.id, opening, all, true, now).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_completed_keeps_nothing_else_from_being_swept() {
    let site = Site::new();
    let node = site.node();
    let file = large(3000);
    let specs = [1, 2, 3].map(|id| spec(id, OCTETS, &file));
    for (number, spec) in specs.iter().enumerate() {
        let (blob, ..) = node.open(spec).await;
        if number < 2 {
            let depot = &node.role.parts().depot;
            depot.put(blob, Variant::Original, file.clone().into()).await.unwrap();
            complete_bytes(&site, spec).await;
        }
    }
    site.ledger.book().fail_completion = true;
    let late = site.clock.now() + Duration::from_secs(25 * 60 * 60);
    let swept = node.role.sweep(late).await.unwrap();
    assert_eq!((swept.completed, swept.expired), (1, 1));
    assert_eq!(node.role.sweep(late).await.unwrap().completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_holds_nobody_for_ever() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let mut config = super::bucket::bucket(&site.s3);
    config.request_timeout = Duration::from_secs(1);
    let blobs = Blobs::S3 { config, staging: folder.path().to_owned() };
    let (ledger, clock) = (Arc::clone(&site.ledger) as _, Arc::clone(&site.clock) as _);
    let shutdown = Shutdown::new();
    let role = ResourceRole::start(Config::default(), ledger, blobs, clock, &shutdown).unwrap();
    let node = Node { role, shutdown, folder };
    let file = large(PART + 1000);
    let spec = spec(1, OCTETS, &file);
    let (_, _, mut sink) = node.open(&spec).await;
    send(&mut *sink, &file).await;
    site.s3.freeze();
    let begun = Instant::now();
    let mut refusals = Vec::new();
    let finished = sink.finish().await;
    if let Err(refusal) = finished {
        refusals.push(refusal);
    }
    let opened = node.role.open_upload(ACCOUNT, spec.clone()).await;
    if let Ok(OpenUpload::Partial { sink, .. }) = opened
        && let Err(refusal) = sink.finish().await
    {
        refusals.push(refusal);
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    all_say_away(&refusals);
    site.s3.thaw();
    refusals.clear();
    while !persist(&node, &spec, &file, &mut refusals).await {
        all_say_away(&refusals);
    }
    let info = node.complete(&spec).await;
    assert!(node.bytes(info.id, 0, spec.size).await == file);
}
