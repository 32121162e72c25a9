//! The calling end of an open upload.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use skein_core::{
    port::resource::{BlobInfo, Offsets, UploadSink},
    refusal::Refusal,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};

use super::convert;
use crate::{
    access::Role,
    call::{FINISH_DEADLINE, PIECE_BYTES_MAX, WRITE_BYTES_MAX, WRITE_DEADLINE},
    pb::{self, UploadAnswer, UploadRequest, upload_answer::Kind as Answer, upload_request::Kind},
    refusal::{Failure, Malformed, of_status, unavailable},
};

/// Sends the bytes of one upload. Dropping it ends the stream.
pub(super) struct Sink {
    pub(super) requests: mpsc::Sender<UploadRequest>,
    pub(super) answers: Streaming<UploadAnswer>,
}

#[async_trait]
impl UploadSink for Sink {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<Offsets, Refusal> {
        let mut stored = None;
        for messages in messages(chunks) {
            match self.ask(messages, WRITE_DEADLINE).await? {
                Answer::Stored(offsets) => stored = Some(convert::offsets_of(offsets)),
                Answer::Opened(_) | Answer::Complete(_) => {
                    return Err(ended(&Malformed("upload").into()));
                }
            }
        }
        stored.ok_or_else(Refusal::internal)
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobInfo, Refusal> {
        let finish = Kind::Finish(pb::UploadFinish {});
        match self.ask(vec![finish], FINISH_DEADLINE).await? {
            Answer::Complete(info) => convert::info_of(info).map_err(|error| ended(&error.into())),
            Answer::Opened(_) | Answer::Stored(_) => Err(ended(&Malformed("upload").into())),
        }
    }
}

impl Sink {
    /// Sends messages, the last of which is answered, and waits for that. A refusal may come while
    /// they are being sent.
    async fn ask(&mut self, messages: Vec<Kind>, deadline: Duration) -> Result<Answer, Refusal> {
        let Self { requests, answers } = self;
        let asking = async {
            let sending = async {
                for kind in messages {
                    // If the stream has ended, its answer says why.
                    if requests.send(UploadRequest { kind: Some(kind) }).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                biased;
                early = answers.message() => return early,
                () = sending => {}
            }
            answers.message().await
        };
        let answer = match timeout(deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => return Err(ended(&Failure::Late)),
        };
        answer.map_err(|status| refused(&status))?.and_then(|answer| answer.kind).ok_or_else(|| {
            ended(&Failure::Lost("the stream has ended before its answer".to_owned()))
        })
    }
}

/// Chunks as messages: small ones, and few of them between two answers, so that the server holds
/// little of one stream. The bytes are shared and not copied.
fn messages(chunks: Vec<Bytes>) -> Vec<Vec<Kind>> {
    let mut batches = vec![Vec::new()];
    let mut waiting = 0;
    let pieces = chunks.into_iter().flat_map(|mut chunk| {
        std::iter::from_fn(move || {
            (!chunk.is_empty()).then(|| chunk.split_to(chunk.len().min(PIECE_BYTES_MAX)))
        })
    });
    for data in pieces {
        if waiting + data.len() > WRITE_BYTES_MAX {
            batches.push(Vec::new());
            waiting = 0;
        }
        waiting += data.len();
        if let Some(batch) = batches.last_mut() {
            batch.push(pb::UploadChunk { data, store: false });
        }
    }
    let stored = batches.into_iter().map(|mut batch: Vec<pb::UploadChunk>| {
        match batch.last_mut() {
            Some(last) => last.store = true,
            None => batch.push(pb::UploadChunk { data: Bytes::new(), store: true }),
        }
        batch.into_iter().map(Kind::Chunk).collect()
    });
    stored.collect()
}

fn refused(status: &Status) -> Refusal {
    match of_status(status) {
        Failure::Refused(refusal) => refusal,
        failure => ended(&failure),
    }
}

/// The stream is of no use any more; the client opens the upload again.
pub(super) fn ended(failure: &Failure) -> Refusal {
    tracing::warn!(error.cause = ?failure, "a stream to a resource process has ended");
    unavailable(Role::Resource.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(chunks: &[usize]) -> Vec<Vec<(usize, bool)>> {
        let chunks = chunks.iter().map(|length| Bytes::from(vec![0; *length])).collect();
        let size = |kind: &Kind| match kind {
            Kind::Chunk(chunk) => (chunk.data.len(), chunk.store),
            _ => panic!("only chunks"),
        };
        messages(chunks).iter().map(|batch| batch.iter().map(size).collect()).collect()
    }

    #[test]
    fn a_write_becomes_small_messages_and_few_at_a_time() {
        assert_eq!(sizes(&[]), [[(0, true)]]);
        assert_eq!(sizes(&[3, 0, 4]), [[(3, false), (4, true)]]);
        let piece = PIECE_BYTES_MAX;
        assert_eq!(sizes(&[piece + 1]), [[(piece, false), (1, true)]]);
        let large = sizes(&[2 * WRITE_BYTES_MAX + 1]);
        assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 1]);
        for batch in large {
            let marks: Vec<_> = batch.iter().map(|(_, store)| *store).collect();
            assert!(marks[..marks.len() - 1].iter().all(|mark| !mark) && marks[marks.len() - 1]);
        }
    }
}
