//! The connecting side of QUIC: one UDP socket an address family, which all connections share.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, ClientConfig, ConnectionError, Endpoint, EndpointConfig, Runtime,
    TokenMemoryCache, TokenStore, TokioRuntime,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig},
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
    tls, transport, watch,
};

/// How often it is looked for a way where there is none. Looking sends nothing.
const WAY_INTERVAL: Duration = Duration::from_millis(100);

/// Makes QUIC connections.
pub(crate) struct QuicDialer {
    v4: Port,
    v6: Option<Port>,
    config: DialConfig,
    /// What servers have given this client, to be known to them the next time.
    tokens: Arc<dyn TokenStore>,
    /// How to connect to nodes, with the tickets that they have given.
    known: Mutex<Known<(String, Trust), Configs>>,
}

impl fmt::Debug for QuicDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicDialer").field("v4", &self.v4).field("v6", &self.v6).finish()
    }
}

/// How to connect to a node: with something to say early, and without.
struct Configs {
    early: Arc<QuicClientConfig>,
    late: Arc<QuicClientConfig>,
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
        let config = self.client_config(node, first.is_some())?;
        let shaking = async {
            way_to(address).await;
            let connecting = port.endpoint.connect_with(config, address, server_name(node));
            let connecting =
                connecting.map_err(|error| unreachable_node(node, &error.to_string()))?;
            early::shake(connecting, first).await.map_err(|error| failed(node, error))
        };
        let shaken = tokio::time::timeout(self.config.handshake_timeout, shaking).await;
        let (connection, begun) =
            shaken.unwrap_or_else(|_| Err(unreachable_node(node, "it does not answer")))?;
        // Nobody logs in to a client: the server may send at once.
        let datagrams = self.config.datagrams.then(|| Channel::begin(&connection, true));
        Ok(Connection::dialed(connection.into()).beginning(begun).carrying(datagrams))
    }

    fn client_config(&self, node: &ChatNode, early: bool) -> Result<ClientConfig, DialError> {
        let make = || {
            let tls = tls::client(&node.trust, tls::ALPN_SKEIN)
                .map_err(|error| DialError::Tls(error.to_string()))?;
            let [early, late] = early::offer(tls).map(QuicClientConfig::try_from);
            let broken = |error: NoInitialCipherSuite| DialError::Tls(error.to_string());
            let (early, late) = (early.map_err(broken)?, late.map_err(broken)?);
            Ok(Configs { early: Arc::new(early), late: Arc::new(late) })
        };
        // A ticket stands for a certificate that was checked, so it is used only where the same
        // would be checked again.
        let key = (node.address.clone(), node.trust.clone());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key, make)?;
        let quic = if early { &known.early } else { &known.late };
        let DialConfig { idle_timeout, keep_alive, datagrams, .. } = self.config;
        let mut config = ClientConfig::new(Arc::<QuicClientConfig>::clone(quic));
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

/// Resolves when this machine has a way to `address`. A hello that is made before would get nowhere,
/// and be repeated after a second and not when there is a way.
async fn way_to(address: SocketAddr) {
    while watch::local_address(address).is_none() {
        tokio::time::sleep(WAY_INTERVAL).await;
    }
}

/// Why a handshake came to nothing.
fn failed(node: &ChatNode, error: ConnectionError) -> DialError {
    let address = node.address.clone();
    if is_distrust(&error) {
        return DialError::Untrusted { address };
    }
    let answered = !matches!(error, ConnectionError::TimedOut);
    DialError::Unreachable { address, answered, reason: closed(error).message }
}

/// Whether this side refused the server's certificate: a TLS alert from `bad_certificate` (42) to
/// `access_denied` (49; RFC 8446, section 6.2), which QUIC carries as 0x100 + alert (RFC 9001, 4.8).
fn is_distrust(error: &ConnectionError) -> bool {
    let ConnectionError::TransportError(error) = error else { return false };
    let code = u64::from(error.code);
    (0x100 + 42..=0x100 + 49).contains(&code)
}
