//! The accepting side of QUIC: one UDP port, told apart by ALPN.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{
    Endpoint, ServerConfig, TokioRuntime,
    crypto::rustls::{HandshakeData, QuicServerConfig},
};
use skein_wire::close::CloseCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    connection::{Closed, Connection},
    identity::Identity,
    listen::{BindError, ListenConfig},
    metric,
    quic::closed,
    reset::endpoint_config,
    tls, transport,
};

/// Accepts QUIC connections.
#[derive(Debug, Clone)]
pub(crate) struct QuicListener {
    endpoint: Endpoint,
    config: ListenConfig,
    handshakes: Arc<Semaphore>,
}

impl QuicListener {
    /// Listens on `socket`, which is bound to `address`. A handshake takes one of the permits of `handshakes`.
    pub(crate) fn new(
        address: SocketAddr,
        socket: UdpSocket,
        identity: &Identity,
        config: ListenConfig,
        handshakes: Arc<Semaphore>,
    ) -> Result<Self, BindError> {
        transport::enlarge_buffers(&socket);
        let server = server_config(identity, config)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(endpoint_config(identity), Some(server), socket, runtime)
            .map_err(|source| BindError::Address { address, source })?;
        Ok(Self { endpoint, config, handshakes })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Shows another certificate to whoever connects from now on.
    pub(crate) fn replace_identity(&self, identity: &Identity) -> Result<(), BindError> {
        self.endpoint.set_server_config(Some(server_config(identity, self.config)?));
        Ok(())
    }

    /// The next client that wants to connect; `None` once the listener is closed. A client that
    /// has to prove its address, or is one too many, has been answered already.
    pub(crate) async fn accept(&self) -> Option<QuicArriving> {
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
            return Some(QuicArriving { incoming, _turn: turn });
        }
    }

    pub(crate) fn close(&self, code: CloseCode, message: &str) {
        self.endpoint.close((code as u32).into(), message.as_bytes());
    }

    pub(crate) async fn idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// A client whose handshake has not happened yet.
#[derive(Debug)]
pub(crate) struct QuicArriving {
    incoming: quinn::Incoming,
    _turn: OwnedSemaphorePermit,
}

impl QuicArriving {
    pub(crate) fn peer(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    pub(crate) fn is_validated(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Makes the client prove where it is (RFC 9000, section 8.1.2).
    pub(crate) fn challenge(self) {
        // Only a client that was challenged before cannot be again, and that one is validated. A
        // challenge that is lost is a lost packet.
        self.incoming.retry().ok();
        metric::handshake("challenged");
    }

    /// Does the handshake.
    pub(crate) async fn establish(self) -> Result<Connection, Closed> {
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
            Some(tls::ALPN_SKEIN) => Ok(Connection::accepted(connection.into())),
            _ => {
                let refused = Connection::accepted(connection.into());
                refused.close(CloseCode::Protocol, "this server speaks skein/1");
                Err(refused.closed().await)
            }
        }
    }

    pub(crate) fn refuse(self) {
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
