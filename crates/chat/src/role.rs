//! Starts a chat node.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use skein_bus::hint::Hints;
use skein_core::{
    port::{
        directory::{ChatNode, Directory},
        resource::Resource,
    },
    time::Clock,
};
use skein_net::{
    identity::{Certificate, IdentityError},
    listen::{self, ListenConfig, Listener},
};
use skein_ops::{doorkeeper::Doorkeeper, lifecycle::Shutdown};
use skein_store::Store;
use skein_wire::close::CloseCode;
use thiserror::Error;

use crate::{answer::Answerer, config::Config, connection::Service, hub::Hub, report::Reporter};

/// How often the certificate is looked at, to show a renewed one without a restart.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long the last packets to closed sessions may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a chat node is handed.
pub struct Parts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The bus.
    pub hints: Arc<dyn Hints>,
    /// Keeps blobs.
    pub resource: Arc<dyn Resource>,
    /// Gives clients their node.
    pub directory: Arc<dyn Directory>,
    /// What to show to clients.
    pub certificate: Certificate,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A chat node that accepts.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its sessions.
    pub hub: Arc<Hub>,
}

/// Why a chat node did not start.
#[derive(Debug, Error)]
pub enum BindError {
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] listen::BindError),
    /// Its certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] IdentityError),
    /// Clients would not know where to go.
    #[error(
        "chat.advertise: clients cannot connect to {0}; set it to the host:port under which they \
         reach this node"
    )]
    Advertise(SocketAddr),
}

/// Starts a chat node on `addr`; port 0 picks one. When it returns the node accepts and is in the
/// directory.
///
/// # Errors
/// [`BindError`].
pub async fn bind(
    config: Config,
    addr: SocketAddr,
    parts: Parts,
    shutdown: &Shutdown,
) -> Result<Running, BindError> {
    let Parts { store, hints, resource, directory, certificate, clock } = parts;
    let identity = certificate.load(clock.now())?;
    let listen = ListenConfig {
        idle_timeout: Duration::from_secs(config.idle_timeout_seconds),
        ..ListenConfig::default()
    };
    let listener = Listener::bind(addr, &identity, listen)?;
    let addr = listener
        .address()
        .map_err(|source| listen::BindError::Address { address: addr, source })?;
    let address = match &config.advertise {
        Some(advertise) => advertise.clone(),
        None if addr.ip().is_unspecified() => return Err(BindError::Advertise(addr)),
        None => addr.to_string(),
    };
    let node = ChatNode { name: config.name.clone(), address, trust: certificate.trust(&identity) };

    let (hub, deliveries) =
        Hub::new(config.clone(), Arc::clone(&store), Arc::clone(&hints), Arc::clone(&clock));
    let reporter = Arc::new(Reporter {
        directory,
        hub: Arc::clone(&hub),
        node: Mutex::new(node),
        sessions_max: config.sessions_max,
    });
    reporter.report(false).await;
    tokio::spawn(Arc::clone(&hub).run(deliveries));
    shutdown.spawn(Arc::clone(&reporter).run(shutdown.clone()));
    shutdown.spawn(keep_certificate(
        certificate,
        identity.fingerprint(),
        listener.clone(),
        Arc::clone(&clock),
        reporter,
        shutdown.clone(),
    ));
    let doorkeeper = Doorkeeper::new(config.unproven_per_address_max);
    let service = Service {
        config: Arc::new(config),
        answerer: Answerer { hub: Arc::clone(&hub), store, hints, clock },
        resource,
        shutdown: shutdown.clone(),
    };
    shutdown.spawn(accept(listener, doorkeeper, service));
    Ok(Running { addr, hub })
}

/// Accepts until the node goes away; then waits until its sessions have been told.
async fn accept(listener: Listener, doorkeeper: Doorkeeper, service: Service) {
    let shutdown = service.shutdown.clone();
    loop {
        let arriving = tokio::select! {
            () = shutdown.begun() => break,
            arriving = listener.accept() => arriving,
        };
        let Some(arriving) = arriving else { break };
        let Some(place) = doorkeeper.admit(arriving.peer().ip()) else {
            arriving.refuse();
            continue;
        };
        let service = service.clone();
        shutdown.spawn(async move {
            match arriving.establish().await {
                Ok(connection) => service.serve(connection, place).await,
                Err(closed) => tracing::debug!(reason = %closed, "a handshake failed"),
            }
        });
    }
    // Sessions end by themselves, each with `draining`; whoever connected too late gets it here.
    while service.answerer.hub.sessions() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    listener.close(CloseCode::Draining, "the server is going away; come back soon");
    tokio::time::timeout(GOODBYE_TIMEOUT, listener.idle()).await.ok();
}

async fn keep_certificate(
    certificate: Certificate,
    mut shown: [u8; 32],
    listener: Listener,
    clock: Arc<dyn Clock>,
    reporter: Arc<Reporter>,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(CERTIFICATE_INTERVAL) => {}
        }
        let identity = match certificate.load(clock.now()) {
            Ok(identity) if identity.fingerprint() != shown => identity,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "the certificate cannot be renewed; the old one stays");
                continue;
            }
        };
        if let Err(error) = listener.replace_identity(&identity) {
            tracing::error!(%error, "the certificate cannot be used; the old one stays");
            continue;
        }
        shown = identity.fingerprint();
        let trust = certificate.trust(&identity);
        reporter.node.lock().unwrap_or_else(PoisonError::into_inner).trust = trust;
        tracing::info!("showing a new certificate");
    }
}
