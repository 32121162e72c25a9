//! The calling end of an open download.

use async_trait::async_trait;
use bytes::Bytes;
use skein_core::{port::resource::DownloadSource, refusal::Refusal};
use tokio::time::timeout;
use tonic::Streaming;

use super::sink::ended;
use crate::{
    call::PIECE_DEADLINE,
    pb::{DownloadAnswer, download_answer::Kind},
    refusal::{Failure, Malformed, of_status},
};

/// Receives the bytes of one download. Dropping it ends the stream.
pub(super) struct Source {
    pub(super) answers: Streaming<DownloadAnswer>,
    /// Bytes that are still due.
    pub(super) left: u64,
    /// Whether the end of the stream says something that the last byte does not.
    pub(super) to_end: bool,
}

#[async_trait]
impl DownloadSource for Source {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if self.left == 0 && !self.to_end {
            return Ok(None);
        }
        let piece = loop {
            match self.piece().await? {
                // A sign that it is waited for.
                Some(piece) if piece.is_empty() && self.to_end => {}
                Some(piece) => break piece,
                None => return Ok(None),
            }
        };
        let left = self.left.checked_sub(piece.len() as u64);
        self.left = left.ok_or_else(|| ended(&Malformed("download").into()))?;
        Ok(Some(piece))
    }
}

impl Source {
    /// What the next answer brings; `None` at the end, where that is due.
    async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        let answer = match timeout(PIECE_DEADLINE, self.answers.message()).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) if self.left == 0 => return Ok(None),
            Ok(Ok(None)) => {
                let cause = "the stream has ended before its last byte".to_owned();
                return Err(ended(&Failure::Lost(cause)));
            }
            Ok(Err(status)) => {
                return Err(match of_status(&status) {
                    Failure::Refused(refusal) => refusal,
                    failure => ended(&failure),
                });
            }
            Err(_) => return Err(ended(&Failure::Late)),
        };
        match answer.kind {
            Some(Kind::Piece(piece)) => Ok(Some(piece)),
            _ => Err(ended(&Malformed("download").into())),
        }
    }
}
