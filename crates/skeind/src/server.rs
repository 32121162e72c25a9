//! A server process: it opens its parts, starts its roles on them, says when it is ready, and ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use skein_chat::hub::Hub;
use skein_core::time::Clock;
use skein_ops::{
    clock::SystemClock,
    health::Health,
    lifecycle::{self, Shutdown},
    observe,
    ready::Ready,
};
use skein_store::token::Tokens;
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    Config, Role,
    admin::socket,
    certificate::Incomplete,
    folder::{DataFolder, FolderError},
    metric,
    operator::Operator,
    parts::{self, PartError, Truth},
    patience::Patience,
    role::Missing,
    routing::RoutingError,
    start::{Start, Started},
};

/// How long the store may take to close. What was acknowledged is durable before, so that a store
/// which hangs need not be waited for.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often expired tokens are forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A server that accepts.
pub struct Server {
    started: Started,
    observe: Option<SocketAddr>,
    health: Health,
    truth: Option<Truth>,
    shutdown: Shutdown,
    folder: Option<DataFolder>,
}

/// Why the server did not start. The sentence says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is not that of this role.
    #[error(transparent)]
    Role(#[from] Missing),
    /// The listener for operators.
    #[error(transparent)]
    Observe(#[from] observe::ObserveError),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store or the bus.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The certificate that this process shows to other roles.
    #[error("rpc: {0}")]
    Credentials(#[from] skein_rpc::credentials::CredentialsError),
    /// The address of another role.
    #[error("rpc: {0}")]
    Peer(#[from] skein_rpc::BadPeer),
    /// Where other roles call this one.
    #[error(transparent)]
    Rpc(#[from] skein_rpc::server::BindError),
    /// The verify role.
    #[error(transparent)]
    Verify(#[from] skein_verify::StartError),
    /// The resource role.
    #[error(transparent)]
    Resource(#[from] skein_resource::ResourceError),
    /// The chat role's certificate.
    #[error(transparent)]
    Certificate(#[from] Incomplete),
    /// The chat role's secret.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// The chat role.
    #[error(transparent)]
    Chat(#[from] skein_chat::BindError),
    /// The gate.
    #[error(transparent)]
    Gate(#[from] skein_gate::BindError),
}

impl StartError {
    /// Whether the process was told to stop before it had started, which is no failure.
    #[must_use]
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Part(PartError::Stopped))
    }
}

impl Server {
    /// Starts a role, or all. When it returns, everything accepts, and the parts and peers that it
    /// needs are there, or were waited for in vain. Blocks for some disk operations.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        role: Role,
        mut config: Config,
        shutdown: &Shutdown,
    ) -> Result<Self, StartError> {
        role.check(&config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let health = Health::default();
        let stage = Stage::watched(&health, shutdown);
        let observe = observe::start(&config.observe, health.clone(), shutdown).await?;
        metric::describe();
        let folder =
            if role.keeps_data(&config) { Some(DataFolder::take(&config.data)?) } else { None };
        let patience = Patience::new(config.start_patience(), shutdown);
        let truth = match (&config.store, &folder) {
            _ if !role.uses_store() => None,
            (Some(store), _) => Some(Truth::connect(store, &patience).await?),
            (None, folder) => folder.as_ref().map(|own| Truth::open(&own.store())).transpose()?,
        };
        if let Some(truth) = &truth {
            truth.watch(&health);
        }
        let bus = if role.uses_bus() {
            Some(parts::bus(config.bus.as_ref(), &patience, &health).await?)
        } else {
            None
        };
        config.settle(role);
        let start = Start {
            role,
            config,
            folder: folder.as_ref(),
            truth: truth.as_ref(),
            bus,
            clock: Arc::clone(&clock),
            health: &health,
            shutdown,
        };
        let started = start.run().await?;
        if let (true, Some(truth)) = (role.does(Role::Gate), &truth) {
            let tokens: Arc<dyn Tokens> = truth.store.clone();
            shutdown.spawn(purge_tokens(tokens, clock, shutdown.clone()));
        }
        let server = Self { started, observe, health, truth, shutdown: shutdown.clone(), folder };
        server.offer_to_operators();
        stage.accepts();
        patience.until_ready(&server.health).await;
        Ok(server)
    }

    /// Where it listens, for the ready file.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready {
            http: self.started.http.clone(),
            quic: self.started.quic,
            rpc: self.started.rpc,
            observe: self.observe,
        }
    }

    /// The chat role's sessions, if it has this role.
    #[must_use]
    pub const fn hub(&self) -> Option<&Arc<Hub>> {
        self.started.hub.as_ref()
    }

    /// What its checks say.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Waits for the end: until the soft stop has begun and everything under way has ended, or
    /// `patience` is over. Then closes the store, for which it has a few seconds.
    pub async fn finish(self, patience: Duration) -> lifecycle::Outcome {
        let outcome = self.shutdown.finish(patience).await;
        if let Some(truth) = &self.truth
            && timeout(STORE_CLOSE_TIMEOUT, truth.close()).await.is_err()
        {
            tracing::error!("the store does not close; what waited in it is lost");
            // Dropping the store would wait for it too, and while it writes, no other server may
            // have the folder: both stay until the process ends.
            std::mem::forget(self);
            return lifecycle::Outcome::Forced;
        }
        // Only now may another server have the folder.
        drop(self.folder);
        outcome
    }

    /// Lets `skeind admin` talk to this process, where it has the whole picture.
    fn offer_to_operators(&self) {
        let (Some(folder), Some(operator)) = (&self.folder, &self.started.operator) else { return };
        let operator: Arc<Operator> = Arc::clone(operator);
        if let Err(error) = socket::serve(&folder.socket(), operator, &self.shutdown) {
            tracing::warn!(error.cause = %error, "`skeind admin` cannot reach this server");
        }
    }
}

/// Whether the process accepts: not yet at its start, and at its end no more.
struct Stage(Arc<AtomicBool>);

impl Stage {
    fn watched(health: &Health, shutdown: &Shutdown) -> Self {
        let accepting = Arc::new(AtomicBool::new(false));
        let (watched, shutdown) = (Arc::clone(&accepting), shutdown.clone());
        health.register("process", move || {
            let stage = match (shutdown.has_begun(), watched.load(Ordering::Acquire)) {
                (true, _) => Err("stopping".to_owned()),
                (false, false) => Err("starting".to_owned()),
                (false, true) => Ok(()),
            };
            async { stage }
        });
        Self(accepting)
    }

    fn accepts(&self) {
        self.0.store(true, Ordering::Release);
    }
}

async fn purge_tokens(tokens: Arc<dyn Tokens>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    loop {
        match tokens.purge_tokens(clock.now()).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "forgot expired tokens"),
            Err(error) => {
                let refusal = error.into_refusal();
                tracing::warn!(error.code = %refusal.code, "expired tokens stay for now");
            }
        }
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(PURGE_INTERVAL) => {}
        }
    }
}
