//! The datagrams of a connection.

use std::sync::Arc;

use bytes::Bytes;

use super::{Closed, Connection, Transport};
use crate::{
    datagram::{DatagramError, Dropped},
    quic::datagram::{self, Channel},
};

/// Datagrams may be lost, and come in another order. They travel where the configurations of both
/// sides say that they take them; a server takes none from a peer that has not
/// [logged in](Connection::raise_limits).
impl Connection {
    /// With datagrams, over QUIC. A WebSocket carries its own.
    pub(crate) fn carrying(self, datagrams: Option<Arc<Channel>>) -> Self {
        Self { datagrams, ..self }
    }

    /// Bytes that a datagram may have, [`DATAGRAM_BYTES_MAX`](crate::datagram::DATAGRAM_BYTES_MAX) of
    /// a peer of this version. `None` where one of the sides takes none, and over a WebSocket also
    /// until the peer has said its first.
    #[must_use]
    pub fn max_datagram_bytes(&self) -> Option<usize> {
        match &self.transport {
            Transport::Quic(quic) => {
                self.datagrams.as_ref().and_then(|_| datagram::bytes_max(quic))
            }
            Transport::WebSocket(line) => line.datagram_bytes_max(),
        }
    }

    /// Sends a datagram soon, without waiting. Where too many wait, the oldest is dropped.
    ///
    /// # Errors
    /// [`DatagramError`].
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), DatagramError> {
        match &self.transport {
            Transport::Quic(quic) => match &self.datagrams {
                Some(channel) => channel.send(quic, datagram),
                None => Err(DatagramError::Unsupported),
            },
            Transport::WebSocket(line) => line.send_datagram(datagram),
        }
    }

    /// The next datagram that has come. Where none are taken, there is none until the end. May be
    /// cancelled.
    ///
    /// # Errors
    /// If the connection has ended, once what came before has been taken.
    pub async fn receive_datagram(&self) -> Result<Bytes, Closed> {
        match &self.transport {
            Transport::Quic(quic) => match &self.datagrams {
                Some(channel) => channel.next(quic).await,
                None => Err(self.closed().await),
            },
            Transport::WebSocket(line) => line.receive_datagram().await,
        }
    }

    /// Datagrams that were dropped on this side.
    #[must_use]
    pub fn datagrams_dropped(&self) -> Dropped {
        match &self.transport {
            Transport::Quic(_) => {
                self.datagrams.as_ref().map(|channel| channel.dropped()).unwrap_or_default()
            }
            Transport::WebSocket(line) => line.datagrams_dropped(),
        }
    }
}
