//! The connecting side.

use std::{io, time::Duration};

use skein_core::port::directory::{ChatNode, Trust};
use thiserror::Error;

use crate::{Connection, quic::dial::QuicDialer};

/// Addresses of one name that are tried before giving up.
const ADDRESSES_MAX: usize = 4;

/// What a client may change about its connections.
#[derive(Debug, Clone, Copy)]
pub struct DialConfig {
    /// After this long without a packet the server is taken for gone.
    pub idle_timeout: Duration,
    /// How often an idle connection says that it is still there. Less than half the idle timeout
    /// of either side, and less than what a NAT forgets after (RFC 4787, section 4.3, asks for two
    /// minutes; many forget after 30 seconds).
    pub keep_alive: Duration,
    /// How long a handshake may take, for each address.
    pub handshake_timeout: Duration,
}

impl Default for DialConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
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
    },
    /// This side's TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Makes connections. One UDP socket an address family serves them all.
#[derive(Debug)]
pub struct Dialer {
    quic: QuicDialer,
}

impl Dialer {
    /// Opens the sockets, bound to no interface so that they follow a change of route.
    ///
    /// # Errors
    /// [`DialError::Socket`].
    pub fn new(config: DialConfig) -> Result<Self, DialError> {
        Ok(Self { quic: QuicDialer::new(config)? })
    }

    /// Connects to a chat node.
    ///
    /// # Errors
    /// [`DialError`], of the last address tried.
    pub async fn dial(&self, node: &ChatNode) -> Result<Connection, DialError> {
        let resolved = tokio::net::lookup_host(&node.address).await;
        let addresses = resolved
            .map_err(|source| DialError::Resolve { address: node.address.clone(), source })?;
        let mut failed = None;
        for address in addresses.take(ADDRESSES_MAX) {
            match self.quic.dial(node, address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| unreachable_node(node, "it has no address")))
    }

    /// Moves the live connections to new sockets, as after a change of network. They go on.
    ///
    /// # Errors
    /// [`DialError::Socket`]; then they stay where they were.
    pub fn rebind(&self) -> Result<(), DialError> {
        self.quic.rebind()
    }

    /// Resolves when every peer knows of the connections that were closed.
    pub async fn idle(&self) {
        self.quic.idle().await;
    }
}

pub(crate) fn server_name(node: &ChatNode) -> &str {
    match &node.trust {
        Trust::Authority { server_name } => server_name,
        // The name plays no part in the check, but TLS wants one.
        Trust::Fingerprints(_) => "localhost",
    }
}

pub(crate) fn unreachable_node(node: &ChatNode, reason: &str) -> DialError {
    DialError::Unreachable { address: node.address.clone(), reason: reason.into() }
}
