//! Listening: plain HTTP where that is safe or was asked for, TLS where there is a certificate.

mod connection;
mod tls;

use std::{future::Future, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum_server::{
    Handle, Server,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use skein_ops::lifecycle::Shutdown;
use thiserror::Error;
use tokio::net::TcpListener;

use self::connection::Limited;
use crate::{
    config::GateConfig,
    gate::{Gate, Parts},
    router::router,
};

/// How long a client may take for the head of a request, and how long a connection may idle between
/// two of them.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the requests under way may take once the soft stop has begun.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes that are buffered of a connection: the head of a request fits, and a slow reader's answer.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// A gate that listens. It ends with the shutdown that it was given.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where: with the port that was picked, if none was asked for.
    pub addr: SocketAddr,
    /// The same as a URL.
    pub url: String,
}

/// The gate cannot listen as configured.
#[derive(Debug, Error)]
pub enum BindError {
    /// Passwords and tokens would cross the network in the clear.
    #[error(
        "refusing plain HTTP on {0}, which is not a loopback address: set gate.tls_cert and \
         gate.tls_key, or gate.allow_plain_http = true if a proxy in front of it speaks TLS"
    )]
    PlainHttp(SocketAddr),
    /// Half of what TLS needs.
    #[error("gate.tls_cert and gate.tls_key go together: set both or none")]
    HalfTls,
    /// A file that cannot be used.
    #[error("{key}: {path} cannot be used: {reason}")]
    Pem {
        /// The key of the configuration.
        key: &'static str,
        /// What it names.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key do not fit each other.
    #[error("gate.tls_cert and gate.tls_key do not make a TLS server: {0}")]
    Tls(#[source] rustls::Error),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Starts the gate on `addr`; port 0 picks one. When this returns, connections are accepted.
///
/// # Errors
/// [`BindError`].
pub async fn bind(
    config: GateConfig,
    addr: SocketAddr,
    parts: Parts,
    shutdown: &Shutdown,
) -> Result<Running, BindError> {
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(tls::server_config(cert, key)?),
        (None, None) if addr.ip().to_canonical().is_loopback() || config.allow_plain_http => None,
        (None, None) => return Err(BindError::PlainHttp(addr)),
        (Some(_), None) | (None, Some(_)) => return Err(BindError::HalfTls),
    };
    let cannot = |source| BindError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(cannot)?;
    let addr = listener.local_addr().map_err(cannot)?;
    let scheme = if tls.is_some() { "https" } else { "http" };

    let limited = Limited::new(config.limits.connections_per_network);
    let router = router(Arc::new(Gate::new(config, parts)));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    let server = Server::<SocketAddr>::from_listener(listener).handle(handle.clone());
    let stop = shutdown.clone();
    match tls {
        None => {
            let serving = with_limits(server.acceptor(limited)).serve(service);
            shutdown.spawn(run(serving, handle, stop));
        }
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls))
                .handshake_timeout(HANDSHAKE_TIME_MAX)
                .acceptor(limited);
            let serving = with_limits(server.acceptor(acceptor)).serve(service);
            shutdown.spawn(run(serving, handle, stop));
        }
    }
    Ok(Running { addr, url: format!("{scheme}://{addr}") })
}

fn with_limits<A>(mut server: Server<SocketAddr, A>) -> Server<SocketAddr, A> {
    server.http_builder().http1().header_read_timeout(HEAD_TIME_MAX).max_buf_size(BUFFER_BYTES_MAX);
    server.http1_only().first_request_timeout(HEAD_TIME_MAX).accept_error_handler(log_unaccepted)
}

/// What a single client did wrong is of no interest; that nobody can connect is.
fn log_unaccepted(peer: Option<&SocketAddr>, error: &io::Error) {
    match peer {
        Some(_) => tracing::trace!(error.cause = %error, "a connection was not accepted"),
        None => tracing::warn!(error.cause = %error, "connections cannot be accepted"),
    }
}

/// Serves until the soft stop, then lets the requests under way come to their end.
async fn run(
    serving: impl Future<Output = io::Result<()>>,
    handle: Handle<SocketAddr>,
    shutdown: Shutdown,
) {
    // Connections are tasks of their own: a hard stop drops this one, and with it ends them.
    let _connections = EndOnDrop(handle.clone());
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = shutdown.begun() => {
            handle.graceful_shutdown(Some(DRAIN_TIME_MAX));
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::error!(error.cause = %error, "the gate has stopped listening");
    }
}

/// Ends what is left of the connections.
struct EndOnDrop(Handle<SocketAddr>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

#[cfg(test)]
mod tests;
