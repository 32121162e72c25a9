//! One peer: one channel, connected when it is first needed and again when it is lost, with a pause
//! of random length after each failure. While it pauses, calls fail at once, so that another peer is
//! asked without delay.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use skein_core::{backoff::Backoff, port::resource::FOLLOWERS_MAX};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint},
};

use crate::{access::Role, credentials::Credentials, metric};

/// How long connecting and the handshake may take: a peer is near, or it is away. An overloaded one
/// should not be taken for the latter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause after a failure. Short, for a service without this peer may be no service.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a silent peer is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(4);
/// How long it may take to give one; then the connection counts as lost.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Streams of one connection at a time; see the server's own bound.
pub(crate) const STREAMS_MAX: u32 = 1024;
// Downloads that wait for their senders leave as many for everything else.
const _: () = assert!(2 * FOLLOWERS_MAX <= STREAMS_MAX as usize);
/// Bytes that a stream may be ahead of its reader: more than bandwidth times delay between machines
/// that are near.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The sum of all streams' windows, so that a download whose client is slow keeps no other stream
/// of the connection waiting. It bounds memory, and allocates none.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;
/// Calls that wait for the connection, beyond which callers wait for a place in the queue.
const QUEUE_CALLS_MAX: usize = 1024;

/// Bytes that are read to learn whether the peer answers; larger reads pass this buffer by.
const FIRST_BYTES: usize = 64;

/// A connection whose peer has answered.
type Answering = BufReader<TlsStream<TcpStream>>;

/// An address that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a peer is written host:port, not `{0}`")]
pub struct BadPeer(pub String);

/// One peer of a role.
pub(crate) struct Peer {
    address: Arc<str>,
    channel: Channel,
}

impl Peer {
    /// A peer at `host:port`. Nothing is connected yet.
    pub(crate) fn new(
        role: Role,
        address: &str,
        credentials: &Arc<Credentials>,
    ) -> Result<Self, BadPeer> {
        let bad = || BadPeer(address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        let address: Arc<str> = address.into();
        let name = role.server_name();
        let connector = Connector(Arc::new(Target {
            role,
            address: Arc::clone(&address),
            name: ServerName::try_from(name.clone()).map_err(|_| bad())?,
            credentials: Arc::clone(credentials),
            pause: Mutex::default(),
        }));
        // The name stands in the requests; where they go the connector knows.
        let endpoint = Endpoint::from_shared(format!("http://{name}")).map_err(|_| bad())?;
        let channel = endpoint
            .buffer_size(QUEUE_CALLS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        Ok(Self { address, channel })
    }

    /// `host:port`, as it was configured.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A handle to the one channel.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

/// Where a connection goes, and when it may be tried.
struct Target {
    role: Role,
    address: Arc<str>,
    name: ServerName<'static>,
    credentials: Arc<Credentials>,
    pause: Mutex<Pause>,
}

/// What happened when the peer was last connected to.
#[derive(Default)]
struct Pause {
    backoff: Backoff,
    until: Option<Instant>,
    cause: String,
}

/// Makes the connections of a channel.
#[derive(Clone)]
struct Connector(Arc<Target>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Answering>;
    type Error = tonic::ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let target = Arc::clone(&self.0);
        // In a task of its own, which ends in time: the channel goes on with a connection only while
        // a call waits for it, and a handshake that rests because its caller has gone would fail.
        let connecting = tokio::spawn(async move { target.connect().await });
        Box::pin(async move {
            let connected = match connecting.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(stopped) => Err(stopped.into()),
            };
            connected.map(TokioIo::new).map_err(tonic::ConnectError)
        })
    }
}

impl Target {
    async fn connect(&self) -> Result<Answering, String> {
        if let Some(cause) = self.pauses() {
            return Err(cause);
        }
        let dialled = match timeout(CONNECT_TIMEOUT, self.dial()).await {
            Ok(dialled) => dialled.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
        };
        metric::connected(self.role.name(), dialled.is_ok());
        match &dialled {
            Ok(_) => self.succeeded(),
            Err(cause) => self.failed(cause),
        }
        dialled
    }

    /// Connects and waits for the first bytes of the answer. With TLS 1.3 a caller's handshake is
    /// complete before the peer has looked at the caller's certificate: only an answer says that the
    /// peer takes it. An HTTP/2 server speaks without being asked.
    async fn dial(&self) -> io::Result<Answering> {
        let tcp = TcpStream::connect(&*self.address).await?;
        tcp.set_nodelay(true)?;
        let tls = TlsConnector::from(self.credentials.client());
        let tls = tls.connect(self.name.clone(), tcp).await?;
        let mut stream = BufReader::with_capacity(FIRST_BYTES, tls);
        if stream.fill_buf().await?.is_empty() {
            let why = "it ended the connection instead of an answer";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        Ok(stream)
    }

    /// Why the last try failed, if it is too early for the next.
    fn pauses(&self) -> Option<String> {
        let pause = self.pause();
        let until = pause.until?;
        (Instant::now() < until).then(|| pause.cause.clone())
    }

    fn succeeded(&self) {
        let mut pause = self.pause();
        if pause.backoff.failures() > 0 {
            tracing::info!(peer.role = %self.role, peer.address = %self.address, "a peer is back");
        }
        *pause = Pause::default();
    }

    fn failed(&self, cause: &str) {
        let mut pause = self.pause();
        if pause.backoff.failures() == 0 {
            tracing::warn!(
                peer.role = %self.role,
                peer.address = %self.address,
                error.cause = cause,
                "a peer cannot be reached",
            );
        }
        let wait = pause.backoff.failed_within(PAUSE_MAX, rand::random());
        pause.until = Some(Instant::now() + wait);
        cause.clone_into(&mut pause.cause);
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
