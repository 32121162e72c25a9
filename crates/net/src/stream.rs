//! A stream: frames first, then perhaps raw bytes.

use bytes::Bytes;
use futures::FutureExt;
use prost::{Message, Name};
use skein_core::refusal::{Code, Refusal};
use skein_wire::frame::{self, Decoder, FrameError};
use thiserror::Error;

use crate::{
    connection::Closed,
    metric,
    metronome::Metronome,
    priority::Priority,
    quic,
    websocket::line::{LineReceiver, LineSender},
};

/// Bytes taken from the transport at a time while a frame is incomplete.
const READ_BYTES: usize = 64 * 1024;

/// Why a stream cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    /// The connection has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The peer gave the stream up, with the number of a [`Code`] if it had a reason.
    #[error("the peer gave the stream up")]
    Abandoned(Option<Code>),
    /// The peer sent something that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// What carries bytes away.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Quic(quinn::SendStream),
    WebSocket(LineSender),
}

/// What brings bytes.
#[derive(Debug)]
pub(crate) enum Incoming {
    Quic(quinn::RecvStream),
    WebSocket(LineReceiver),
}

/// The sending half. Dropping it without [`finish`](Self::finish) resets the stream.
#[derive(Debug)]
pub struct Sender {
    stream: Outgoing,
    finished: bool,
    /// What the stream is one of, if it may carry bulk over QUIC.
    connection: Option<quinn::Connection>,
    /// While it carries bulk.
    metronome: Option<Metronome>,
}

/// The receiving half. Dropping it tells the peer to stop.
#[derive(Debug)]
pub struct Receiver {
    stream: Incoming,
    decoder: Decoder,
}

impl Sender {
    pub(crate) const fn new(stream: Outgoing) -> Self {
        Self { stream, finished: false, connection: None, metronome: None }
    }

    /// It is a stream of this connection.
    pub(crate) fn of(mut self, connection: &quinn::Connection) -> Self {
        self.connection = Some(connection.clone());
        self
    }

    /// Says how urgent the stream is from now on. Takes a runtime.
    pub fn prioritise(&mut self, priority: Priority) {
        let bulk = self.connection.as_ref().filter(|_| priority == Priority::Bulk);
        self.metronome = bulk.map(Metronome::start);
        match &self.stream {
            // Only a stream that has ended refuses, and then it does not matter.
            Outgoing::Quic(quic) => drop(quic.set_priority(priority as i32)),
            Outgoing::WebSocket(line) => line.prioritise(priority as i32),
        }
    }

    /// Sends one message as a frame. Waits while the peer takes no more.
    ///
    /// # Errors
    /// If the stream or the connection has ended.
    pub async fn frame(&mut self, message: &impl Message) -> Result<(), StreamError> {
        self.bytes(frame::encode(message)).await
    }

    /// Sends raw bytes, which are not copied.
    ///
    /// # Errors
    /// If the stream or the connection has ended.
    pub async fn bytes(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let length = bytes.len();
        match &mut self.stream {
            Outgoing::Quic(quic) => quic.write_chunk(bytes).await.map_err(quic::write_error)?,
            Outgoing::WebSocket(line) => line.write(bytes).await?,
        }
        metric::sent(length);
        Ok(())
    }

    /// Nothing more will be sent. What was sent before still arrives.
    pub fn finish(&mut self) {
        self.finished = true;
        match &mut self.stream {
            // Only a stream that the peer has stopped refuses: it does not want the end either.
            Outgoing::Quic(quic) => drop(quic.finish()),
            Outgoing::WebSocket(line) => line.finish(),
        }
    }

    /// Resolves when the peer has all that was sent, or has stopped reading.
    pub async fn delivered(&mut self) {
        match &mut self.stream {
            Outgoing::Quic(quic) => drop(quic.stopped().await),
            Outgoing::WebSocket(line) => line.delivered().await,
        }
    }

    /// Gives the stream up, with a reason.
    pub fn reset(&mut self, code: Code) {
        self.finished = true;
        match &mut self.stream {
            // Only a stream that has ended refuses.
            Outgoing::Quic(quic) => drop(quic.reset((code as u32).into())),
            Outgoing::WebSocket(line) => line.reset(u64::from(code as u32)),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // quinn would finish the stream, which the peer could take for a complete one.
        if !self.finished {
            self.reset(Code::Internal);
        }
    }
}

impl Receiver {
    /// Takes frames of this many bytes at most.
    pub(crate) fn new(stream: Incoming, frame_bytes_max: usize) -> Self {
        Self { stream, decoder: Decoder::new(frame_bytes_max) }
    }

    /// The next message; `None` at the end of the stream. Not to be cancelled half-way by callers
    /// that want to go on: bytes taken in stay, so calling it again continues.
    ///
    /// # Errors
    /// [`StreamError`]; after [`StreamError::Frame`] the stream cannot be read on.
    pub async fn frame<M: Message + Default + Name>(&mut self) -> Result<Option<M>, StreamError> {
        loop {
            if let Some(message) = self.decoder.message()? {
                return Ok(Some(message));
            }
            match self.chunk(READ_BYTES).await? {
                Some(bytes) => self.decoder.feed(&bytes),
                None => {
                    self.decoder.end()?;
                    return Ok(None);
                }
            }
        }
    }

    /// The next raw bytes after the last frame, at most `max`; `None` at the end of the stream.
    ///
    /// # Errors
    /// If the stream or the connection has ended early.
    pub async fn bytes(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        let mut rest = self.decoder.take_rest();
        if !rest.is_empty() {
            if rest.len() > max {
                self.decoder.feed(&rest.split_off(max));
            }
            return Ok(Some(rest));
        }
        self.chunk(max).await
    }

    /// Waits for raw bytes, then takes all that have arrived, at most `max`: for work that costs by
    /// the piece. Empty at the end of the stream. Nothing is lost if this is cancelled.
    ///
    /// # Errors
    /// If the stream or the connection has ended early.
    pub async fn arrived(&mut self, max: usize) -> Result<Vec<Bytes>, StreamError> {
        let Some(first) = self.bytes(max).await? else { return Ok(Vec::new()) };
        let mut length = first.len();
        let mut pieces = vec![first];
        while length < max {
            // An end, of whatever kind, shows again at the next call.
            let Some(Ok(Some(bytes))) = self.bytes(max - length).now_or_never() else { break };
            length += bytes.len();
            pieces.push(bytes);
        }
        Ok(pieces)
    }

    /// Tells the peer that nothing more will be read, and why.
    pub fn stop(&mut self, code: Code) {
        match &mut self.stream {
            // Only a stream that has ended refuses.
            Incoming::Quic(quic) => drop(quic.stop((code as u32).into())),
            Incoming::WebSocket(line) => line.stop(u64::from(code as u32)),
        }
    }

    async fn chunk(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        let bytes = match &mut self.stream {
            Incoming::Quic(quic) => {
                let chunk = quic.read_chunk(max, true).await.map_err(quic::read_error)?;
                chunk.map(|chunk| chunk.bytes)
            }
            Incoming::WebSocket(line) => line.read(max).await?,
        };
        metric::received(bytes.as_ref().map_or(0, Bytes::len));
        Ok(bytes)
    }
}

impl From<StreamError> for Refusal {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Frame(error) => error.into(),
            StreamError::Closed(closed) => Self::new(Code::Unavailable, closed.to_string()),
            StreamError::Abandoned(code) => {
                Self::new(code.unwrap_or(Code::Unavailable), "the peer gave the stream up")
            }
        }
    }
}

impl From<quinn::SendStream> for Outgoing {
    fn from(quic: quinn::SendStream) -> Self {
        Self::Quic(quic)
    }
}

impl From<quinn::RecvStream> for Incoming {
    fn from(quic: quinn::RecvStream) -> Self {
        Self::Quic(quic)
    }
}

impl From<LineSender> for Outgoing {
    fn from(line: LineSender) -> Self {
        Self::WebSocket(line)
    }
}

impl From<LineReceiver> for Incoming {
    fn from(line: LineReceiver) -> Self {
        Self::WebSocket(line)
    }
}
