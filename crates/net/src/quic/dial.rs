//! The connecting side of QUIC: one UDP socket an address family, which all connections share.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, Runtime, TokenMemoryCache, TokenStore,
    TokioRuntime, crypto::rustls::QuicClientConfig,
};
use skein_core::port::directory::{ChatNode, Trust};

use crate::{
    connection::Connection,
    dial::{DialConfig, DialError, server_name, unreachable_node},
    quic::{
        closed,
        datagram::Channel,
        early::{self, Known},
    },
    tls, transport,
};

/// Makes QUIC connections.
pub(crate) struct QuicDialer {
    v4: Port,
    v6: Option<Port>,
    config: DialConfig,
    /// What servers have given this client, to be known to them the next time.
    tokens: Arc<dyn TokenStore>,
    /// How to connect to nodes, with the tickets that they have given.
    known: Mutex<Known<(String, Trust), QuicClientConfig>>,
}

impl fmt::Debug for QuicDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicDialer").field("v4", &self.v4).field("v6", &self.v6).finish()
    }
}

/// An endpoint, and where its socket is bound.
#[derive(Debug)]
struct Port {
    endpoint: Endpoint,
    any: IpAddr,
}

impl QuicDialer {
    /// Opens the sockets, bound to no interface so that they follow a change of route.
    pub(crate) fn new(config: DialConfig) -> Result<Self, DialError> {
        let v4 = Port::open(Ipv4Addr::UNSPECIFIED.into()).map_err(DialError::Socket)?;
        // A host without IPv6 has only that.
        let v6 = Port::open(Ipv6Addr::UNSPECIFIED.into()).ok();
        let tokens = Arc::new(TokenMemoryCache::default());
        Ok(Self { v4, v6, config, tokens, known: Mutex::new(Known::new()) })
    }

    /// Moves the live connections to new sockets, as after a change of network. They go on.
    /// After an error they stay where they were.
    pub(crate) fn rebind(&self) -> Result<(), DialError> {
        let mut ports = [Some(&self.v4), self.v6.as_ref()].into_iter().flatten();
        ports.try_for_each(Port::rebind).map_err(DialError::Socket)
    }

    /// Resolves when every peer knows of the connections that were closed.
    pub(crate) async fn idle(&self) {
        self.v4.endpoint.wait_idle().await;
        if let Some(v6) = &self.v6 {
            v6.endpoint.wait_idle().await;
        }
    }

    /// Connects to one address of a chat node, with `first` as the first frame if that can be said
    /// early.
    pub(crate) async fn dial(
        &self,
        node: &ChatNode,
        address: SocketAddr,
        first: Option<Bytes>,
    ) -> Result<Connection, DialError> {
        let port = if address.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
        let port = port.ok_or_else(|| unreachable_node(node, "this host has no IPv6"))?;
        let config = self.client_config(node)?;
        let connecting = port
            .endpoint
            .connect_with(config, address, server_name(node))
            .map_err(|error| unreachable_node(node, &error.to_string()))?;
        let shaking = early::shake(connecting, first);
        let established = tokio::time::timeout(self.config.handshake_timeout, shaking).await;
        match established {
            Ok(Ok((connection, begun))) => {
                // Nobody logs in to a client: the server may send at once.
                let datagrams = self.config.datagrams.then(|| Channel::begin(&connection, true));
                Ok(Connection::dialed(connection.into()).beginning(begun).carrying(datagrams))
            }
            Ok(Err(error)) if is_distrust(&error) => {
                Err(DialError::Untrusted { address: node.address.clone() })
            }
            Ok(Err(error)) => Err(DialError::Unreachable {
                address: node.address.clone(),
                answered: !matches!(error, quinn::ConnectionError::TimedOut),
                reason: closed(error).message,
            }),
            Err(_) => Err(unreachable_node(node, "it does not answer")),
        }
    }

    fn client_config(&self, node: &ChatNode) -> Result<ClientConfig, DialError> {
        let make = || {
            let mut tls = tls::client(&node.trust, tls::ALPN_SKEIN)
                .map_err(|error| DialError::Tls(error.to_string()))?;
            early::offer(&mut tls);
            QuicClientConfig::try_from(tls).map_err(|error| DialError::Tls(error.to_string()))
        };
        // A ticket stands for a certificate that was checked, so it is used only where the same
        // would be checked again.
        let key = (node.address.clone(), node.trust.clone());
        let quic = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key, make)?;
        let DialConfig { idle_timeout, keep_alive, datagrams, .. } = self.config;
        let mut config = ClientConfig::new(quic);
        config
            .transport_config(transport::client(idle_timeout, keep_alive, datagrams))
            .token_store(Arc::clone(&self.tokens));
        Ok(config)
    }
}

impl Port {
    fn open(any: IpAddr) -> io::Result<Self> {
        let socket = bind(any)?;
        let runtime = Arc::new(TokioRuntime);
        let config = EndpointConfig::default();
        let endpoint = Endpoint::new_with_abstract_socket(config, None, socket, runtime)?;
        Ok(Self { endpoint, any })
    }

    fn rebind(&self) -> io::Result<()> {
        self.endpoint.rebind_abstract(bind(self.any)?)
    }
}

fn bind(any: IpAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = UdpSocket::bind((any, 0))?;
    transport::enlarge_buffers(&socket);
    TokioRuntime.wrap_udp_socket(socket)
}

/// Whether this side refused the server's certificate: a TLS alert from `bad_certificate` (42) to
/// `access_denied` (49; RFC 8446, section 6.2), which QUIC carries as 0x100 + alert (RFC 9001, 4.8).
fn is_distrust(error: &quinn::ConnectionError) -> bool {
    let quinn::ConnectionError::TransportError(error) = error else { return false };
    let code = u64::from(error.code);
    (0x100 + 42..=0x100 + 49).contains(&code)
}
