//! The contract, and what only a database that many nodes share has to show.

use std::sync::Arc;

use skein_testkit::postgres::Postgres as Server;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::{Config, Postgres, migrate};
use crate::Store;

/// Connections of a story's store.
const POOL_MAX: usize = 6;
/// Stories that are told at the same time, so that the server has connections enough for all.
const STORIES_MAX: usize = 16;
/// The database that the others are copies of.
const TEMPLATE: &str = "migrated";

static STORIES: OnceCell<Arc<Semaphore>> = OnceCell::const_new();

pub(super) fn config(url: String) -> Config {
    Config { pool_max: POOL_MAX, ..Config::new(url) }
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

mod contract {
    crate::contract::run_contract!(together crate::postgres::tests::empty);
}
