//! The serving end of uploads and downloads.
//!
//! The work is done as the transport asks for the next answer, in no task of its own: when the caller
//! goes away, the stream is dropped, and with it the upload's sink.

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use skein_core::{
    id::{AccountId, UploadId},
    port::resource::{DownloadSource, OpenDownload, OpenUpload, Resource, UploadSink, Variant},
    refusal::{Code, Refusal},
};
use skein_ops::lifecycle::Shutdown;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, Span};

use super::convert;
use crate::{
    access::Role,
    call::{PIECE_BYTES_MAX, SIGN_INTERVAL, WRITE_BYTES_MAX},
    pb::{self, download_answer, resource_server, upload_answer, upload_request::Kind},
    refusal::{Malformed, refused},
};

/// Serves a resource.
pub(crate) struct Served {
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) shutdown: Shutdown,
}

/// Answers of one stream.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl resource_server::Resource for Served {
    type UploadStream = Answers<pb::UploadAnswer>;
    type DownloadStream = Answers<pb::DownloadAnswer>;
    type FollowStream = Answers<pb::DownloadAnswer>;

    async fn upload(
        &self,
        request: Request<Streaming<pb::UploadRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|request| request.kind);
        let Some(Kind::Open(open)) = first else { return Err(malformed("open")) };
        let (account, spec) = convert::open_of(open).map_err(refused(Role::Resource))?;
        let opened =
            self.resource.open_upload(account, spec).await.map_err(refused(Role::Resource))?;
        let (first, sink) = match opened {
            OpenUpload::Complete(info) => {
                (upload_answer::Kind::Complete(convert::info_to(info)), None)
            }
            OpenUpload::Partial { blob, offsets, sink } => {
                let opened = pb::UploadOpened {
                    blob: convert::bytes(&blob.0),
                    offsets: Some(convert::offsets_to(offsets)),
                };
                (upload_answer::Kind::Opened(opened), Some(sink))
            }
        };
        let upload = sink.map(|sink| Upload { requests, sink, shutdown: self.shutdown.clone() });
        let answers = stream::once(async { Ok(first) }).chain(in_steps(upload, Upload::step));
        Ok(Response::new(Box::pin(answers.map(|answer: Result<_, Status>| {
            answer.map(|kind| pb::UploadAnswer { kind: Some(kind) })
        }))))
    }

    async fn discard(
        &self,
        request: Request<pb::DiscardRequest>,
    ) -> Result<Response<pb::DiscardAnswer>, Status> {
        let asked = request.into_inner();
        let id = UploadId::try_from(&asked.id[..]).map_err(|_| malformed("id"))?;
        self.resource
            .discard_upload(AccountId(asked.account), id)
            .await
            .map_err(refused(Role::Resource))?;
        Ok(Response::new(pb::DiscardAnswer {}))
    }

    async fn download(
        &self,
        request: Request<pb::DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let asked = request.into_inner();
        let blob =
            convert::blob(&asked.blob).map_err(|error| refused(Role::Resource)(error.into()))?;
        let variant = if asked.thumbnail { Variant::Thumbnail } else { Variant::Original };
        let opened = self.resource.open_download(blob, variant, asked.offset, asked.length).await;
        let (first, source) = parts(opened.map_err(refused(Role::Resource))?);
        Ok(Response::new(answers(first, in_steps(Some(source), next_piece))))
    }

    async fn follow(
        &self,
        request: Request<pb::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let asked = request.into_inner();
        let upload =
            convert::followed_of(&asked).map_err(|error| refused(Role::Resource)(error.into()))?;
        let opened = self.resource.follow_upload(upload, asked.offset, asked.length).await;
        let (first, source) = parts(opened.map_err(refused(Role::Resource))?);
        let next = coming(source);
        Ok(Response::new(answers(first, in_steps(Some(next), next_piece_or_sign))))
    }
}

/// What a download is, and what gives its pieces.
fn parts(opened: OpenDownload) -> (download_answer::Kind, Box<dyn DownloadSource>) {
    let first = download_answer::Kind::Opened(pb::DownloadOpened {
        size: opened.size,
        media_type: opened.media_type.as_str().to_owned(),
        hash: opened.hash.map(|hash| convert::bytes(&hash)).unwrap_or_default(),
        length: opened.length,
    });
    (first, opened.source)
}

/// What a download is, and then its pieces.
fn answers(
    first: download_answer::Kind,
    pieces: impl Stream<Item = Result<download_answer::Kind, Status>> + Send + 'static,
) -> Answers<pb::DownloadAnswer> {
    let answers = stream::once(async { Ok(first) }).chain(pieces);
    Box::pin(answers.map(|answer: Result<_, Status>| {
        answer.map(|kind| pb::DownloadAnswer { kind: Some(kind) })
    }))
}

/// An upload that takes bytes.
struct Upload {
    requests: Streaming<pb::UploadRequest>,
    sink: Box<dyn UploadSink>,
    shutdown: Shutdown,
}

/// What a step gives: an answer, and the state for the next step if there is one.
type Step<S, T> = Result<Option<(T, Option<S>)>, Status>;

/// A stream of one answer a step, until there is no more state or a step fails. Every step is part
/// of the span in which the call was taken in.
fn in_steps<S, T, F, Fut>(state: Option<S>, step: F) -> impl Stream<Item = Result<T, Status>> + Send
where
    S: Send + 'static,
    T: Send + 'static,
    F: Fn(S) -> Fut + Send + 'static,
    Fut: Future<Output = Step<S, T>> + Send + 'static,
{
    let span = Span::current();
    stream::try_unfold(state, move |state| {
        let step = state.map(&step);
        let stepping = async {
            match step {
                Some(step) => step.await,
                None => Ok(None),
            }
        };
        stepping.instrument(span.clone())
    })
}

impl Upload {
    /// Takes messages until one wants an answer.
    async fn step(mut self) -> Step<Self, upload_answer::Kind> {
        let mut chunks = Vec::new();
        let mut waiting = 0;
        loop {
            let message = tokio::select! {
                biased;
                message = self.requests.message() => message?,
                () = self.shutdown.begun() => return Err(refused(Role::Resource)(going_away())),
            };
            // The caller has gone: the upload stays open.
            let Some(message) = message else { return Ok(None) };
            match message.kind {
                Some(Kind::Chunk(pb::UploadChunk { data, store })) => {
                    waiting += data.len();
                    if data.len() > PIECE_BYTES_MAX || waiting > WRITE_BYTES_MAX {
                        return Err(malformed("chunk"));
                    }
                    if !data.is_empty() {
                        chunks.push(data);
                    }
                    if store {
                        let offsets =
                            self.sink.write(chunks).await.map_err(refused(Role::Resource))?;
                        let stored = upload_answer::Kind::Stored(convert::offsets_to(offsets));
                        return Ok(Some((stored, Some(self))));
                    }
                }
                Some(Kind::Finish(pb::UploadFinish {})) if chunks.is_empty() => {
                    let info = self.sink.finish().await.map_err(refused(Role::Resource))?;
                    let complete = upload_answer::Kind::Complete(convert::info_to(info));
                    return Ok(Some((complete, None)));
                }
                _ => return Err(malformed("kind")),
            }
        }
    }
}

async fn next_piece(
    mut source: Box<dyn DownloadSource>,
) -> Step<Box<dyn DownloadSource>, download_answer::Kind> {
    let piece: Option<Bytes> = source.next().await.map_err(refused(Role::Resource))?;
    Ok(piece.map(|piece| (download_answer::Kind::Piece(piece), Some(source))))
}

/// The next piece of an upload that is followed, which may take as long as its sender does.
type Coming = BoxFuture<'static, (Box<dyn DownloadSource>, Result<Option<Bytes>, Refusal>)>;

fn coming(mut source: Box<dyn DownloadSource>) -> Coming {
    Box::pin(async move {
        let piece = source.next().await;
        (source, piece)
    })
}

/// A piece without bytes says that the next one is waited for. The wait goes on over it.
async fn next_piece_or_sign(mut next: Coming) -> Step<Coming, download_answer::Kind> {
    let Ok((source, piece)) = timeout(SIGN_INTERVAL, &mut next).await else {
        return Ok(Some((download_answer::Kind::Piece(Bytes::new()), Some(next))));
    };
    let piece = piece.map_err(refused(Role::Resource))?;
    Ok(piece.map(|piece| (download_answer::Kind::Piece(piece), Some(coming(source)))))
}

fn malformed(field: &'static str) -> Status {
    refused(Role::Resource)(Malformed(field).into())
}

/// The caller opens the upload again and finds another process.
fn going_away() -> Refusal {
    Refusal::new(Code::Unavailable, "the resource service is going away; open the upload again")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// Gives one piece after long, and then the end.
    struct Late(Duration, Option<Bytes>);

    #[async_trait]
    impl DownloadSource for Late {
        async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
            sleep(self.0).await;
            Ok(self.1.take())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_piece_hears_that_it_is_waited_for() {
        let (late, bytes) = (Duration::from_secs(24), Bytes::from_static(b"piece"));
        let source = Box::new(Late(late, Some(bytes.clone())));
        let begun = Instant::now();
        let pieces = in_steps(Some(coming(source)), next_piece_or_sign);
        let pieces: Vec<_> = pieces.map(|answer| answer.unwrap()).collect().await;
        let sign = download_answer::Kind::Piece(Bytes::new());
        let piece = download_answer::Kind::Piece(bytes);
        assert_eq!(pieces, [sign.clone(), sign.clone(), piece, sign.clone(), sign]);
        assert_eq!(begun.elapsed(), 2 * late, "a sign begins no wait anew");
    }
}
