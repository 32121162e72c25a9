//! The contract, and what only a database that many nodes share has to show.

mod nodes;
mod order;
mod outage;
mod schema;
mod secure;
mod trace;
mod uncertain;

use std::sync::Arc;

use skein_testkit::postgres::Postgres as Server;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::{Config, Postgres, migrate};
use crate::{Store, StoreError};

/// Connections of a story's store.
const POOL_MAX: usize = 6;
/// Stories that are told at the same time, so that the server has connections enough for all.
const STORIES_MAX: usize = 8;
/// How long an operation of a story waits for one of its connections, in milliseconds: some stories
/// do hundreds of things at once, and the machine may be busy.
const POOL_WAIT_MS: u64 = 9_000;
/// The database that the others are copies of.
const TEMPLATE: &str = "migrated";

static STORIES: OnceCell<Arc<Semaphore>> = OnceCell::const_new();

pub(super) fn config(url: String) -> Config {
    Config { pool_max: POOL_MAX, pool_wait_ms: POOL_WAIT_MS, ..Config::new(url) }
}

/// A store in a database of its own, on the server that all stories share.
pub(crate) async fn empty() -> (Arc<dyn Store>, OwnedSemaphorePermit) {
    let begin = async || {
        let url = blocking(|| Server::shared().create_database(TEMPLATE)).await;
        migrate(&config(url)).await.unwrap();
        Arc::new(Semaphore::new(STORIES_MAX))
    };
    let stories = STORIES.get_or_init(begin).await;
    let permit = Arc::clone(stories).acquire_owned().await.unwrap();
    let url = blocking(|| Server::shared().copy_database(TEMPLATE)).await;
    (Arc::new(Postgres::connect(&config(url)).await.unwrap()), permit)
}

/// A configuration for an empty database with the schema.
async fn migrated(server: &Server) -> Config {
    let config = config(server.fresh_database());
    migrate(&config).await.unwrap();
    config
}

/// What an operation has to answer while the database is away.
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

mod contract {
    crate::contract::run_contract!(together crate::postgres::tests::empty);
}
