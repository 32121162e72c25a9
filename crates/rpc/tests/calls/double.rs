//! Ports that answer what a test wants, and remember what they were asked.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::Email,
    port::{
        directory::{ChatNode, Directory, NodeReport, Reported, Term, Trust},
        resource::{
            BlobInfo, DownloadSource, Offsets, OpenDownload, OpenUpload, Resource, Thumbnail,
            UploadOf, UploadSink, UploadSpec, Variant,
        },
        verifier::{CodeSent, Purpose, Verifier},
    },
    refusal::{Code, Refusal},
};
use skein_ops::trace::{self, TraceId};
use skein_rpc::server::Ports;
use tokio::sync::Notify;

/// A refusal with everything that one can have.
pub(crate) fn refusal() -> Refusal {
    Refusal::limited("zu oft — später wieder ✗", Duration::from_millis(12_345))
}

/// What a verifier was asked.
pub(crate) type Asked = (Purpose, String, String, bool);

/// Sends codes to all but `no@example.org`; the right code is 123456.
#[derive(Default)]
pub(crate) struct Codes {
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// Within which trace it was last asked.
    pub(crate) trace: Mutex<Option<TraceId>>,
    /// If set, calls do not answer.
    pub(crate) stuck: bool,
}

#[async_trait]
impl Verifier for Codes {
    async fn request(
        &self,
        purpose: Purpose,
        email: &Email,
        from: IpAddr,
        deliver: bool,
    ) -> Result<CodeSent, Refusal> {
        let asked = (purpose, email.to_string(), from.to_string(), deliver);
        self.asked.lock().unwrap().push(asked);
        if self.stuck {
            std::future::pending::<()>().await;
        }
        if email.as_str() == "no@example.org" {
            return Err(refusal());
        }
        Ok(CodeSent { expires_in: Duration::from_secs(300) })
    }

    async fn check(&self, purpose: Purpose, email: &Email, code: &str) -> Result<(), Refusal> {
        self.asked.lock().unwrap().push((purpose, email.to_string(), code.to_owned(), true));
        *self.trace.lock().unwrap() = trace::current().map(|parent| parent.trace);
        if code == "123456" { Ok(()) } else { Err(Refusal::new(Code::WrongCode, "no")) }
    }
}

/// One chat node, whose reports are remembered.
#[derive(Default)]
pub(crate) struct Nodes {
    pub(crate) reports: Mutex<Vec<(NodeReport, Option<Term>)>>,
}

pub(crate) fn node(name: &str, trust: Trust) -> ChatNode {
    ChatNode { name: name.into(), address: format!("{name}.example.org:4433"), trust }
}

#[async_trait]
impl Directory for Nodes {
    async fn assign(&self, except: Option<&str>) -> Result<ChatNode, Refusal> {
        match except {
            Some("everyone") => Err(refusal()),
            Some(except) => Ok(node(&format!("not-{except}"), Trust::Fingerprints(Vec::new()))),
            None => Ok(node("any", Trust::Authority { server_name: "example.org".into() })),
        }
    }

    async fn report(&self, report: NodeReport, term: Option<Term>) -> Result<Reported, Refusal> {
        let draining = report.draining;
        self.reports.lock().unwrap().push((report, term));
        let drain = draining.then(|| Duration::from_millis(1_500));
        Ok(Reported { term: Term(term.map_or(7, |term| term.0)), drain })
    }

    async fn leave(&self, node: &str, term: Term) -> Result<(), Refusal> {
        if (node, term) == ("a", Term(7)) { Ok(()) } else { Err(refusal()) }
    }

    async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal> {
        Ok(self.reports.lock().unwrap().iter().map(|(report, _)| report.clone()).collect())
    }

    async fn drain(&self, node: &str, over: Duration) -> Result<Duration, Refusal> {
        if over.is_zero() { Err(Refusal::not_found(node)) } else { Ok(over / 2) }
    }
}

/// Blobs in memory. Clones share them, as two processes share a depot.
#[derive(Clone, Default)]
pub(crate) struct Blobs(Arc<Shelf>);

#[derive(Default)]
pub(crate) struct Shelf {
    files: Mutex<HashMap<UploadId, Vec<u8>>>,
    /// Told whenever an upload's sink was dropped.
    dropped: Notify,
}

/// Bytes that are taken at most by an upload of the double, whatever its size.
pub(crate) const TAKES_BYTES: usize = 64 * 1024 * 1024;

impl Blobs {
    pub(crate) fn file(&self, id: UploadId) -> Option<Vec<u8>> {
        self.0.files.lock().unwrap().get(&id).cloned()
    }

    pub(crate) async fn sink_dropped(&self) {
        self.0.dropped.notified().await;
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports { resource: Some(Arc::new(self.clone())), ..Ports::default() }
    }
}

pub(crate) fn info(account: AccountId, spec: &UploadSpec) -> BlobInfo {
    BlobInfo {
        id: BlobId(spec.id.0),
        uploader: account,
        size: spec.size,
        media_type: spec.media_type.clone(),
        hash: spec.hash,
        dimensions: Some((640, 480)),
        thumbnail: Thumbnail::Pending,
    }
}

#[async_trait]
impl Resource for Blobs {
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
    ) -> Result<OpenUpload, Refusal> {
        if spec.size > TAKES_BYTES as u64 {
            return Err(Refusal::new(Code::FileTooLarge, "too large"));
        }
        let mut files = self.0.files.lock().unwrap();
        let received = files.entry(spec.id).or_default().len() as u64;
        if received == spec.size && spec.size > 0 {
            return Ok(OpenUpload::Complete(info(account, &spec)));
        }
        let blob = BlobId(spec.id.0);
        let offsets = Offsets { received, durable: received };
        let sink = Box::new(Sink { shelf: Arc::clone(&self.0), account, spec });
        Ok(OpenUpload::Partial { blob, offsets, sink })
    }

    async fn discard_upload(&self, _account: AccountId, id: UploadId) -> Result<(), Refusal> {
        self.0.files.lock().unwrap().remove(&id);
        Ok(())
    }

    async fn open_download(
        &self,
        blob: BlobId,
        variant: Variant,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal> {
        if variant == Variant::Thumbnail {
            return Err(Refusal::new(Code::ThumbnailPending, "wait"));
        }
        let file = self.file(UploadId(blob.0)).ok_or_else(|| Refusal::not_found("blob"))?;
        let size = file.len() as u64;
        let end = length.map_or(size, |length| size.min(offset + length));
        let range = usize::try_from(offset).unwrap()..usize::try_from(end).unwrap();
        let bytes = Bytes::from(file).slice(range);
        Ok(OpenDownload {
            size,
            media_type: skein_core::name::MediaType::parse("image/png").unwrap(),
            hash: Some([9; 32]),
            length: end - offset,
            source: Box::new(Pieces(bytes)),
        })
    }

    async fn follow_upload(
        &self,
        upload: UploadOf,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal> {
        let file = self.file(upload.id).ok_or_else(|| Refusal::not_found("upload"))?;
        let from = usize::try_from(offset).unwrap();
        let length = length.unwrap_or(file.len() as u64 - offset);
        let end = from + usize::try_from(length).unwrap();
        let good = upload.account == AccountId(42);
        Ok(OpenDownload {
            size: 1 << 40,
            media_type: skein_core::name::MediaType::parse("video/mp4").unwrap(),
            hash: Some([8; 32]),
            length,
            source: Box::new(Followed { pieces: Pieces(Bytes::from(file).slice(from..end)), good }),
        })
    }
}

/// An upload that becomes a blob if it is `good`, and else turns out to be another file.
struct Followed {
    pieces: Pieces,
    good: bool,
}

#[async_trait]
impl DownloadSource for Followed {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        match self.pieces.next().await? {
            None if !self.good => Err(Refusal::new(Code::WrongHash, "another file")),
            piece => Ok(piece),
        }
    }
}

struct Sink {
    shelf: Arc<Shelf>,
    account: AccountId,
    spec: UploadSpec,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shelf.dropped.notify_one();
    }
}

#[async_trait]
impl UploadSink for Sink {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<Offsets, Refusal> {
        let mut files = self.shelf.files.lock().unwrap();
        let file = files.get_mut(&self.spec.id).unwrap();
        for chunk in chunks {
            if (file.len() + chunk.len()) as u64 > self.spec.size {
                return Err(Refusal::new(Code::BeyondSize, "too many"));
            }
            file.extend_from_slice(&chunk);
        }
        let received = file.len() as u64;
        Ok(Offsets { received, durable: received / 2 })
    }

    async fn finish(self: Box<Self>) -> Result<BlobInfo, Refusal> {
        let received = self.shelf.files.lock().unwrap()[&self.spec.id].len() as u64;
        if received < self.spec.size {
            return Err(Refusal::new(Code::Incomplete, format!("{received} are here")));
        }
        Ok(info(self.account, &self.spec))
    }
}

struct Pieces(Bytes);

#[async_trait]
impl DownloadSource for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let length = self.0.len().min(256 * 1024);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}
