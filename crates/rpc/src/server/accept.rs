//! Connections of other roles, from the listener to the end of the handshake.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use skein_ops::lifecycle::Shutdown;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;

use crate::{access::Roles, credentials::Credentials, handshake, metric};

/// Connections at a time, those in their handshake included: several a process of a large cluster.
const CONNECTIONS_MAX: usize = 4096;
/// How long a handshake may take: a little longer than the other side tries.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections whose handshake is done and that wait to be served.
const READY_MAX: usize = 64;
/// The pause after the system refused to accept: it lacks something that takes a moment to free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// As its certificate says.
    pub(crate) roles: Roles,
    /// From where.
    pub(crate) address: SocketAddr,
}

/// A connection whose handshake is done.
pub(crate) struct Accepted {
    io: TlsStream<TcpStream>,
    caller: Caller,
    /// Its place among all connections.
    _place: OwnedSemaphorePermit,
}

/// Accepts until the soft stop. A slow handshake keeps no other waiting.
pub(crate) fn incoming(
    listener: TcpListener,
    credentials: Arc<Credentials>,
    shutdown: &Shutdown,
) -> impl Stream<Item = io::Result<Accepted>> + Send + use<> {
    let (ready, mut accepted) = mpsc::channel(READY_MAX);
    let stopping = shutdown.clone();
    shutdown.spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let (tcp, address) = tokio::select! {
                () = stopping.begun() => return,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(error.cause = %error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                metric::turned_away("full");
                tracing::warn!(peer.address = %address, "too many connections of other roles");
                continue;
            };
            let (credentials, ready) = (Arc::clone(&credentials), ready.clone());
            // Bounded by the places and by the time of a handshake.
            tokio::spawn(async move {
                if let Some((io, caller)) = shake_hands(tcp, address, &credentials).await {
                    let accepted = Accepted { io, caller, _place: place };
                    if ready.send(Ok(accepted)).await.is_err() {
                        tracing::debug!("a connection came too late to be served");
                    }
                }
            });
        }
    });
    // Without an end: the server stops when it is told to, and then in order.
    stream::poll_fn(move |context| accepted.poll_recv(context)).chain(stream::pending())
}

async fn shake_hands(
    tcp: TcpStream,
    address: SocketAddr,
    credentials: &Credentials,
) -> Option<(TlsStream<TcpStream>, Caller)> {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(error.cause = %error, "a connection was gone at once");
        return None;
    }
    let acceptor = TlsAcceptor::from(credentials.server());
    let io = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
        Ok(Ok(io)) => io,
        Ok(Err(error)) => {
            metric::turned_away("handshake");
            tracing::warn!(peer.address = %address, error.cause = %error, "turned a peer away");
            return None;
        }
        Err(_) => {
            metric::turned_away("timeout");
            tracing::warn!(peer.address = %address, "a peer did not finish its handshake");
            return None;
        }
    };
    let certificate = io.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let claims = certificate.and_then(handshake::claims);
    let roles = claims.map(|claims| claims.roles()).unwrap_or_default();
    Some((io, Caller { roles, address }))
}

impl Connected for Accepted {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
