//! The parts under the roles: the store, the bus and the place of the blobs, each embedded or
//! external as the configuration says.

use std::{path::Path, sync::Arc};

use skein_bus::{
    Bus,
    local::Local,
    redis::{self, Redis},
};
use skein_ops::health::Health;
use skein_resource::Records;
use skein_store::{
    Store, StoreError,
    postgres::{self, ConnectError, Postgres},
    sqlite::{OpenError, Sqlite},
};

use crate::{
    patience::{Patience, Waited},
    sentence,
};

/// The store, whichever it is.
#[derive(Clone)]
pub(crate) struct Truth {
    /// For all that any store does.
    pub(crate) store: Arc<dyn Store>,
    /// The same, for the resource role.
    pub(crate) records: Arc<dyn Records>,
    kind: Kind,
}

/// Which it is, for what only one of them does.
#[derive(Clone)]
enum Kind {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// Why a part could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The file of the embedded store.
    #[error("{0}: {1}")]
    File(String, #[source] StoreError),
    /// That file, as somebody finds it who does not migrate it.
    #[error("{0}: {1}")]
    Schema(String, #[source] OpenError),
    /// The database.
    #[error("store: {0}")]
    Store(#[from] ConnectError),
    /// The bus.
    #[error("bus: {0}")]
    Bus(#[from] redis::ConnectError),
    /// The process was told to stop before it had everything.
    #[error("stopped before the start was complete")]
    Stopped,
}

impl Truth {
    fn of<S: Store>(store: &Arc<S>, kind: Kind) -> Self {
        Self { store: store.clone(), records: store.clone(), kind }
    }

    /// Opens the embedded store, and makes or migrates it if need be. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, PartError> {
        let store = Sqlite::open(path)
            .map_err(|error| PartError::File(path.display().to_string(), error))?;
        let store = Arc::new(store);
        Ok(Self::of(&store, Kind::Sqlite(store.clone())))
    }

    /// Opens the embedded store as it is, for whoever is not its server. Blocks.
    pub(crate) fn open_migrated(path: &Path) -> Result<Self, PartError> {
        let store = Sqlite::open_migrated(path)
            .map_err(|error| PartError::Schema(path.display().to_string(), error))?;
        let store = Arc::new(store);
        Ok(Self::of(&store, Kind::Sqlite(store.clone())))
    }

    /// Connects to the database, and waits for it while there is patience.
    pub(crate) async fn connect(
        config: &postgres::Config,
        patience: &Patience,
    ) -> Result<Self, PartError> {
        let passes = |error: &ConnectError| matches!(error, ConnectError::Unreachable(_));
        let connected =
            patience.until("the store", passes, async || Postgres::connect(config).await);
        let store = Arc::new(connected.await?);
        Ok(Self::of(&store, Kind::Postgres(store.clone())))
    }

    /// The embedded store, if that is what it is.
    pub(crate) const fn sqlite(&self) -> Option<&Arc<Sqlite>> {
        match &self.kind {
            Kind::Sqlite(store) => Some(store),
            Kind::Postgres(_) => None,
        }
    }

    /// Finishes what was submitted.
    pub(crate) async fn close(&self) {
        match &self.kind {
            Kind::Sqlite(store) => store.close().await,
            Kind::Postgres(store) => store.close().await,
        }
    }

    /// Adds the check that the store answers and takes writes.
    pub(crate) fn watch(&self, health: &Health) {
        let store = Arc::clone(&self.store);
        health.register("store", move || {
            let store = Arc::clone(&store);
            async move { store.usable().await.map_err(|error| sentence(&error)) }
        });
    }
}

/// The bus as configured. Waits for an external one while there is patience.
pub(crate) async fn bus(
    config: Option<&redis::Config>,
    patience: &Patience,
    health: &Health,
) -> Result<Arc<dyn Bus>, PartError> {
    let Some(config) = config else { return Ok(Arc::new(Local::new())) };
    let passes = |error: &redis::ConnectError| matches!(error, redis::ConnectError::Unreachable(_));
    let connected = patience.until("the bus", passes, async || Redis::connect(config).await);
    let redis = Arc::new(connected.await?);
    let pinged = Arc::clone(&redis);
    health.register("bus", move || {
        let redis = Arc::clone(&pinged);
        async move { redis.ping().await.map(drop).map_err(|error| error.to_string()) }
    });
    Ok(redis)
}

impl<E: Into<Self>> From<Waited<E>> for PartError {
    fn from(waited: Waited<E>) -> Self {
        match waited {
            Waited::Failed(error) => error.into(),
            Waited::Stopped => Self::Stopped,
        }
    }
}
