//! The accepting side: one address for every transport.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use skein_wire::close::CloseCode;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::{
    Connection,
    connection::Closed,
    identity::Identity,
    quic::listen::{QuicArriving, QuicListener},
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
    quic: QuicListener,
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
        let handshakes = Arc::new(Semaphore::new(config.handshakes_max));
        let udp = UdpSocket::bind(address).map_err(failed)?;
        Ok(Self { quic: QuicListener::new(address, udp, identity, config, handshakes)? })
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
        self.quic.replace_identity(identity)
    }

    /// The next client that wants to connect; `None` once the listener is closed. A client that
    /// has to prove its address, or is one too many, has been answered already.
    pub async fn accept(&self) -> Option<Arriving> {
        let quic = self.quic.accept().await?;
        Some(Arriving(Transport::Quic(quic)))
    }

    /// Closes every connection and takes no more.
    pub fn close(&self, code: CloseCode, message: &str) {
        self.quic.close(code, message);
    }

    /// Resolves when every peer has been told that its connection is closed, or cannot be.
    pub async fn idle(&self) {
        self.quic.idle().await;
    }
}

/// A client whose handshake has not happened yet.
#[derive(Debug)]
pub struct Arriving(Transport);

/// What it comes over.
#[derive(Debug)]
enum Transport {
    Quic(QuicArriving),
}

impl Arriving {
    /// Where the client says it is.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        match &self.0 {
            Transport::Quic(quic) => quic.peer(),
        }
    }

    /// Whether the client has proved that it is where it says: it may then be counted there.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        match &self.0 {
            Transport::Quic(quic) => quic.is_validated(),
        }
    }

    /// Makes the client prove where it is (RFC 9000, section 8.1.2); it comes again if it can.
    pub fn challenge(self) {
        match self.0 {
            Transport::Quic(quic) => quic.challenge(),
        }
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// If the client does not finish it, or speaks another protocol.
    pub async fn establish(self) -> Result<Connection, Closed> {
        match self.0 {
            Transport::Quic(quic) => quic.establish().await,
        }
    }

    /// Turns the client away without a handshake.
    pub fn refuse(self) {
        match self.0 {
            Transport::Quic(quic) => quic.refuse(),
        }
    }
}
