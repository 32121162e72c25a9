//! The connecting side.

mod memory;
mod names;
pub(crate) mod race;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use skein_core::port::directory::{ChatNode, Trust};
use skein_wire::frame;
use thiserror::Error;

use self::{
    memory::{Memory, Network},
    names::Names,
    race::{in_turn, race},
};
use crate::{Connection, quic::dial::QuicDialer, watch, websocket::dial::WebSocketDialer};

/// What a client may change about its connections.
#[derive(Debug, Clone, Copy)]
pub struct DialConfig {
    /// After this long without a packet the server is taken for gone. The shorter of both sides
    /// counts.
    pub idle_timeout: Duration,
    /// How often an idle connection says that it is still there. Less than half the idle timeout
    /// of either side, and less than what a NAT forgets after (RFC 4787, section 4.3, asks for two
    /// minutes; many forget after 30 seconds).
    pub keep_alive: Duration,
    /// How long a handshake may take, for each address.
    pub handshake_timeout: Duration,
    /// What connections may go over.
    pub transports: Transports,
    /// Whether to take and send [datagrams](crate::datagram).
    pub datagrams: bool,
}

/// What connections may go over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transports {
    /// QUIC, and WebSocket where UDP is blocked.
    #[default]
    Both,
    /// QUIC only.
    Quic,
    /// WebSocket only, to try and to measure it.
    WebSocket,
}

impl Default for DialConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(120),
            keep_alive: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            transports: Transports::Both,
            datagrams: false,
        }
    }
}

/// Why no connection came about.
#[derive(Debug, Error)]
pub enum DialError {
    /// No local socket could be had.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[source] io::Error),
    /// The address is no address, or its name is not known.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The server shows a certificate that is not trusted.
    #[error("the chat server at {address} shows a certificate that is not trusted")]
    Untrusted {
        /// Its address.
        address: String,
    },
    /// Nobody answers, or not as a chat server would.
    #[error("cannot reach the chat server at {address}: {reason}")]
    Unreachable {
        /// Its address.
        address: String,
        /// What happened.
        reason: String,
        /// Whether something answered, if only to refuse.
        answered: bool,
    },
    /// This side's TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Makes connections. One UDP socket an address family serves them all; a WebSocket has its own.
#[derive(Debug)]
pub struct Dialer {
    quic: Arc<QuicDialer>,
    websocket: WebSocketDialer,
    memory: Arc<Memory>,
    names: Arc<Names>,
    transports: Transports,
}

impl Dialer {
    /// Opens the sockets, bound to no interface so that they follow a change of route.
    ///
    /// # Errors
    /// [`DialError::Socket`].
    pub fn new(config: DialConfig) -> Result<Self, DialError> {
        Ok(Self {
            quic: Arc::new(QuicDialer::new(config)?),
            websocket: WebSocketDialer::new(config),
            memory: Arc::default(),
            names: Arc::default(),
            transports: config.transports,
        })
    }

    /// Connects to a chat node: over QUIC, or where that does not answer soon, over WebSocket.
    ///
    /// # Errors
    /// [`DialError`], of the last address tried.
    pub async fn dial(&self, node: &ChatNode) -> Result<Connection, DialError> {
        self.connect(node, None).await
    }

    /// Connects to a chat node. If it was there before, `first` goes with the first packets, on a
    /// stream that [`Connection::take_begun`] gives if the node has taken it. Somebody may record
    /// these packets and send them again, so `first` must ask for nothing that matters twice.
    ///
    /// # Errors
    /// [`DialError`], of the last address tried.
    pub async fn dial_early(
        &self,
        node: &ChatNode,
        first: &impl Message,
    ) -> Result<Connection, DialError> {
        self.connect(node, Some(frame::encode(first))).await
    }

    async fn connect(
        &self,
        node: &ChatNode,
        first: Option<Bytes>,
    ) -> Result<Connection, DialError> {
        let resolved = self.names.resolve(&node.address).await;
        let mut addresses = resolved
            .map_err(|source| DialError::Resolve { address: node.address.clone(), source })?;
        // Those of a family that the network does not have come last: nothing would answer.
        addresses.sort_by_key(|address| watch::local_address(*address).is_none());
        let Some(network) = addresses.first().copied().map(Network::towards) else {
            return Err(unreachable_node(node, "it has no address"));
        };
        // What is to be said first is said once: later attempts only look whether QUIC works.
        let first = Mutex::new(first);
        let (quic, attempted, to) = (Arc::clone(&self.quic), node.clone(), addresses.clone());
        let quic = move || {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            attempts(Arc::clone(&quic), attempted.clone(), to.clone(), first)
        };
        let websocket =
            in_turn(addresses.into_iter().map(|address| self.websocket.dial(node, address)));
        match self.transports {
            Transports::Quic => quic().await,
            Transports::WebSocket => websocket.await,
            Transports::Both => Box::pin(race(quic, websocket, network, &self.memory)).await,
        }
    }

    /// Whether this machine has a way to an address of `node` that is not `peer`, as far as its
    /// addresses are known.
    #[must_use]
    pub fn reaches_elsewhere(&self, node: &ChatNode, peer: SocketAddr) -> bool {
        let mut known = self.names.known(&node.address).into_iter();
        known.any(|address| address != peer && watch::local_address(address).is_some())
    }

    /// From which address this machine would send to each of those of `node`, as far as these are known:
    /// none where it has no way there.
    #[must_use]
    pub fn ways(&self, node: &ChatNode) -> Vec<Option<IpAddr>> {
        self.names.known(&node.address).into_iter().map(watch::local_address).collect()
    }

    /// Moves the live connections to new sockets, as after a change of network. They go on; those
    /// that cannot move, because they are WebSockets of a network that is gone, end at once.
    ///
    /// # Errors
    /// [`DialError::Socket`]; then they stay where they were.
    pub fn rebind(&self) -> Result<(), DialError> {
        self.websocket.rebind();
        self.quic.rebind()
    }

    /// Whether its sockets have failed, as where the system has taken them from a program in the
    /// background: then only another dialer makes connections.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.quic.is_over()
    }

    /// Resolves when every peer knows of the connections that were closed.
    pub async fn idle(&self) {
        self.quic.idle().await;
        self.websocket.idle().await;
    }
}

/// Tries QUIC at each address, of which only the first is told something early.
async fn attempts(
    quic: Arc<QuicDialer>,
    node: ChatNode,
    addresses: Vec<SocketAddr>,
    mut first: Option<Bytes>,
) -> Result<Connection, DialError> {
    in_turn(addresses.into_iter().map(|address| quic.dial(&node, address, first.take()))).await
}

pub(crate) fn server_name(node: &ChatNode) -> &str {
    match &node.trust {
        Trust::Authority { server_name } => server_name,
        // The name plays no part in the check, but TLS wants one.
        Trust::Fingerprints(_) => "localhost",
    }
}

pub(crate) fn unreachable_node(node: &ChatNode, reason: &str) -> DialError {
    DialError::Unreachable { address: node.address.clone(), reason: reason.into(), answered: false }
}
