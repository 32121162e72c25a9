//! A bound on connections: each holds a permit for as long as its stream lives.

use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Connections at a time. Well below the 1,024 files that a process may open by default, of which
/// the store and the blobs need some, too.
const CONNECTIONS_MAX: usize = 512;

/// Accepts connections up to the bound, and closes those beyond it at once.
#[derive(Debug, Clone)]
pub(super) struct Limited {
    permits: Arc<Semaphore>,
}

impl Limited {
    pub(super) fn new() -> Self {
        Self::to(CONNECTIONS_MAX)
    }

    fn to(connections: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(connections)) }
    }
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = Counted;
    type Service = S;
    type Future = Ready<io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(match self.permits.clone().try_acquire_owned() {
            Ok(permit) => Ok((Counted { stream, _permit: permit }, service)),
            Err(_) => Err(io::Error::other("too many connections")),
        })
    }
}

/// A connection that counts.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
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
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn closes_what_is_beyond_the_bound() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let limited = Limited::to(1);
        let accepted = async || {
            let (client, server) = tokio::join!(TcpStream::connect(addr), listener.accept());
            let (stream, _) = server.expect("a connection");
            (client.expect("a connection"), limited.accept(stream, ()).await)
        };
        let (_first_client, first) = accepted().await;
        let first = first.expect("the first is within the bound");
        assert!(accepted().await.1.is_err(), "the second is beyond it");
        drop(first);
        assert!(accepted().await.1.is_ok(), "there is room again");
    }
}
