//! Wires the roles together in one process, on the embedded parts.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use skein_bus::{hint::Hints, key::Keys, lease::Leases, local::Local};
use skein_chat::hub::Hub;
use skein_core::{port::directory::Directory, time::Clock};
use skein_gate::Registration;
use skein_ops::{clock::SystemClock, lifecycle, lifecycle::Shutdown, ready::Ready};
use skein_resource::{Records, ResourceRole};
use skein_status::Status;
use skein_store::{Store, StoreError, sqlite::Sqlite, token::Tokens};
use skein_verify::Verify;
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    Config,
    certificate::{Incomplete, certificate},
    folder::{DataFolder, FolderError},
};

/// How long the store may take to close. What was acknowledged is durable before, so that a store
/// which hangs need not be waited for.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often expired tokens are forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A server that accepts.
pub struct Server {
    /// The gate's URL.
    pub http: String,
    /// Where the chat role listens.
    pub quic: SocketAddr,
    /// The chat role's sessions.
    pub hub: Arc<Hub>,
    store: Arc<Sqlite>,
    shutdown: Shutdown,
    folder: DataFolder,
}

/// Why the server did not start. The sentence says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store.
    #[error("{0}: {1}")]
    Store(String, #[source] StoreError),
    /// The verify role.
    #[error(transparent)]
    Verify(#[from] skein_verify::StartError),
    /// The resource role.
    #[error(transparent)]
    Resource(#[from] skein_resource::ResourceError),
    /// The chat role's certificate.
    #[error(transparent)]
    Certificate(#[from] Incomplete),
    /// The chat role.
    #[error(transparent)]
    Chat(#[from] skein_chat::BindError),
    /// The gate.
    #[error(transparent)]
    Gate(#[from] skein_gate::BindError),
}

impl Server {
    /// Starts all roles. When it returns, everything accepts. Blocks for some disk operations.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(mut config: Config, shutdown: &Shutdown) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = DataFolder::take(&config.data)?;
        let path = folder.store();
        let store = Sqlite::open(&path)
            .map_err(|error| StartError::Store(path.display().to_string(), error))?;
        let store = Arc::new(store);
        let bus = Arc::new(Local::new());
        let (hints, keys): (Arc<dyn Hints>, Arc<dyn Keys>) = (bus.clone(), bus.clone());
        let leases: Arc<dyn Leases> = bus;

        let directory: Arc<dyn Directory> = Arc::new(Status::new(leases));
        let verify_parts = skein_verify::Parts { keys: Arc::clone(&keys), clock: clock.clone() };
        let verifier = Verify::start(&config.verify, &folder.outbox(), verify_parts, shutdown)?;
        let records: Arc<dyn Records> = store.clone();
        let resource = ResourceRole::start(
            config.resource,
            records,
            &folder.blobs(),
            clock.clone(),
            shutdown,
        )?;

        let certificate = certificate(&config.chat, config.quic, &folder.certificates())?;
        let truth: Arc<dyn Store> = store.clone();
        let chat_parts = skein_chat::Parts {
            store: truth,
            hints: Arc::clone(&hints),
            resource,
            directory: Arc::clone(&directory),
            certificate,
            clock: clock.clone(),
        };
        let chat = skein_chat::bind(config.chat, config.quic, chat_parts, shutdown).await?;

        // Without a mail server nobody would get a code.
        let by_default =
            if config.verify.smtp.is_some() { Registration::Code } else { Registration::Open };
        config.gate.registration.get_or_insert(by_default);
        let gate_parts = skein_gate::Parts {
            instance: store.clone(),
            accounts: store.clone(),
            tokens: store.clone(),
            verifier,
            directory,
            hints,
            keys,
            clock: clock.clone(),
        };
        let gate = skein_gate::bind(config.gate, config.http, gate_parts, shutdown).await?;

        shutdown.spawn(purge_tokens(store.clone(), clock, shutdown.clone()));
        Ok(Self {
            http: gate.url,
            quic: chat.addr,
            hub: chat.hub,
            store,
            shutdown: shutdown.clone(),
            folder,
        })
    }

    /// Where it listens, for the ready file.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready { http: self.http.clone(), quic: self.quic }
    }

    /// Waits for the end: until the soft stop has begun and everything under way has ended, or
    /// `patience` is over. Then closes the store, for which it has a few seconds.
    pub async fn finish(self, patience: Duration) -> lifecycle::Outcome {
        let outcome = self.shutdown.finish(patience).await;
        if timeout(STORE_CLOSE_TIMEOUT, self.store.close()).await.is_err() {
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
