//! Connections, kept open and shared.
//!
//! There are two pools: appends have a few connections of their own, so that a crowd of readers does
//! not keep messages from being written, nor the other way round.

use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use tokio_postgres::NoTls;

use super::{ConnectError, config::Config, config::POOL_MIN, fault::Fault, tls};
use crate::metric;

/// How long opening a connection may take, with TLS, login and settings.
const CREATE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a look at an idle connection may take. It asks nothing of the server.
const RECYCLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections for appends at most: batches that are under way at the same time. More would be
/// smaller batches, and the server writes its log one after the other anyway.
pub(super) const APPEND_CONNECTIONS_MAX: usize = 4;
/// Of the connections of a process, one in this many is for appends.
const APPEND_SHARE: usize = 4;

/// Raises what a commit waits for to the disk of the server, unless it is set to more, such as a
/// second server (invariant 1).
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') \
                       NOT IN ('on', 'remote_apply')";

/// How long a batch of appends waits for a log that another transaction holds, in milliseconds: far
/// more than a transaction takes, and little enough that the others of the batch hardly notice.
const APPEND_LOCK_TIMEOUT_MS: u64 = 250;

/// The connections of a store.
pub(super) struct Pools {
    /// For everything but appends.
    pub(super) general: Pool,
    /// For appends.
    pub(super) appends: Pool,
    /// How many batches of appends may be under way.
    pub(super) append_connections: usize,
}

impl Pools {
    /// Makes the pools; connections are opened when they are needed.
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let appends = (config.pool_max / APPEND_SHARE).clamp(1, APPEND_CONNECTIONS_MAX);
        let general = config.pool_max.max(POOL_MIN) - appends;
        let lock_timeout_ms = config.lock_timeout_ms.min(APPEND_LOCK_TIMEOUT_MS);
        let of_appends = Config { lock_timeout_ms, ..config.clone() };
        Ok(Self {
            general: pool(config, general)?,
            appends: pool(&of_appends, appends)?,
            append_connections: appends,
        })
    }

    /// Closes every connection once it is free, and hands out no more.
    pub(super) fn close(&self) {
        self.general.close();
        self.appends.close();
    }
}

/// A free connection.
pub(super) async fn take(pool: &Pool) -> Result<Object, Fault> {
    let asked = Instant::now();
    let taken = pool.get().await;
    metric::pool_wait(asked.elapsed());
    Ok(taken?)
}

fn pool(config: &Config, size: usize) -> Result<Pool, ConnectError> {
    let (driver, encrypted) = config.driver()?;
    let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = if encrypted {
        Manager::from_config(driver, tls::connector(config.tls_ca.as_deref())?, fast)
    } else {
        Manager::from_config(driver, NoTls, fast)
    };
    let settle = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move { client.batch_execute(DURABLE).await.map_err(HookError::Backend) })
    });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(Duration::from_millis(config.pool_wait_ms)))
        .create_timeout(Some(CREATE_TIMEOUT))
        .recycle_timeout(Some(RECYCLE_TIMEOUT))
        .post_create(settle)
        .build()
        .map_err(|error| ConnectError::Config(error.to_string()))
}
