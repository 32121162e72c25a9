//! The accepting side of QUIC: one UDP port, told apart by ALPN.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{
    Endpoint, EndpointConfig, ServerConfig, TokioRuntime, ValidationTokenConfig,
    crypto::rustls::{HandshakeData, QuicServerConfig},
};
use skein_wire::close::CloseCode;
use tokio::time::Instant;

use crate::{
    admission::{Admission, Place, Verdict},
    connection::{Closed, Connection, Guest},
    connection_id::Ids,
    identity::Identity,
    listen::{BindError, ListenConfig},
    metric,
    migration::Watch,
    quic::{
        closed,
        datagram::Channel,
        early::{self, Answered},
    },
    reset::{RESET_INTERVAL, ResetKey},
    tls, token, transport,
};

/// Accepts QUIC connections.
#[derive(Debug, Clone)]
pub(crate) struct QuicListener {
    endpoint: Endpoint,
    config: Arc<ListenConfig>,
    /// Remembers used tokens, whatever certificate is shown.
    tokens: ValidationTokenConfig,
    admission: Admission,
    watch: Watch,
}

impl QuicListener {
    /// Listens on `socket`, which is bound to `address`. Clients get in as `admission` says.
    pub(crate) fn new(
        address: SocketAddr,
        socket: UdpSocket,
        identity: &Identity,
        config: ListenConfig,
        admission: Admission,
    ) -> Result<Self, BindError> {
        transport::enlarge_buffers(&socket);
        let (tokens, watch) = (token::validation(), Watch::begin(config.migration));
        let server = server_config(identity, &config, &tokens)?;
        let failed = |source| BindError::Address { address, source };
        let kernel = socket.try_clone().map_err(failed)?;
        let endpoint =
            Endpoint::new(endpoint_config(&config)?, Some(server), socket, Arc::new(TokioRuntime))
                .map_err(failed)?;
        transport::one_datagram_at_a_time(&kernel);
        Ok(Self { endpoint, config: Arc::new(config), tokens, admission, watch })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Shows another certificate to whoever connects from now on.
    pub(crate) fn replace_identity(&self, identity: &Identity) -> Result<(), BindError> {
        let server = server_config(identity, &self.config, &self.tokens)?;
        self.endpoint.set_server_config(Some(server));
        Ok(())
    }

    /// The next client that wants to connect; `None` once the listener is closed. A client that
    /// has to prove its address, or is one too many, has been answered already.
    pub(crate) async fn accept(&self) -> Option<QuicArriving> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let (address, validated) =
                (incoming.remote_address().ip(), incoming.remote_address_validated());
            match self.admission.ask(address, validated, Instant::now()) {
                Verdict::Admitted(place) => {
                    let (watch, config) = (self.watch.clone(), Arc::clone(&self.config));
                    return Some(QuicArriving { incoming, place, watch, config });
                }
                // Who came with a token for this address may be challenged, but has proved it. A
                // challenge that cannot be sent is a lost packet: the client will try again.
                Verdict::Challenged if incoming.may_retry() => {
                    incoming.retry().ok();
                    metric::handshake(metric::QUIC, "challenged");
                }
                Verdict::Challenged | Verdict::Refused => {
                    incoming.refuse();
                    metric::handshake(metric::QUIC, "refused");
                }
            }
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
    place: Place,
    watch: Watch,
    config: Arc<ListenConfig>,
}

impl QuicArriving {
    /// Does the handshake, or as much of it as it takes until the client says something.
    pub(crate) async fn establish(self) -> Result<Connection, Closed> {
        // What is given up here is closed by being dropped.
        let shaking = early::answer(self.incoming);
        let Ok(shaken) = tokio::time::timeout(self.config.handshake_timeout, shaking).await else {
            metric::handshake(metric::QUIC, "timed_out");
            return Err(closed(quinn::ConnectionError::TimedOut));
        };
        let outcome = match &shaken {
            Ok(Answered { early: None, .. }) => "done",
            Ok(Answered { early: Some(_), .. }) => "early",
            Err(_) => "failed",
        };
        metric::handshake(metric::QUIC, outcome);
        let Answered { connection, early } = shaken.map_err(closed)?;
        let (handshake, begun) = early.unzip();
        let guest = Guest::new(self.place, Some(self.watch.add(&connection))).early(handshake);
        let alpn = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match alpn.as_deref() {
            // TLS has refused anything that is not offered; `h3` will be another arm here.
            Some(tls::ALPN_SKEIN) => {
                let datagrams = self.config.datagrams.then(|| Channel::begin(&connection, false));
                let accepted = Connection::accepted(connection.into(), guest);
                Ok(accepted.beginning(begun).carrying(datagrams))
            }
            _ => {
                let refused = Connection::accepted(connection.into(), guest);
                refused.close(CloseCode::Protocol, "this server speaks skein/1");
                Err(refused.closed().await)
            }
        }
    }
}

/// How the endpoint names connections, and disowns those that it does not know.
fn endpoint_config(config: &ListenConfig) -> Result<EndpointConfig, BindError> {
    let reset_key = ResetKey::new(&config.secret, &config.node);
    let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
    endpoint.min_reset_interval(RESET_INTERVAL);
    let ids = Ids::new(config.routing, &config.secret)?;
    endpoint.cid_generator(move || Box::new(ids.clone()));
    Ok(endpoint)
}

fn server_config(
    identity: &Identity,
    config: &ListenConfig,
    tokens: &ValidationTokenConfig,
) -> Result<ServerConfig, BindError> {
    let mut tls = tls::server(identity, tls::ALPN_SKEIN)?;
    early::take(&mut tls);
    let tls = QuicServerConfig::try_from(tls).map_err(|_| BindError::CipherSuite)?;
    let mut server = ServerConfig::new(Arc::new(tls), token::key(&config.secret));
    server
        .transport_config(transport::server(config.idle_timeout, config.datagrams))
        .validation_token_config(tokens.clone())
        .migration(true);
    Ok(server)
}
