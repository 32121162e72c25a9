//! The role against a real folder and a store in memory. A restart is a new role on the same two.
//! One test has the real store beneath. `bucket`, `crash` and `outage` are about nodes in front of a
//! real S3 server.

mod bucket;
mod crash;
mod download;
mod follow;
mod follow_spool;
mod full;
mod outage;
mod resume;
mod sqlite;
mod sweep;

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    port::resource::{
        BlobInfo, Offsets, OpenDownload, OpenUpload, Resource, UploadSink, UploadSpec, Variant,
    },
    refusal::{Code, Refusal},
    time::{Clock, Timestamp},
};
use skein_ops::{clock::SystemClock, lifecycle::Shutdown};

use crate::{Blobs, Config, ResourceRole, ledger::Ledger};

const ACCOUNT: AccountId = AccountId(1);
const MIB: usize = 1024 * 1024;

/// Time that stands still until it is turned. It starts at the real time, like that of the files.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// A role on a folder of its own.
struct Stage {
    role: Arc<ResourceRole>,
    ledger: Arc<Ledger>,
    config: Config,
    folder: tempfile::TempDir,
    clock: Arc<Hand>,
    shutdown: Shutdown,
}

impl Stage {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::default());
        let clock = Arc::new(Hand(AtomicU64::new(SystemClock.now().0)));
        let shutdown = Shutdown::new();
        let root = folder.path().join("blobs");
        let role = ResourceRole::start(
            config.clone(),
            Arc::clone(&ledger) as _,
            Blobs::Folder(root),
            Arc::clone(&clock) as _,
            &shutdown,
        );
        Self { role: role.unwrap(), ledger, config, folder, clock, shutdown }
    }

    /// What `kill -9` and a new start leave: the folder and the store.
    fn restart(&mut self) {
        self.shutdown.force();
        self.shutdown = Shutdown::new();
        let role = ResourceRole::start(
            self.config.clone(),
            Arc::clone(&self.ledger) as _,
            Blobs::Folder(self.root()),
            Arc::clone(&self.clock) as _,
            &self.shutdown,
        );
        self.role = role.unwrap();
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }

    fn staged(&self, blob: BlobId) -> PathBuf {
        self.root().join("staging").join(blob.to_string())
    }

    fn published(&self, blob: BlobId) -> PathBuf {
        self.root().join("blobs").join(&blob.to_string()[..2]).join(blob.to_string())
    }

    fn turn(&self, span: Duration) -> Timestamp {
        self.clock.0.fetch_add(span.as_millis() as u64, Ordering::Relaxed);
        self.clock.now()
    }

    async fn open(&self, spec: &UploadSpec) -> (BlobId, Offsets, Box<dyn UploadSink>) {
        match self.role.open_upload(ACCOUNT, spec.clone()).await {
            Ok(OpenUpload::Partial { blob, offsets, sink }) => (blob, offsets, sink),
            Ok(OpenUpload::Complete(_)) => panic!("the upload is complete"),
            Err(refusal) => panic!("{refusal}"),
        }
    }

    async fn complete(&self, spec: &UploadSpec) -> BlobInfo {
        match self.role.open_upload(ACCOUNT, spec.clone()).await {
            Ok(OpenUpload::Complete(info)) => info,
            Ok(OpenUpload::Partial { offsets, .. }) => panic!("the upload is at {offsets:?}"),
            Err(refusal) => panic!("{refusal}"),
        }
    }

    async fn refused(&self, spec: &UploadSpec) -> Refusal {
        match self.role.open_upload(ACCOUNT, spec.clone()).await {
            Ok(_) => panic!("the upload was opened"),
            Err(refusal) => refusal,
        }
    }

    /// Uploads the file whole.
    async fn upload(&self, id: u8, media_type: &str, file: &[u8]) -> BlobInfo {
        let (_, _, mut sink) = self.open(&spec(id, media_type, file)).await;
        for piece in file.chunks(MIB) {
            sink.write(vec![Bytes::copy_from_slice(piece)]).await.unwrap();
        }
        sink.finish().await.unwrap()
    }

    async fn download(&self, blob: BlobId, variant: Variant) -> Result<OpenDownload, Refusal> {
        self.role.open_download(blob, variant, 0, None).await
    }

    /// The bytes that a complete blob gives back.
    async fn bytes(&self, blob: BlobId) -> Vec<u8> {
        whole(self.download(blob, Variant::Original).await.unwrap()).await
    }
}

async fn whole(mut download: OpenDownload) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = download.source.next().await.unwrap() {
        assert!(piece.len() <= 256 * 1024);
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes.len() as u64, download.length);
    bytes
}

fn spec(id: u8, media_type: &str, file: &[u8]) -> UploadSpec {
    UploadSpec {
        id: UploadId([id; 16]),
        size: file.len() as u64,
        media_type: MediaType::parse(media_type).unwrap(),
        hash: *blake3::hash(file).as_bytes(),
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

fn chunks(bytes: &[u8], each: usize) -> Vec<Bytes> {
    bytes.chunks(each).map(Bytes::copy_from_slice).collect()
}

fn code<T>(result: Result<T, Refusal>) -> Option<Code> {
    result.err().map(|refusal| refusal.code)
}

fn files(folder: PathBuf) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
