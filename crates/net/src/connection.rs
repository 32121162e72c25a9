//! A connection: it opens and accepts streams, and carries datagrams, until one side closes it
//! or the path is gone.

mod datagrams;

use std::{
    fmt,
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
    congestion,
    dial::race::Outlook,
    metric::{self, Open},
    migration::Watched,
    priority::Priority,
    quic::{self, datagram::Channel, early::Begun},
    stream::{Incoming, Outgoing, Receiver, Sender},
    transport,
    websocket::line::Line,
};

/// A connection to a peer. Clones are the same connection, which outlives none of them: when the
/// last is dropped, it closes.
#[derive(Debug, Clone)]
pub struct Connection {
    transport: Transport,
    /// Where it was accepted.
    guest: Option<Arc<Guest>>,
    /// Looks out for a better way, where it was dialed and there may be one.
    outlook: Option<Arc<Outlook>>,
    /// The stream with which it began, until it is taken.
    begun: Arc<Mutex<Option<(Sender, Receiver)>>>,
    /// Its datagrams over QUIC, where they are taken.
    datagrams: Option<Arc<Channel>>,
}

/// What an accepted connection holds until its last clone is dropped.
pub(crate) struct Guest {
    /// Counts it.
    _open: Open,
    /// Until its peer has logged in.
    place: Mutex<Option<Place>>,
    /// What keeps it under watch, where the peer can move.
    watched: Option<Arc<Watched>>,
    is_early: bool,
    handshake: tokio::sync::Mutex<Handshake>,
}

/// Whether a client has shown that it holds the keys of its connection.
enum Handshake {
    /// Resolves when that is known.
    UnderWay(quinn::ZeroRttAccepted),
    /// What came of it, for whoever asks again.
    Over(Result<(), Closed>),
}

/// What carries it. WebTransport will be another form.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    Quic(quinn::Connection),
    WebSocket(Line),
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
    pub(crate) fn dialed(transport: Transport) -> Self {
        Self { transport, guest: None, outlook: None, begun: Arc::default(), datagrams: None }
    }

    pub(crate) fn accepted(transport: Transport, guest: Guest) -> Self {
        Self { guest: Some(Arc::new(guest)), ..Self::dialed(transport) }
    }

    /// It began with this stream.
    pub(crate) fn beginning(self, begun: Option<Begun>) -> Self {
        let server = self.guest.is_some();
        let frame_bytes_max = if server { FRAME_BYTES_MAX } else { SERVER_FRAME_BYTES_MAX };
        let begun =
            begun.map(|(send, receive)| halves(send.into(), receive.into(), frame_bytes_max));
        Self { begun: Arc::new(Mutex::new(begun)), ..self }
    }

    pub(crate) fn with(self, outlook: Outlook) -> Self {
        Self { outlook: Some(Arc::new(outlook)), ..self }
    }

    /// The stream on which the first frame went with the first packets, if the server has taken
    /// it.
    #[must_use]
    pub fn take_begun(&self) -> Option<(Sender, Receiver)> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the client began to speak before it had shown that it holds the keys of this
    /// connection. What it says until then may be a recording of what another has said, and nothing
    /// that matters may be done for it; but what it is answered only the true one can read.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.guest.as_ref().is_some_and(|guest| guest.is_early)
    }

    /// Resolves once the client has shown that it holds the keys of this connection.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn proven(&self) -> Result<(), Closed> {
        let Some(guest) = &self.guest else { return Ok(()) };
        let mut handshake = guest.handshake.lock().await;
        let over = match &mut *handshake {
            Handshake::Over(outcome) => return outcome.clone(),
            Handshake::UnderWay(over) => over,
        };
        over.await;
        let ended = match &self.transport {
            Transport::Quic(quic) => quic.close_reason(),
            Transport::WebSocket(_) => None,
        };
        metric::handshake(metric::QUIC, if ended.is_none() { "done" } else { "failed" });
        let outcome = ended.map_or(Ok(()), |reason| Err(quic::closed(reason)));
        *handshake = Handshake::Over(outcome.clone());
        outcome
    }

    /// Opens a stream. Waits while the peer allows no more streams.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn open(&self, priority: Priority) -> Result<(Sender, Receiver), Closed> {
        // Clients open streams, so this is one, and its peer a server.
        let (mut sender, receiver) = match &self.transport {
            Transport::Quic(quic) => {
                let (send, receive) = quic.open_bi().await.map_err(quic::closed)?;
                let (sender, receiver) =
                    halves(send.into(), receive.into(), SERVER_FRAME_BYTES_MAX);
                (sender.of(quic), receiver)
            }
            Transport::WebSocket(line) => {
                let (send, receive) = line.open().await?;
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
        if let Some(begun) = self.take_begun() {
            return Ok(begun);
        }
        match &self.transport {
            Transport::Quic(quic) => {
                let (send, receive) = quic.accept_bi().await.map_err(quic::closed)?;
                let (sender, receiver) = halves(send.into(), receive.into(), FRAME_BYTES_MAX);
                Ok((sender.of(quic), receiver))
            }
            Transport::WebSocket(line) => {
                let (send, receive) = line.accept().await?;
                Ok(halves(send.into(), receive.into(), FRAME_BYTES_MAX))
            }
        }
    }

    /// The peer has logged in: allow it the streams and windows that transfers need, and
    /// datagrams, and its place among those that have not to somebody else.
    pub fn raise_limits(&self) {
        if let Some(guest) = &self.guest {
            guest.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        if let Some(datagrams) = &self.datagrams {
            datagrams.allow();
        }
        match &self.transport {
            Transport::Quic(quic) => transport::raise(quic),
            Transport::WebSocket(line) => line.raise(),
        }
    }

    /// Makes the peer acknowledge something at once, if the connection was dialed.
    pub fn probe(&self) {
        match &self.transport {
            Transport::Quic(quic) => transport::probe(quic),
            Transport::WebSocket(line) => line.probe(),
        }
    }

    /// What is sent from now on takes another path, which may be slower or longer. Tell that after
    /// [`Dialer::rebind`](crate::dial::Dialer::rebind).
    pub fn on_another_path(&self) {
        match &self.transport {
            Transport::Quic(quic) => congestion::another_path(quic),
            // It cannot move.
            Transport::WebSocket(_) => {}
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
            Transport::WebSocket(line) => line.close(u64::from(code as u32), reason),
        }
    }

    /// Resolves when the connection has ended.
    pub async fn closed(&self) -> Closed {
        match &self.transport {
            Transport::Quic(quic) => quic::closed(quic.closed().await),
            Transport::WebSocket(line) => line.closed().await,
        }
    }

    /// Resolves when a better way to the peer than the one that the connection goes was found more
    /// than so many times, and tells how often; a connection that is dialed then would go it. Most
    /// are on the best way already: then never.
    pub async fn outdone(&self, times: u64) -> u64 {
        match &self.outlook {
            Some(outlook) => outlook.found(times).await,
            None => std::future::pending().await,
        }
    }

    /// Datagrams that have come from the peer, or messages of a WebSocket: grows with each sign of
    /// life, acknowledgements and answers to keep-alives among them.
    #[must_use]
    pub fn datagrams_received(&self) -> u64 {
        match &self.transport {
            Transport::Quic(quic) => quic.stats().udp_rx.datagrams,
            Transport::WebSocket(line) => line.heard(),
        }
    }

    /// How long nothing has come from the peer of an accepted connection, to about a second.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        let watched = self.guest.as_ref().and_then(|guest| guest.watched.as_ref());
        match (&self.transport, watched) {
            (Transport::WebSocket(line), _) => line.silent_for(),
            (Transport::Quic(_), Some(watched)) => watched.silent_for(),
            // Nobody watches what was dialed.
            (Transport::Quic(_), None) => Duration::ZERO,
        }
    }

    /// Frames sent that the peer has to acknowledge: grows with whatever should make it answer, and
    /// with each repetition while it does not. It stays at 0 where the transport does not tell.
    #[must_use]
    pub fn frames_asking(&self) -> u64 {
        match &self.transport {
            Transport::Quic(quic) => {
                let sent = quic.stats().frame_tx;
                sent.stream + sent.ping + sent.datagram + sent.max_data + sent.max_stream_data
            }
            // A ping goes along with what is sent.
            Transport::WebSocket(line) => line.pings(),
        }
    }

    /// Frames of streams that came or were sent, repetitions included. It stays at 0 over a WebSocket:
    /// what is sent there TCP repeats, and nobody can see that.
    #[must_use]
    pub fn stream_frames(&self) -> u64 {
        match &self.transport {
            Transport::Quic(quic) => {
                let stats = quic.stats();
                stats.frame_tx.stream + stats.frame_rx.stream
            }
            Transport::WebSocket(_) => 0,
        }
    }

    /// Packets sent that were lost on the way; `None` where the transport does not tell.
    #[must_use]
    pub fn packets_lost(&self) -> Option<u64> {
        match &self.transport {
            Transport::Quic(quic) => Some(quic.stats().path.lost_packets),
            Transport::WebSocket(_) => None,
        }
    }

    /// How long a packet and its acknowledgement take together, as estimated now.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        match &self.transport {
            Transport::Quic(quic) => congestion::round_trip(quic).unwrap_or_else(|| quic.rtt()),
            Transport::WebSocket(line) => line.round_trip(),
        }
    }

    /// Where the peer is now; it changes when the peer roams.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        match &self.transport {
            Transport::Quic(quic) => quic.remote_address(),
            Transport::WebSocket(line) => line.peer(),
        }
    }
}

impl Guest {
    pub(crate) fn new(place: Place, watched: Option<Arc<Watched>>) -> Self {
        let transport = if watched.is_some() { metric::QUIC } else { metric::WEBSOCKET };
        Self {
            _open: Open::new(transport),
            place: Mutex::new(Some(place)),
            watched,
            is_early: false,
            handshake: tokio::sync::Mutex::new(Handshake::Over(Ok(()))),
        }
    }

    /// It has spoken before its handshake was over, which `handshake` tells.
    pub(crate) fn early(self, handshake: Option<quinn::ZeroRttAccepted>) -> Self {
        let is_early = handshake.is_some();
        let handshake = handshake.map_or(Handshake::Over(Ok(())), Handshake::UnderWay);
        Self { is_early, handshake: tokio::sync::Mutex::new(handshake), ..self }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("is_early", &self.is_early).finish_non_exhaustive()
    }
}

impl From<Line> for Transport {
    fn from(line: Line) -> Self {
        Self::WebSocket(line)
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
