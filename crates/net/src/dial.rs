//! The connecting side.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{
    ClientConfig, Endpoint, EndpointConfig, TokioRuntime, crypto::rustls::QuicClientConfig,
};
use skein_core::port::directory::{ChatNode, Trust};
use thiserror::Error;

use crate::{Connection, connection::closed, tls, transport};

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
    v4: Endpoint,
    v6: Option<Endpoint>,
    config: DialConfig,
}

impl Dialer {
    /// Opens the sockets, bound to no interface so that they follow a change of route.
    ///
    /// # Errors
    /// [`DialError::Socket`].
    pub fn new(config: DialConfig) -> Result<Self, DialError> {
        let v4 = endpoint(Ipv4Addr::UNSPECIFIED.into()).map_err(DialError::Socket)?;
        // A host without IPv6 has only that.
        let v6 = endpoint(Ipv6Addr::UNSPECIFIED.into()).ok();
        Ok(Self { v4, v6, config })
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
            match self.dial_address(node, address).await {
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
        let both = [(Some(&self.v4), IpAddr::from(Ipv4Addr::UNSPECIFIED))]
            .into_iter()
            .chain([(self.v6.as_ref(), IpAddr::from(Ipv6Addr::UNSPECIFIED))]);
        for (endpoint, any) in both {
            if let Some(endpoint) = endpoint {
                let socket = UdpSocket::bind((any, 0)).map_err(DialError::Socket)?;
                transport::enlarge_buffers(&socket);
                endpoint.rebind(socket).map_err(DialError::Socket)?;
            }
        }
        Ok(())
    }

    /// Resolves when every peer knows of the connections that were closed.
    pub async fn idle(&self) {
        self.v4.wait_idle().await;
        if let Some(v6) = &self.v6 {
            v6.wait_idle().await;
        }
    }

    async fn dial_address(
        &self,
        node: &ChatNode,
        address: SocketAddr,
    ) -> Result<Connection, DialError> {
        let endpoint = if address.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
        let endpoint = endpoint.ok_or_else(|| unreachable_node(node, "this host has no IPv6"))?;
        let config = self.client_config(&node.trust)?;
        let connecting = endpoint
            .connect_with(config, address, server_name(node))
            .map_err(|error| unreachable_node(node, &error.to_string()))?;
        let established = tokio::time::timeout(self.config.handshake_timeout, connecting).await;
        match established {
            Ok(Ok(connection)) => Ok(Connection::dialed(connection)),
            Ok(Err(error)) if is_distrust(&error) => {
                Err(DialError::Untrusted { address: node.address.clone() })
            }
            Ok(Err(error)) => Err(unreachable_node(node, &closed(error).message)),
            Err(_) => Err(unreachable_node(node, "it does not answer")),
        }
    }

    fn client_config(&self, trust: &Trust) -> Result<ClientConfig, DialError> {
        let tls = tls::client(trust).map_err(|error| DialError::Tls(error.to_string()))?;
        let quic =
            QuicClientConfig::try_from(tls).map_err(|error| DialError::Tls(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(quic));
        config
            .transport_config(transport::client(self.config.idle_timeout, self.config.keep_alive));
        Ok(config)
    }
}

fn endpoint(address: IpAddr) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind((address, 0))?;
    transport::enlarge_buffers(&socket);
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
}

fn server_name(node: &ChatNode) -> &str {
    match &node.trust {
        Trust::Authority { server_name } => server_name,
        // The name plays no part in the check, but TLS wants one.
        Trust::Fingerprints(_) => "localhost",
    }
}

/// Whether this side refused the server's certificate: a TLS alert from `bad_certificate` (42) to
/// `access_denied` (49; RFC 8446, section 6.2), which QUIC carries as 0x100 + alert (RFC 9001, 4.8).
fn is_distrust(error: &quinn::ConnectionError) -> bool {
    let quinn::ConnectionError::TransportError(error) = error else { return false };
    let code = u64::from(error.code);
    (0x100 + 42..=0x100 + 49).contains(&code)
}

fn unreachable_node(node: &ChatNode, reason: &str) -> DialError {
    DialError::Unreachable { address: node.address.clone(), reason: reason.into() }
}
