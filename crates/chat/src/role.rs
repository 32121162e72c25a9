//! Starts a chat node.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use skein_bus::{hint::Hints, presence::Presence};
use skein_core::{
    port::{
        directory::{ChatNode, Directory},
        resource::Resource,
    },
    time::Clock,
};
use skein_net::{
    identity::{Certificate, IdentityError},
    listen::{self, Listener},
    secret::Secret,
};
use skein_ops::lifecycle::Shutdown;
use skein_store::Store;
use skein_wire::close::CloseCode;
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    answer::Answerer, config::Config, connection::Service, drain::Drain, hub::Hub,
    report::Reporter, standing::Standing,
};

/// How often the certificate is looked at, to show a renewed one without a restart.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long telling that the last sessions have left may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the last packets to closed sessions may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a chat node is handed.
pub struct Parts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The bus.
    pub hints: Arc<dyn Hints>,
    /// Who is present at any node.
    pub presence: Arc<dyn Presence>,
    /// Keeps blobs.
    pub resource: Arc<dyn Resource>,
    /// Gives clients their node.
    pub directory: Arc<dyn Directory>,
    /// What to show to clients.
    pub certificate: Certificate,
    /// What the node recognises after a restart, and what all nodes may share.
    pub secret: Secret,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long the process has from the soft stop to the hard one.
    pub deadline: Duration,
}

/// A chat node that accepts.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its sessions.
    pub hub: Arc<Hub>,
    /// Whether it gets any.
    pub standing: Standing,
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
    let Parts { store, hints, presence, resource, directory, certificate, secret, clock, deadline } =
        parts;
    let identity = certificate.load(clock.now())?;
    let listener = Listener::bind(addr, &identity, config.listen(secret))?;
    let addr = listener
        .address()
        .map_err(|source| listen::BindError::Address { address: addr, source })?;
    let address = match &config.advertise {
        Some(advertise) => advertise.clone(),
        None if addr.ip().is_unspecified() => return Err(BindError::Advertise(addr)),
        None => addr.to_string(),
    };
    let node = ChatNode { name: config.name.clone(), address, trust: certificate.trust(&identity) };

    let (hub, deliveries) = Hub::new(
        config.clone(),
        Arc::clone(&store),
        Arc::clone(&hints),
        presence,
        Arc::clone(&clock),
    );
    let drain = Arc::new(Drain::new(
        Arc::clone(&directory),
        Arc::clone(&hub),
        config.name.clone(),
        config.stop_within(deadline),
    ));
    let max = config.sessions_max;
    let reporter =
        Arc::new(Reporter::new(directory, Arc::clone(&hub), Arc::clone(&drain), node, max));
    reporter.report().await;
    tokio::spawn(Arc::clone(&hub).run(deliveries));
    tokio::spawn(Arc::clone(&hub).keep_attendance());
    tokio::spawn(Arc::clone(&hub).keep_reviewing());
    tokio::spawn(Arc::clone(&hub).feel_pulse());
    shutdown.spawn(Arc::clone(&reporter).run(drain.closing.clone()));
    shutdown.spawn(Arc::clone(&drain).run(shutdown.clone()));
    shutdown.spawn(keep_certificate(
        certificate,
        identity.fingerprint(),
        listener.clone(),
        Arc::clone(&clock),
        Arc::clone(&reporter),
        shutdown.clone(),
    ));
    let service = Service {
        config: Arc::new(config),
        answerer: Answerer { hub: Arc::clone(&hub), store, hints, resource, clock },
        ending: drain.ending.clone(),
        shutdown: shutdown.clone(),
    };
    shutdown.spawn(accept(listener, service, drain.closing.clone()));
    let standing = Standing { hub: Arc::clone(&hub), reporter };
    Ok(Running { addr, hub, standing })
}

/// Closes the listener in any case: also when the hard stop drops whoever holds it.
struct CloseOnDrop(Listener);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(CloseCode::Draining, "the server is going away; come back soon");
    }
}

/// Accepts until the node goes away; then waits until its sessions have been told.
async fn accept(listener: Listener, service: Service, closing: CancellationToken) {
    let shutdown = service.shutdown.clone();
    let listener = CloseOnDrop(listener);
    let connections = TaskTracker::new();
    loop {
        let arriving = tokio::select! {
            () = closing.cancelled() => break,
            arriving = listener.0.accept() => arriving,
        };
        let Some(arriving) = arriving else { break };
        let service = service.clone();
        shutdown.spawn(connections.track_future(async move {
            let established = tokio::select! {
                done = arriving.establish() => done,
                // Whoever comes this late is told by the listener's end.
                () = service.ending.cancelled(), if service.shutdown.has_begun() => return,
            };
            match established {
                Ok(connection) => service.serve(connection).await,
                Err(closed) => tracing::debug!(reason = %closed, "a handshake failed"),
            }
        }));
    }
    // Connections end by themselves, each with `draining`; who came too late gets it here.
    connections.close();
    connections.wait().await;
    let leaving = service.answerer.hub.leave_attendance();
    if tokio::time::timeout(LEAVE_TIMEOUT, leaving).await.is_err() {
        tracing::debug!("presence runs out by itself");
    }
    let endpoint = listener.0.clone();
    drop(listener);
    tokio::time::timeout(GOODBYE_TIMEOUT, endpoint.idle()).await.ok();
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
        reporter.renew_trust(|node| node.trust = trust);
        tracing::info!("showing a new certificate");
    }
}
