//! The accepting side: one address for every transport.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use skein_wire::close::CloseCode;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::{
    Connection,
    admission::{Admission, AdmissionLimits},
    connection::Closed,
    connection_id::Routing,
    identity::Identity,
    migration::MigrationLimits,
    quic::listen::{QuicArriving, QuicListener},
    quic_lb::FormatError,
    secret::Secret,
    websocket::listen::{self, WebSocketArriving, WebSocketListener},
};

/// How often a number that is free for UDP is tried for TCP.
const NUMBERS_MAX: usize = 16;

/// What an operator may change about a listener.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// After this long without a packet a peer is taken for dead.
    pub idle_timeout: Duration,
    /// How long a handshake may take. Packets keep a connection alive that never gets further, so
    /// the idle timeout does not bound it.
    pub handshake_timeout: Duration,
    /// How many clients get in that nobody knows yet.
    pub admission: AdmissionLimits,
    /// How often a client may move.
    pub migration: MigrationLimits,
    /// What is said in this life of the process, and must be recognised in the next.
    pub secret: Secret,
    /// The node's name: see [`Secret`].
    pub node: String,
    /// What connection ids tell a load balancer; nothing if unset.
    pub routing: Option<Routing>,
    /// Whether to take WebSockets, too, on the TCP port of the same number.
    pub websocket: bool,
    /// Whether to take and send [datagrams](crate::datagram).
    pub datagrams: bool,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(120),
            handshake_timeout: Duration::from_secs(10),
            admission: AdmissionLimits::default(),
            migration: MigrationLimits::default(),
            secret: Secret::passing(),
            node: String::new(),
            routing: None,
            websocket: true,
            datagrams: false,
        }
    }
}

/// Why a listener could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address cannot be used.
    #[error("cannot listen on UDP {address}: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The address cannot be used for WebSockets.
    #[error("cannot listen on TCP {address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot use the certificate: {0}")]
    Certificate(#[from] rustls::Error),
    /// The certificate's key exchange lacks what QUIC needs.
    #[error("the TLS configuration lacks the cipher suite that QUIC begins with")]
    CipherSuite,
    /// Connection ids cannot be made as they should.
    #[error("cannot make connection ids: {0}")]
    Routing(#[from] FormatError),
}

/// Accepts connections.
#[derive(Debug, Clone)]
pub struct Listener {
    quic: QuicListener,
    websocket: Option<WebSocketListener>,
}

impl Listener {
    /// Listens on `address`, UDP and TCP; port 0 picks one that is free in both.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(
        address: SocketAddr,
        identity: &Identity,
        config: ListenConfig,
    ) -> Result<Self, BindError> {
        let admission = Admission::new(config.admission);
        let (udp, tcp) = sockets(address, config.websocket)?;
        let websocket =
            tcp.map(|tcp| WebSocketListener::new(tcp, identity, &config, admission.clone()));
        let websocket = websocket.transpose()?;
        let quic = QuicListener::new(address, udp, identity, config, admission)?;
        Ok(Self { quic, websocket })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.quic.address()
    }

    /// Shows another certificate to whoever connects from now on.
    ///
    /// # Errors
    /// [`BindError`]; then the former one stays.
    pub fn replace_identity(&self, identity: &Identity) -> Result<(), BindError> {
        if let Some(websocket) = &self.websocket {
            websocket.replace_identity(identity)?;
        }
        self.quic.replace_identity(identity)
    }

    /// The next client that wants to connect; `None` once the listener is closed. A client that
    /// has to prove its address, or is one too many, has been answered already.
    pub async fn accept(&self) -> Option<Arriving> {
        let websocket = async {
            match &self.websocket {
                Some(websocket) => websocket.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            quic = self.quic.accept() => Some(Arriving(Transport::Quic(quic?.into()))),
            websocket = websocket => Some(Arriving(Transport::WebSocket(websocket))),
        }
    }

    /// Closes every connection and takes no more.
    pub fn close(&self, code: CloseCode, message: &str) {
        self.quic.close(code, message);
        if let Some(websocket) = &self.websocket {
            websocket.close(u64::from(code as u32), message.as_bytes());
        }
    }

    /// Resolves when every peer has been told that its connection is closed, or cannot be.
    pub async fn idle(&self) {
        self.quic.idle().await;
        if let Some(websocket) = &self.websocket {
            websocket.idle().await;
        }
    }
}

/// A client whose handshake has not happened yet.
#[derive(Debug)]
pub struct Arriving(Transport);

/// What it comes over.
#[derive(Debug)]
enum Transport {
    Quic(Box<QuicArriving>),
    WebSocket(WebSocketArriving),
}

impl Arriving {
    /// Does the handshake, or as much of it as it takes until the client says something: see
    /// [`Connection::is_early`].
    ///
    /// # Errors
    /// If the client does not finish it in time, or speaks another protocol.
    pub async fn establish(self) -> Result<Connection, Closed> {
        match self.0 {
            Transport::Quic(quic) => quic.establish().await,
            Transport::WebSocket(websocket) => websocket.establish().await,
        }
    }
}

/// A socket for UDP and perhaps one for TCP, with the same number.
fn sockets(
    address: SocketAddr,
    websocket: bool,
) -> Result<(UdpSocket, Option<TcpListener>), BindError> {
    let failed = |source| BindError::Address { address, source };
    let mut tries = if address.port() == 0 { NUMBERS_MAX } else { 1 };
    loop {
        let udp = UdpSocket::bind(address).map_err(failed)?;
        if !websocket {
            return Ok((udp, None));
        }
        let address = udp.local_addr().map_err(failed)?;
        tries -= 1;
        match listen::bind(address) {
            Ok(tcp) => return Ok((udp, Some(tcp))),
            Err(source) if tries == 0 => return Err(BindError::Tcp { address, source }),
            Err(_) => {}
        }
    }
}
