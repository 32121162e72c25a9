//! The role on the real store: what it writes there, it finds again after a restart of both.

use std::path::Path;

use skein_core::name::{Email, Username};
use skein_store::{
    account::{Accounts, NewAccount},
    sqlite::Sqlite,
};

use super::*;

const EIGHT_DAYS: Duration = Duration::from_secs(8 * 24 * 60 * 60);

fn start(folder: &Path) -> (Arc<ResourceRole>, Arc<Sqlite>, Shutdown) {
    let (shutdown, clock) = (Shutdown::new(), Arc::new(SystemClock));
    let store = Arc::new(Sqlite::open(&folder.join("skein.db")).unwrap());
    let root = Blobs::Folder(folder.join("blobs"));
    let role =
        ResourceRole::start(Config::default(), Arc::clone(&store) as _, root, clock, &shutdown);
    (role.unwrap(), store, shutdown)
}

async fn stop(role: Arc<ResourceRole>, store: Arc<Sqlite>, shutdown: Shutdown) {
    shutdown.begin();
    shutdown.finish(Duration::from_secs(60)).await;
    drop((role, store));
}

async fn register(store: &Sqlite) -> AccountId {
    let new = NewAccount {
        name: Username::parse("ada").unwrap(),
        email: Email::parse("ada@example.org").unwrap(),
        password_hash: "none".into(),
    };
    store.create_account(new, SystemClock.now()).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_restarts_and_is_collected_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file: Vec<u8> = (0..4_321_000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    let spec = UploadSpec {
        id: UploadId([3; 16]),
        size: file.len() as u64,
        media_type: MediaType::parse("text/plain").unwrap(),
        hash: *blake3::hash(&file).as_bytes(),
    };
    let (mut role, mut store, mut shutdown) = start(folder.path());
    let account = register(&store).await;
    for part in file.chunks(777_777) {
        let opened = role.open_upload(account, spec.clone()).await.unwrap();
        let OpenUpload::Partial { mut sink, offsets, .. } = opened else { panic!("complete") };
        let written = sink.write(vec![Bytes::copy_from_slice(part)]).await.unwrap();
        assert_eq!(written.durable, offsets.received + part.len() as u64);
        drop(sink);
        stop(role, store, shutdown).await;
        (role, store, shutdown) = start(folder.path());
    }
    let opened = role.open_upload(account, spec.clone()).await.unwrap();
    let OpenUpload::Partial { sink, .. } = opened else { panic!("complete") };
    let info = sink.finish().await.unwrap();
    let again = role.open_upload(account, spec).await.unwrap();
    assert!(matches!(again, OpenUpload::Complete(same) if same == info));

    let mut bytes = Vec::new();
    let mut download = role.open_download(info.id, Variant::Original, 0, None).await.unwrap();
    while let Some(piece) = download.source.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert!(bytes == file);
    let swept = role.sweep(SystemClock.now()).await.unwrap();
    assert_eq!((swept.expired, swept.collected, swept.orphans), (0, 0, 0));
    let swept = role.sweep(SystemClock.now() + EIGHT_DAYS).await.unwrap();
    assert_eq!((swept.expired, swept.collected, swept.orphans), (0, 1, 0));
    let gone = role.open_download(info.id, Variant::Original, 0, None).await;
    assert_eq!(gone.err().map(|refusal| refusal.code), Some(Code::NotFound));
    stop(role, store, shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_the_store_and_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = skein_testkit::s3::S3::start();
    let store = Arc::new(Sqlite::open(&folder.path().join("skein.db")).unwrap());
    let account = register(&store).await;
    let file = super::bucket::large(2 * super::bucket::PART + 54_321);
    let spec = spec(1, "text/plain", &file);
    let node = |name: &str| {
        let (config, staging) = (super::bucket::bucket(&s3), folder.path().join(name));
        let (records, clock) = (Arc::clone(&store) as _, Arc::new(SystemClock));
        let blobs = Blobs::S3 { config, staging };
        let shutdown = Shutdown::new();
        let role = ResourceRole::start(Config::default(), records, blobs, clock, &shutdown);
        (role.unwrap(), shutdown)
    };
    let mut at = 0;
    for (name, stop) in [("a", 900_000), ("b", 9_000_000), ("b", 9_500_000), ("a", file.len())] {
        let (role, shutdown) = node(name);
        let opened = role.open_upload(account, spec.clone()).await.unwrap();
        let OpenUpload::Partial { offsets, mut sink, .. } = opened else { panic!("complete") };
        let from = usize::try_from(offsets.received).unwrap();
        assert!(from <= at && offsets.durable <= offsets.received, "{name} {offsets:?}");
        super::bucket::send(&mut *sink, &file[from..stop]).await;
        at = stop;
        if stop == file.len() {
            let info = sink.finish().await.unwrap();
            let download = role.open_download(info.id, Variant::Original, 0, None).await.unwrap();
            assert!(whole(download).await == file);
        } else {
            drop(sink);
        }
        shutdown.begin();
        shutdown.finish(Duration::from_secs(60)).await;
    }
    let (role, _shutdown) = node("b");
    let again = role.open_upload(account, spec).await.unwrap();
    assert!(matches!(again, OpenUpload::Complete(_)));
}
