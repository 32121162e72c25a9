//! What may be said before the handshake is over (0-RTT; RFC 9001, section 4.6), so that a client
//! that comes back has its answer after one round trip.
//!
//! Somebody who records such a beginning can send it again, so three things hold. A ticket is kept
//! by the server that gave it and used up by its first use (RFC 8446, section 8.1): the same beginning
//! is taken once, by one process, and rustls takes it only within a minute of when it says that it
//! was made (section 8.3). What is in it only asks. And until the handshake has shown that the client
//! holds the keys nothing is done for it but to answer, which nobody else can read
//! ([`Connection::proven`](crate::Connection::proven)).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use quinn::{Connecting, ConnectionError, Incoming, RecvStream, SendStream, ZeroRttAccepted};
use rustls::{
    ClientConfig, NamedGroup, ServerConfig,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
    },
    pki_types::ServerName,
    server::ServerSessionMemoryCache,
};

/// Tickets that a listener keeps, of about 300 bytes; then the oldest are forgotten, and their
/// clients shake hands in full.
const TICKETS_KEPT: usize = 65_536;
/// Tickets that a client is given with each connection: one to come back with, and one to spare for
/// an attempt that comes to nothing. A hello made is a ticket used, whether it gets there or not.
const TICKETS_GIVEN: usize = 2;
/// Tickets that a client keeps of one node: as many as rustls keeps of one name.
const TICKETS_HELD: usize = 8;
/// The one number that QUIC allows where early data is taken (RFC 9001, section 4.6.1).
const EARLY_BYTES: u32 = u32::MAX;

/// A stream on which the first frame has been sent.
pub(crate) type Begun = (SendStream, RecvStream);

/// Has a listener give tickets, and take what is said early by those who show one. Tickets that the
/// client keeps sealed would not be used up, so there are none.
pub(crate) fn take(tls: &mut ServerConfig) {
    tls.session_storage = ServerSessionMemoryCache::new(TICKETS_KEPT);
    tls.send_tls13_tickets = TICKETS_GIVEN;
    tls.max_early_data_size = EARLY_BYTES;
}

/// Has a client keep tickets, and show one; and the same for one that has nothing to say early, and
/// leaves its tickets for when it has. Both must be used for one node only, and with them goes what
/// that node has shown.
pub(crate) fn offer(tls: ClientConfig) -> [ClientConfig; 2] {
    let tickets = Arc::new(ClientSessionMemoryCache::new(TICKETS_HELD));
    let spared = Arc::new(Spared(Arc::clone(&tickets)));
    let mut late = tls.clone();
    late.resumption = Resumption::store(spared);
    let mut early = tls;
    early.resumption = Resumption::store(tickets);
    early.enable_early_data = true;
    [early, late]
}

/// Takes tickets in and gives none out.
struct Spared(Arc<ClientSessionMemoryCache>);

impl fmt::Debug for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spared")
    }
}

impl ClientSessionStore for Spared {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(server_name)
    }

    // There is nothing but TLS 1.3.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        ticket: Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(server_name, ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// Shakes hands, with `first` on a stream in the first packets if there is a ticket. Without one, or
/// if the server does not want it, there is no stream, and nothing was said.
pub(crate) async fn shake(
    connecting: Connecting,
    first: Option<Bytes>,
) -> Result<(quinn::Connection, Option<Begun>), ConnectionError> {
    let Some(first) = first else { return Ok((connecting.await?, None)) };
    let (connection, taken) = match connecting.into_0rtt() {
        Ok(early) => early,
        Err(connecting) => return Ok((connecting.await?, None)),
    };
    let (begun, taken) = tokio::join!(begin(&connection, first), taken);
    match connection.close_reason() {
        Some(reason) => Err(reason),
        None => Ok((connection, begun.filter(|_| taken))),
    }
}

async fn begin(connection: &quinn::Connection, first: Bytes) -> Option<Begun> {
    let (mut send, receive) = connection.open_bi().await.ok()?;
    send.write_chunk(first).await.ok()?;
    Some((send, receive))
}

/// What has come of a client's handshake so far.
pub(crate) struct Answered {
    pub(crate) connection: quinn::Connection,
    /// If the client has spoken early: when the handshake is over, and what it has begun.
    pub(crate) early: Option<(ZeroRttAccepted, Begun)>,
}

/// Shakes hands with a client until it is done, or until the client has begun a stream.
pub(crate) async fn answer(incoming: Incoming) -> Result<Answered, ConnectionError> {
    let mut connecting = incoming.accept()?;
    // What is being spoken is known from here on.
    connecting.handshake_data().await?;
    let (connection, mut over) = match connecting.into_0rtt() {
        Ok(early) => early,
        Err(connecting) => return Ok(Answered { connection: connecting.await?, early: None }),
    };
    tokio::select! {
        biased;
        _ = &mut over => match connection.close_reason() {
            Some(reason) => Err(reason),
            None => Ok(Answered { connection, early: None }),
        },
        // Nothing that is not early is read before it is over.
        begun = connection.accept_bi() => {
            let begun = begun?;
            Ok(Answered { early: Some((over, begun)), connection })
        }
    }
}

/// The configurations of the nodes that were dialed last, each with its tickets.
pub(crate) struct Known<K, V>(Vec<(K, Arc<V>)>);

/// Nodes of which tickets are kept.
const NODES_MAX: usize = 8;

impl<K: PartialEq, V> Known<K, V> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// What is known of `key`, or else what `make` makes, in place of what was used least lately.
    pub(crate) fn get<E>(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        let known = self.0.iter().position(|(other, _)| *other == key);
        let entry = match known {
            Some(at) => self.0.remove(at),
            None => (key, Arc::new(make()?)),
        };
        let value = Arc::clone(&entry.1);
        self.0.truncate(NODES_MAX - 1);
        self.0.insert(0, entry);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_dialed_last_are_known() {
        let mut known = Known::<usize, usize>::new();
        let mut made = 0;
        for key in (0..NODES_MAX).chain([0, NODES_MAX, 1, 0]) {
            let value = known.get(key, || {
                made += 1;
                Ok::<_, ()>(made)
            });
            assert!(value.is_ok());
        }
        // 1 had to make place for the ninth and was made again; 0 was in use.
        assert_eq!((made, known.0.len()), (NODES_MAX + 2, NODES_MAX));
    }
}
