//! A bound on connections, in all and by network: each holds its place for as long as its stream
//! lives.

use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum_server::accept::Accept;
use skein_ops::doorkeeper::{Doorkeeper, Place};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Connections at a time. Well below the 1,024 files that a process may open by default, of which
/// the store and the blobs need some, too.
const CONNECTIONS_MAX: usize = 512;

/// Accepts connections up to the bounds, and closes those beyond them at once.
#[derive(Debug, Clone)]
pub(super) struct Limited {
    permits: Arc<Semaphore>,
    doorkeeper: Doorkeeper,
}

impl Limited {
    pub(super) fn new(per_network_max: usize) -> Self {
        Self::to(CONNECTIONS_MAX, per_network_max)
    }

    fn to(connections: usize, per_network_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(connections));
        Self { permits, doorkeeper: Doorkeeper::new(per_network_max) }
    }

    fn admit(&self, stream: TcpStream) -> io::Result<Counted> {
        let too_many = || io::Error::other("too many connections");
        let network = stream.peer_addr()?.ip();
        let place = self.doorkeeper.admit(network).ok_or_else(too_many)?;
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| too_many())?;
        Ok(Counted { stream, _place: place, _permit: permit })
    }
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = Counted;
    type Service = S;
    type Future = Ready<io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.admit(stream).map(|counted| (counted, service)))
    }
}

/// A connection that counts.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A connection from 127.0.0.`from`, and whether it is accepted.
    async fn arrive(limited: &Limited, from: u8) -> (TcpStream, io::Result<(Counted, ())>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, from], 0).into()).expect("an address of this machine");
        let (client, server) = tokio::join!(socket.connect(addr), listener.accept());
        let (stream, _) = server.expect("a connection");
        (client.expect("a connection"), limited.accept(stream, ()).await)
    }

    #[tokio::test]
    async fn closes_what_is_beyond_the_bound() {
        let limited = Limited::to(1, 2);
        let (_first_client, first) = arrive(&limited, 1).await;
        let first = first.expect("the first is within the bound");
        assert!(arrive(&limited, 2).await.1.is_err(), "the second is beyond it");
        drop(first);
        assert!(arrive(&limited, 1).await.1.is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn leaves_room_for_other_networks() {
        let limited = Limited::to(3, 1);
        let (_first_client, first) = arrive(&limited, 1).await;
        let first = first.expect("the first of its network");
        assert!(arrive(&limited, 1).await.1.is_err(), "one network has one place");
        assert!(arrive(&limited, 2).await.1.is_ok(), "another has its own");
        drop(first);
        assert!(arrive(&limited, 1).await.1.is_ok(), "there is room again");
    }
}
