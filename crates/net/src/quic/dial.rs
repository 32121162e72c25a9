//! The connecting side of QUIC: one UDP socket an address family, which all connections share.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, ClientConfig, ConnectError, ConnectionError, Endpoint, EndpointConfig, Runtime,
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
    tls,
    transport::{self, ROUND_TRIP_UNKNOWN},
    watch,
};

/// How often it is looked for a way where there is none. Looking sends nothing.
const WAY_INTERVAL: Duration = Duration::from_millis(100);

/// The same of one that was, at least: a server may take a moment for its part of a handshake.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(50);
/// How many times as long as it was it may be now, over another network.
const ROUND_TRIP_TIMES: u32 = 2;

/// Makes QUIC connections.
pub(crate) struct QuicDialer {
    v4: Port,
    v6: Option<Port>,
    config: DialConfig,
    /// A socket has failed, and with it whatever goes over it.
    is_over: AtomicBool,
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
    /// How long a round trip took the last time.
    round_trip: Mutex<Option<Duration>>,
}

impl Configs {
    /// The handshake is over.
    fn took(&self, round_trip: Duration) {
        *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner) = Some(round_trip);
    }

    /// What to assume of the path. A first packet that is lost is sent again after three times that.
    fn round_trip(&self) -> Duration {
        let took = *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner);
        took.map_or(ROUND_TRIP_UNKNOWN, |took| {
            (ROUND_TRIP_TIMES * took).clamp(ROUND_TRIP_MIN, ROUND_TRIP_UNKNOWN)
        })
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
        let (is_over, known) = (AtomicBool::new(false), Mutex::new(Known::new()));
        Ok(Self { v4, v6, config, is_over, tokens, known })
    }

    /// Whether no connection can be made any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
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
        let known = self.known(node)?;
        let config = self.client_config(&known, first.is_some());
        let shaking = async {
            way_to(address).await;
            let connecting = port.endpoint.connect_with(config, address, server_name(node));
            let connecting = connecting.map_err(|error| {
                let is_over = matches!(error, ConnectError::EndpointStopping);
                self.is_over.fetch_or(is_over, Ordering::Relaxed);
                unreachable_node(node, &error.to_string())
            })?;
            early::shake(connecting, first).await.map_err(|error| failed(node, error))
        };
        let shaken = tokio::time::timeout(self.config.handshake_timeout, shaking).await;
        let (connection, begun) =
            shaken.unwrap_or_else(|_| Err(unreachable_node(node, "it does not answer")))?;
        known.took(connection.rtt());
        // Nobody logs in to a client: the server may send at once.
        let datagrams = self.config.datagrams.then(|| Channel::begin(&connection, true));
        Ok(Connection::dialed(connection.into()).beginning(begun).carrying(datagrams))
    }

    fn known(&self, node: &ChatNode) -> Result<Arc<Configs>, DialError> {
        let make = || {
            let tls = tls::client(&node.trust, tls::ALPN_SKEIN)
                .map_err(|error| DialError::Tls(error.to_string()))?;
            let [early, late] = early::offer(tls).map(QuicClientConfig::try_from);
            let broken = |error: NoInitialCipherSuite| DialError::Tls(error.to_string());
            let (early, late) = (early.map_err(broken)?, late.map_err(broken)?);
            let (early, late) = (Arc::new(early), Arc::new(late));
            Ok(Configs { early, late, round_trip: Mutex::new(None) })
        };
        // A ticket stands for a certificate that was checked, so it is used only where the same
        // would be checked again.
        let key = (node.address.clone(), node.trust.clone());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key, make)
    }

    fn client_config(&self, known: &Configs, early: bool) -> ClientConfig {
        let quic = if early { &known.early } else { &known.late };
        let DialConfig { idle_timeout, keep_alive, datagrams, .. } = self.config;
        let mut config = ClientConfig::new(Arc::<QuicClientConfig>::clone(quic));
        config
            .transport_config(transport::client(
                idle_timeout,
                keep_alive,
                datagrams,
                known.round_trip(),
            ))
            .token_store(Arc::clone(&self.tokens));
        config
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_assumed_to_be_somewhat_longer_than_it_was() {
        let node = ChatNode {
            name: "one".into(),
            address: "192.0.2.1:1".into(),
            trust: Trust::Fingerprints(vec![[7; 32]]),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _entered = runtime.as_ref().unwrap().enter();
        let dialer = QuicDialer::new(DialConfig::default()).unwrap();
        let known = dialer.known(&node).unwrap();
        assert_eq!(known.round_trip(), ROUND_TRIP_UNKNOWN);
        for (took, assumed) in [(1, 50), (40, 80), (900, 333)] {
            dialer.known(&node).unwrap().took(Duration::from_millis(took));
            assert_eq!(known.round_trip(), Duration::from_millis(assumed));
        }
    }
}
