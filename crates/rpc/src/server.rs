//! The listening end: serves the ports of this process to the roles that may call them.

mod accept;
mod guard;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use skein_core::port::{directory::Directory, resource::Resource, verifier::Verifier};
use skein_ops::lifecycle::Shutdown;
use thiserror::Error;
use tokio::net::TcpListener;
use tonic::{
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    DESCRIPTORS,
    call::MESSAGE_BYTES_MAX,
    credentials::Credentials,
    directory,
    pb::{
        directory_server::DirectoryServer, resource_server::ResourceServer,
        verify_server::VerifyServer,
    },
    peer::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX},
    resource, verifier,
};

/// How often a silent caller is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long it may take to give one.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection takes new calls: a bound on the use of a certificate that has expired or
/// was replaced since. Streams that are open then go on to their end.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60 * 60);
/// Bytes of headers in one call.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// The ports that this process serves.
#[derive(Clone, Default)]
pub struct Ports {
    /// If it is a verify process.
    pub verifier: Option<Arc<dyn Verifier>>,
    /// If it is a status process.
    pub directory: Option<Arc<dyn Directory>>,
    /// If it is a resource process.
    pub resource: Option<Arc<dyn Resource>>,
}

/// A server that accepts.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
}

/// The server cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is taken or not ours.
    #[error("rpc.listen: cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The description of the services cannot be served.
    #[error("the services cannot be described: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves the ports until the soft stop: then no new call is taken, uploads are told to go
/// elsewhere, and what else is under way ends by itself or with the hard stop.
///
/// # Errors
/// [`BindError`].
pub async fn bind(
    listen: SocketAddr,
    credentials: Arc<Credentials>,
    ports: Ports,
    shutdown: &Shutdown,
) -> Result<Running, BindError> {
    let at = |error| BindError::Listen(listen, error);
    let listener = TcpListener::bind(listen).await.map_err(at)?;
    let addr = listener.local_addr().map_err(at)?;
    let health = HealthReporter::new();
    let routes = routes(ports, &health, shutdown).await?;
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_connection_age(CONNECTION_AGE_MAX)
        .layer(guard::GuardLayer)
        .add_routes(routes);
    let incoming = accept::incoming(listener, credentials, shutdown);
    let stopping = shutdown.clone();
    shutdown.spawn(async move {
        let stop = async {
            stopping.begun().await;
            health.set_service_status("", ServingStatus::NotServing).await;
        };
        if let Err(error) = server.serve_with_incoming_shutdown(incoming, stop).await {
            tracing::error!(error.cause = %error, "the server of calls between roles has ended");
        }
    });
    tracing::info!(listen = %addr, "takes calls from other roles");
    Ok(Running { addr })
}

async fn routes(
    ports: Ports,
    health: &HealthReporter,
    shutdown: &Shutdown,
) -> Result<Routes, BindError> {
    let mut routes = RoutesBuilder::default();
    if let Some(port) = ports.verifier {
        let service = VerifyServer::new(verifier::Served(port));
        says_it_serves(health, &service).await;
        routes.add_service(service.max_decoding_message_size(MESSAGE_BYTES_MAX));
    }
    if let Some(port) = ports.directory {
        let service = DirectoryServer::new(directory::Served(port));
        says_it_serves(health, &service).await;
        routes.add_service(service.max_decoding_message_size(MESSAGE_BYTES_MAX));
    }
    if let Some(port) = ports.resource {
        let served = resource::Served { resource: port, shutdown: shutdown.clone() };
        let service = ResourceServer::new(served);
        says_it_serves(health, &service).await;
        routes.add_service(service.max_decoding_message_size(MESSAGE_BYTES_MAX));
    }
    let service = tonic_health::server::HealthService::from_health_reporter(health.clone());
    routes.add_service(tonic_health::pb::health_server::HealthServer::new(service));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    routes.add_service(reflection);
    Ok(routes.routes())
}

async fn says_it_serves<S: NamedService>(health: &HealthReporter, _: &S) {
    health.set_service_status(S::NAME, ServingStatus::Serving).await;
}
