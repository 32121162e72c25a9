//! A connection: it opens and accepts streams until one side closes it or the path is gone.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use skein_wire::{
    close::CloseCode,
    frame::{FRAME_BYTES_MAX, SERVER_FRAME_BYTES_MAX},
};
use thiserror::Error;

use crate::{
    admission::Place,
    metric::Open,
    priority::Priority,
    quic,
    stream::{Incoming, Outgoing, Receiver, Sender},
    transport,
};

/// A connection to a peer. Clones are the same connection, which outlives none of them: when the
/// last is dropped, it closes.
#[derive(Debug, Clone)]
pub struct Connection {
    transport: Transport,
    /// Where it was accepted.
    guest: Option<Arc<Guest>>,
}

/// What an accepted connection holds until its last clone is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Counts it.
    _open: Open,
    /// Until its peer has logged in.
    place: Mutex<Option<Place>>,
    /// What keeps it under watch, where the peer can move.
    _watched: Option<Arc<quinn::Connection>>,
}

/// What carries it. WebTransport will be another form.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    Quic(quinn::Connection),
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
    pub(crate) const fn dialed(transport: Transport) -> Self {
        Self { transport, guest: None }
    }

    pub(crate) fn accepted(transport: Transport, guest: Guest) -> Self {
        Self { transport, guest: Some(Arc::new(guest)) }
    }

    /// Opens a stream. Waits while the peer allows no more streams.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn open(&self, priority: Priority) -> Result<(Sender, Receiver), Closed> {
        // Clients open streams, so this is one, and its peer a server.
        let (sender, receiver) = match &self.transport {
            Transport::Quic(quic) => {
                let (send, receive) = quic.open_bi().await.map_err(quic::closed)?;
                halves(send.into(), receive.into(), SERVER_FRAME_BYTES_MAX)
            }
        };
        sender.prioritise(priority);
        Ok((sender, receiver))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn accept(&self) -> Result<(Sender, Receiver), Closed> {
        match &self.transport {
            Transport::Quic(quic) => {
                let (send, receive) = quic.accept_bi().await.map_err(quic::closed)?;
                Ok(halves(send.into(), receive.into(), FRAME_BYTES_MAX))
            }
        }
    }

    /// The peer has logged in: allow it the streams and windows that transfers need, and its place
    /// among those that have not to somebody else.
    pub fn raise_limits(&self) {
        if let Some(guest) = &self.guest {
            guest.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        match &self.transport {
            Transport::Quic(quic) => transport::raise(quic),
        }
    }

    /// Closes the connection. What was not yet sent is lost.
    pub fn close(&self, code: CloseCode, message: &str) {
        let mut end = message.len().min(REASON_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let reason = &message.as_bytes()[..end];
        match &self.transport {
            Transport::Quic(quic) => quic.close((code as u32).into(), reason),
        }
    }

    /// Resolves when the connection has ended.
    pub async fn closed(&self) -> Closed {
        match &self.transport {
            Transport::Quic(quic) => quic::closed(quic.closed().await),
        }
    }

    /// Datagrams that have come from the peer: grows with each sign of life, acknowledgements and
    /// answers to keep-alives among them.
    #[must_use]
    pub fn datagrams_received(&self) -> u64 {
        match &self.transport {
            Transport::Quic(quic) => quic.stats().udp_rx.datagrams,
        }
    }

    /// How long a packet and its acknowledgement take together, as estimated now.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        match &self.transport {
            Transport::Quic(quic) => quic.rtt(),
        }
    }

    /// Where the peer is now; it changes when the peer roams.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        match &self.transport {
            Transport::Quic(quic) => quic.remote_address(),
        }
    }
}

impl Guest {
    pub(crate) fn new(place: Place, watched: Option<Arc<quinn::Connection>>) -> Self {
        Self { _open: Open::new(), place: Mutex::new(Some(place)), _watched: watched }
    }
}

impl From<quinn::Connection> for Transport {
    fn from(quic: quinn::Connection) -> Self {
        Self::Quic(quic)
    }
}

fn halves(send: Outgoing, receive: Incoming, frame_bytes_max: usize) -> (Sender, Receiver) {
    (Sender::new(send), Receiver::new(receive, frame_bytes_max))
}
