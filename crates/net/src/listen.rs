//! The accepting side: one UDP port, told apart by ALPN.

use std::{io, net::SocketAddr, net::UdpSocket, sync::Arc, time::Duration};

use quinn::{
    Endpoint, ServerConfig, TokioRuntime,
    crypto::rustls::{HandshakeData, QuicServerConfig},
};
use skein_wire::close::CloseCode;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Connection,
    connection::{Closed, closed},
    identity::Identity,
    metric,
    reset::endpoint_config,
    tls, transport,
};

pub use crate::transport::SOCKET_BUFFER_BYTES;

/// What an operator may change about a listener.
#[derive(Debug, Clone, Copy)]
pub struct ListenConfig {
    /// After this long without a packet a peer is taken for dead.
    pub idle_timeout: Duration,
    /// Handshakes under way from which on a client must first prove that its address is its own
    /// (RFC 9000, section 8.1.2), so that a flood of forged ones costs no memory.
    pub handshakes_unproven_max: usize,
    /// Handshakes under way at most; a further client is refused.
    pub handshakes_max: usize,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            handshakes_unproven_max: 256,
            handshakes_max: 4096,
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
    /// The certificate cannot be used.
    #[error("cannot use the certificate: {0}")]
    Certificate(#[from] rustls::Error),
    /// The certificate's key exchange lacks what QUIC needs.
    #[error("the TLS configuration lacks the cipher suite that QUIC begins with")]
    CipherSuite,
}

/// Accepts connections.
#[derive(Debug, Clone)]
pub struct Listener {
    endpoint: Endpoint,
    config: ListenConfig,
    handshakes: Arc<Semaphore>,
}

impl Listener {
    /// Listens on `address`; port 0 picks one.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(
        address: SocketAddr,
        identity: &Identity,
        config: ListenConfig,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError::Address { address, source };
        let socket = UdpSocket::bind(address).map_err(failed)?;
        transport::enlarge_buffers(&socket);
        let server = server_config(identity, config)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(endpoint_config(identity), Some(server), socket, runtime)
            .map_err(failed)?;
        let handshakes = Arc::new(Semaphore::new(config.handshakes_max));
        Ok(Self { endpoint, config, handshakes })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Shows another certificate to whoever connects from now on.
    ///
    /// # Errors
    /// [`BindError`]; then the former one stays.
    pub fn replace_identity(&self, identity: &Identity) -> Result<(), BindError> {
        self.endpoint.set_server_config(Some(server_config(identity, self.config)?));
        Ok(())
    }

    /// The next client that wants to connect; `None` once the listener is closed. A client that
    /// has to prove its address, or is one too many, has been answered already.
    pub async fn accept(&self) -> Option<Arriving> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let Ok(turn) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                incoming.refuse();
                metric::handshake("refused");
                continue;
            };
            let under_way = self.config.handshakes_max - self.handshakes.available_permits();
            if under_way > self.config.handshakes_unproven_max && incoming.may_retry() {
                // A retry that cannot be sent is a lost packet: the client will try again.
                incoming.retry().ok();
                metric::handshake("challenged");
                continue;
            }
            return Some(Arriving { incoming, _turn: turn });
        }
    }

    /// Closes every connection and takes no more.
    pub fn close(&self, code: CloseCode, message: &str) {
        self.endpoint.close((code as u32).into(), message.as_bytes());
    }

    /// Resolves when every peer has been told that its connection is closed, or cannot be.
    pub async fn idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// A client whose handshake has not happened yet.
#[derive(Debug)]
pub struct Arriving {
    incoming: quinn::Incoming,
    _turn: OwnedSemaphorePermit,
}

impl Arriving {
    /// Where the client says it is.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Whether the client has proved that it is where it says: it may then be counted there.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Makes the client prove where it is (RFC 9000, section 8.1.2); it comes again if it can.
    pub fn challenge(self) {
        // Only a client that was challenged before cannot be again, and that one is validated. A
        // challenge that is lost is a lost packet.
        self.incoming.retry().ok();
        metric::handshake("challenged");
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// If the client does not finish it, or speaks another protocol.
    pub async fn establish(self) -> Result<Connection, Closed> {
        let connection = match self.incoming.accept() {
            Ok(connecting) => connecting.await,
            Err(error) => Err(error),
        };
        metric::handshake(if connection.is_ok() { "done" } else { "failed" });
        let connection = connection.map_err(closed)?;
        let alpn = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match alpn.as_deref() {
            // TLS has refused anything that is not offered; `h3` will be another arm here.
            Some(tls::ALPN_SKEIN) => Ok(Connection::accepted(connection)),
            _ => {
                let refused = Connection::accepted(connection);
                refused.close(CloseCode::Protocol, "this server speaks skein/1");
                Err(refused.closed().await)
            }
        }
    }

    /// Turns the client away without a handshake.
    pub fn refuse(self) {
        self.incoming.refuse();
        metric::handshake("refused");
    }
}

fn server_config(identity: &Identity, config: ListenConfig) -> Result<ServerConfig, BindError> {
    let tls =
        QuicServerConfig::try_from(tls::server(identity)?).map_err(|_| BindError::CipherSuite)?;
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server.transport_config(transport::server(config.idle_timeout)).migration(true);
    Ok(server)
}
