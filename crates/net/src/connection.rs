//! A connection: it opens and accepts streams until one side closes it or the path is gone.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use skein_wire::{
    close::CloseCode,
    frame::{FRAME_BYTES_MAX, SERVER_FRAME_BYTES_MAX},
};
use thiserror::Error;

use crate::{
    metric::Open,
    priority::Priority,
    stream::{Receiver, Sender},
    transport,
};

/// A connection to a peer. Clones are the same connection, which outlives none of them: when the
/// last is dropped, it closes.
#[derive(Debug, Clone)]
pub struct Connection {
    quic: quinn::Connection,
    /// Counts it, where it was accepted.
    _open: Option<Arc<Open>>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Closed {
    /// What the peer said, if it said something that this version knows. `None` also when nobody
    /// said anything: the path was lost.
    pub code: Option<CloseCode>,
    /// One sentence for people.
    pub message: String,
    /// Whether this side closed it.
    pub by_us: bool,
}

/// Bytes in the reason of a close; more would not fit beside the rest of a packet.
const REASON_BYTES_MAX: usize = 512;

impl Connection {
    pub(crate) const fn dialed(quic: quinn::Connection) -> Self {
        Self { quic, _open: None }
    }

    pub(crate) fn accepted(quic: quinn::Connection) -> Self {
        Self { quic, _open: Some(Arc::new(Open::new())) }
    }

    /// Opens a stream. Waits while the peer allows no more streams.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn open(&self, priority: Priority) -> Result<(Sender, Receiver), Closed> {
        let (send, receive) = self.quic.open_bi().await.map_err(closed)?;
        let sender = Sender::new(send);
        sender.prioritise(priority);
        // Clients open streams, so this is one, and its peer a server.
        Ok((sender, Receiver::new(receive, SERVER_FRAME_BYTES_MAX)))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn accept(&self) -> Result<(Sender, Receiver), Closed> {
        let (send, receive) = self.quic.accept_bi().await.map_err(closed)?;
        Ok((Sender::new(send), Receiver::new(receive, FRAME_BYTES_MAX)))
    }

    /// The peer has logged in: allow it the streams and windows that transfers need.
    pub fn raise_limits(&self) {
        transport::raise(&self.quic);
    }

    /// Closes the connection. What was not yet sent is lost.
    pub fn close(&self, code: CloseCode, message: &str) {
        let mut end = message.len().min(REASON_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        self.quic.close((code as u32).into(), &message.as_bytes()[..end]);
    }

    /// Resolves when the connection has ended.
    pub async fn closed(&self) -> Closed {
        closed(self.quic.closed().await)
    }

    /// Datagrams that have come from the peer: grows with each sign of life, acknowledgements and
    /// answers to keep-alives among them.
    #[must_use]
    pub fn datagrams_received(&self) -> u64 {
        self.quic.stats().udp_rx.datagrams
    }

    /// How long a packet and its acknowledgement take together, as estimated now.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.quic.rtt()
    }

    /// Where the peer is now; it changes when the peer roams.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.quic.remote_address()
    }
}

pub(crate) fn closed(error: quinn::ConnectionError) -> Closed {
    use quinn::ConnectionError as Error;
    let lost = |message: &str| Closed { code: None, message: message.into(), by_us: false };
    match error {
        Error::ApplicationClosed(close) => Closed {
            code: CloseCode::from_number(close.error_code.into_inner()),
            message: String::from_utf8_lossy(&close.reason).into_owned(),
            by_us: false,
        },
        Error::LocallyClosed => Closed { by_us: true, ..lost("this side closed the connection") },
        Error::TimedOut => lost("nothing was heard from the peer"),
        Error::Reset => lost("the peer has restarted"),
        Error::ConnectionClosed(close) => lost(&format!("the peer gave up: {close}")),
        Error::VersionMismatch => lost("the peer speaks no common version of QUIC"),
        Error::TransportError(error) => lost(&format!("QUIC failed: {error}")),
        Error::CidsExhausted => lost("QUIC ran out of connection ids"),
    }
}
