//! The accepting side of WebSocket: TCP, TLS, and the upgrade (RFC 6455, section 4.2).

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    },
};
use tokio_util::task::TaskTracker;

use super::{
    PATH, SUBPROTOCOL, closed, drive::drive, line::Line, line::Shared, server_config, socket,
    websocket_config,
};
use crate::{
    admission::{Admission, Place, Verdict},
    connection::{Closed, Connection, Guest},
    identity::Identity,
    listen::ListenConfig,
    metric::{self, WEBSOCKET},
    qmux::mux::{End, Mux},
    tls,
};

/// Connections that the kernel has accepted and this process has not.
const BACKLOG: u32 = 1024;
/// How long to wait when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts WebSockets. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct WebSocketListener(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tcp: TcpListener,
    tls: Mutex<Arc<rustls::ServerConfig>>,
    idle_timeout: Duration,
    handshake_timeout: Duration,
    datagrams: bool,
    admission: Admission,
    connections: TaskTracker,
    /// The code and reason of the end, once it has come.
    closing: watch::Sender<Option<(u64, Bytes)>>,
}

/// Takes a TCP address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Otherwise a server that is started again would wait for its former connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl WebSocketListener {
    /// Listens on `tcp`. Clients get in as `admission` says.
    pub(crate) fn new(
        tcp: TcpListener,
        identity: &Identity,
        config: &ListenConfig,
        admission: Admission,
    ) -> Result<Self, rustls::Error> {
        let tls = Mutex::new(tls_config(identity)?);
        let connections = TaskTracker::new();
        // So that waiting for it means waiting until it is empty.
        connections.close();
        let closing = watch::Sender::new(None);
        let (idle_timeout, handshake_timeout) = (config.idle_timeout, config.handshake_timeout);
        Ok(Self(Arc::new(Inner {
            tcp,
            tls,
            idle_timeout,
            handshake_timeout,
            datagrams: config.datagrams,
            admission,
            connections,
            closing,
        })))
    }

    /// Shows another certificate to whoever connects from now on.
    pub(crate) fn replace_identity(&self, identity: &Identity) -> Result<(), rustls::Error> {
        let tls = tls_config(identity)?;
        *self.0.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(())
    }

    /// The next client; never, once the listener is closed.
    pub(crate) async fn accept(&self) -> WebSocketArriving {
        loop {
            if self.0.closing.borrow().is_some() {
                std::future::pending::<()>().await;
            }
            let (stream, peer) = match self.0.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a TCP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // TCP has shown that it is where it says.
            match self.0.admission.ask(peer.ip(), true, Instant::now()) {
                Verdict::Admitted(place) => {
                    return WebSocketArriving { stream, peer, place, listener: self.clone() };
                }
                Verdict::Challenged | Verdict::Refused => metric::handshake(WEBSOCKET, "refused"),
            }
        }
    }

    pub(crate) fn close(&self, code: u64, reason: &[u8]) {
        self.0.closing.send_replace(Some((code, Bytes::copy_from_slice(reason))));
    }

    /// Resolves when every connection has ended.
    pub(crate) async fn idle(&self) {
        self.0.connections.wait().await;
    }
}

/// A client whose handshake has not happened yet.
#[derive(Debug)]
pub(crate) struct WebSocketArriving {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    listener: WebSocketListener,
}

impl WebSocketArriving {
    /// Does the handshake.
    pub(crate) async fn establish(self) -> Result<Connection, Closed> {
        let Self { stream, peer, place, listener } = self;
        let patience = listener.0.handshake_timeout;
        let upgraded = timeout(patience, Box::pin(listener.upgrade(stream))).await;
        let outcome = match &upgraded {
            Ok(Ok(_)) => "done",
            Ok(Err(_)) => "failed",
            Err(_) => "timed_out",
        };
        metric::handshake(WEBSOCKET, outcome);
        let upgraded = upgraded.unwrap_or_else(|_| Err("the handshake took too long".into()));
        let websocket = upgraded.map_err(|why| closed(&End::Lost(why)))?;
        let config = server_config(listener.0.idle_timeout, listener.0.datagrams);
        let shared = Shared::new(Mux::new(config, None, Instant::now()));
        let line = Line::new(Arc::clone(&shared), peer);
        let mut closing = listener.0.closing.subscribe();
        listener.0.connections.spawn(async move {
            let told = async {
                let (code, reason) = match closing.wait_for(Option::is_some).await {
                    Ok(end) => end.clone().unwrap_or_default(),
                    Err(_) => Default::default(),
                };
                shared.mux().close(code, reason);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = drive(websocket, Arc::clone(&shared)) => {}
                () = told => {}
            }
        });
        Ok(Connection::accepted(line.into(), Guest::new(place, None)))
    }
}

impl WebSocketListener {
    async fn upgrade(
        &self,
        stream: TcpStream,
    ) -> Result<WebSocketStream<TlsStream<TcpStream>>, String> {
        socket::prepare(&stream);
        let tls = Arc::clone(&self.0.tls.lock().unwrap_or_else(PoisonError::into_inner));
        let stream = TlsAcceptor::from(tls).accept(stream).await;
        let stream = stream.map_err(|error| format!("no TLS: {error}"))?;
        let config = Some(websocket_config());
        // It takes in at most 64 KiB, and gives up on clients that send next to nothing at a time.
        let upgraded = accept_hdr_async_with_config(stream, answer, config).await;
        upgraded.map_err(|error| format!("no WebSocket: {error}"))
    }
}

/// Agrees to what a client asks for, or tells it what is wrong.
#[expect(clippy::result_large_err, reason = "the library wants it so")]
fn answer(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status, why: &str| {
        let mut refused = ErrorResponse::new(Some(why.to_owned()));
        *refused.status_mut() = status;
        Err(refused)
    };
    if request.uri().path() != PATH {
        return refuse(StatusCode::NOT_FOUND, "there is nothing here");
    }
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.iter().filter_map(|value| value.to_str().ok());
    if !offered.any(|value| value.split(',').any(|one| one.trim() == SUBPROTOCOL)) {
        return refuse(StatusCode::BAD_REQUEST, "this server speaks qmux-02.skein-1");
    }
    let chosen = HeaderValue::from_static(SUBPROTOCOL);
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(response)
}

fn tls_config(identity: &Identity) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
    tls::server(identity, tls::ALPN_HTTP).map(Arc::new)
}
