//! The port of the resource role over gRPC: the calling end here, the serving end in `served.rs`.
//!
//! Which process gets an upload follows from its account and id, so that every chat node asks the
//! same one and a resumed upload finds its bytes. If that process is away, the next in the same order
//! gets it. A stream whose process dies ends with `unavailable`; the client opens the upload again,
//! and finds the other.

mod convert;
mod served;
mod sink;
mod source;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures::stream;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    port::resource::{OpenDownload, OpenUpload, Resource, UploadOf, UploadSpec, Variant},
    refusal::Refusal,
};
use tokio::sync::mpsc;
use tonic::Streaming;

pub(crate) use self::served::Served;
use self::{sink::Sink, source::Source};
use crate::{
    access::Role,
    call::{DISCARD_UPLOAD, FOLLOW_UPLOAD, MESSAGE_BYTES_MAX, OPEN_DOWNLOAD, OPEN_UPLOAD},
    credentials::Credentials,
    pb::{
        self, download_answer, resource_client::ResourceClient, upload_answer, upload_request::Kind,
    },
    peer::BadPeer,
    peers::{Peers, Try},
    refusal::{Failure, Malformed},
};

/// Messages of one upload that wait for the connection.
const QUEUE_MESSAGES_MAX: usize = 4;

/// The resource role, wherever it runs.
pub struct Client {
    peers: Peers,
    /// Where the next download begins to ask, so that all processes serve some.
    next: AtomicUsize,
}

impl Client {
    /// Calls the processes at these addresses, `host:port` each. Connects when it is first needed.
    ///
    /// # Errors
    /// [`BadPeer`].
    pub fn new(addresses: &[String], credentials: &Arc<Credentials>) -> Result<Self, BadPeer> {
        let peers = Peers::new(Role::Resource, addresses, credentials)?;
        Ok(Self { peers, next: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resource for Client {
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
    ) -> Result<OpenUpload, Refusal> {
        let order = self.peers.by_key(&key(account, spec.id));
        let open = convert::open_to(account, spec);
        self.peers.call(OPEN_UPLOAD, order, |attempt| upload(attempt, open.clone())).await
    }

    async fn discard_upload(&self, account: AccountId, id: UploadId) -> Result<(), Refusal> {
        // The process that has it open, if it is there.
        let order = self.peers.by_key(&key(account, id));
        let message = pb::DiscardRequest { account: account.0, id: convert::bytes(&id.0) };
        self.peers.call(DISCARD_UPLOAD, order, |attempt| discard(attempt, message.clone())).await
    }

    async fn open_download(
        &self,
        blob: BlobId,
        variant: Variant,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal> {
        let order = self.peers.rotated(self.next.fetch_add(1, Ordering::Relaxed));
        let message = pb::DownloadRequest {
            blob: convert::bytes(&blob.0),
            thumbnail: variant == Variant::Thumbnail,
            offset,
            length,
        };
        self.peers.call(OPEN_DOWNLOAD, order, |attempt| download(attempt, message.clone())).await
    }

    async fn follow_upload(
        &self,
        upload: UploadOf,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal> {
        // Where it is received; one that has none of its bytes is passed over.
        let order = self.peers.by_key(&key(upload.account, upload.id));
        let message = convert::follow_to(upload, offset, length);
        self.peers.call(FOLLOW_UPLOAD, order, |attempt| follow(attempt, message.clone())).await
    }
}

/// What decides where an upload goes. All chat nodes must agree on it: stable.
fn key(account: AccountId, upload: UploadId) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&account.0.to_be_bytes());
    key[8..].copy_from_slice(&upload.0);
    key
}

async fn upload(attempt: Try, open: pb::UploadOpen) -> Result<OpenUpload, Failure> {
    let (requests, mut sent) = mpsc::channel(QUEUE_MESSAGES_MAX);
    let open = pb::UploadRequest { kind: Some(Kind::Open(open)) };
    let closed = |_| Failure::NotSent("the stream has ended".to_owned());
    requests.send(open).await.map_err(closed)?;
    let request = attempt.stream(stream::poll_fn(move |context| sent.poll_recv(context)));
    let mut answers = stub(attempt).upload(request).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.kind);
    match answer.ok_or(Malformed("upload"))? {
        upload_answer::Kind::Complete(info) => Ok(OpenUpload::Complete(convert::info_of(info)?)),
        upload_answer::Kind::Opened(opened) => Ok(OpenUpload::Partial {
            blob: convert::blob(&opened.blob)?,
            offsets: convert::offsets_of(opened.offsets.ok_or(Malformed("offsets"))?),
            sink: Box::new(Sink { requests, answers }),
        }),
        upload_answer::Kind::Stored(_) => Err(Malformed("upload").into()),
    }
}

async fn discard(attempt: Try, message: pb::DiscardRequest) -> Result<(), Failure> {
    let request = attempt.request(message);
    stub(attempt).discard(request).await?;
    Ok(())
}

async fn download(attempt: Try, message: pb::DownloadRequest) -> Result<OpenDownload, Failure> {
    let request = attempt.stream(message);
    let answers = stub(attempt).download(request).await?.into_inner();
    opened(answers, false).await
}

async fn follow(attempt: Try, message: pb::FollowRequest) -> Result<OpenDownload, Failure> {
    let request = attempt.stream(message);
    let answers = stub(attempt).follow(request).await?.into_inner();
    opened(answers, true).await
}

/// What the first answer says. With `to_end`, having all bytes is not the end of the stream.
async fn opened(
    mut answers: Streaming<pb::DownloadAnswer>,
    to_end: bool,
) -> Result<OpenDownload, Failure> {
    let answer = answers.message().await?.and_then(|answer| answer.kind);
    let Some(download_answer::Kind::Opened(opened)) = answer else {
        return Err(Malformed("download").into());
    };
    Ok(OpenDownload {
        size: opened.size,
        media_type: convert::media_type(opened.media_type)?,
        hash: if opened.hash.is_empty() { None } else { Some(convert::hash(&opened.hash)?) },
        length: opened.length,
        source: Box::new(Source { answers, left: opened.length, to_end }),
    })
}

fn stub(attempt: Try) -> ResourceClient<tonic::transport::Channel> {
    ResourceClient::new(attempt.channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}
