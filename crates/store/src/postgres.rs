//! The store of a cluster: PostgreSQL 15 or later, which any number of nodes share.
//!
//! [`Postgres`] keeps connections in two pools (`pool`). An operation is a transaction on one of them,
//! tried again while that may help and answered within ten seconds whatever the server does
//! (`tries`). Appends are gathered into batches (`log`), each of which is one transaction.
//!
//! The schema is in `migrations/postgres`, with the order in which rows are locked; [`migrate`]
//! applies it. Each noun's SQL is in the file of its name.

mod account;
mod blob;
mod column;
mod coming;
mod config;
mod contact;
mod db;
mod fault;
mod instance;
mod log;
mod pool;
mod schema;
mod storage;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod tries;
mod upload;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::Pool;
use skein_core::time::Timestamp;
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

pub use self::{
    config::{Config, Url},
    schema::{Migrated, migrate},
};
use self::{
    db::Db,
    fault::Fault,
    log::Appender,
    pool::Pools,
    tries::{CALL_MAX, Tries},
};
use crate::StoreError;

/// Why a store in PostgreSQL cannot be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The configuration is not accepted.
    #[error("the configuration of the database: {0}")]
    Config(String),
    /// The certificates that vouch for the server cannot be used.
    #[error("TLS to the database: {0}")]
    Tls(String),
    /// The server cannot be reached, does not let this program in, or does not answer.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The server is older than the statements of this program.
    #[error("the database server is PostgreSQL {0}; version 15 or later is needed")]
    OldServer(String),
    /// Texts of people would not fit.
    #[error(
        "the database has the encoding {0}; create one with `CREATE DATABASE … ENCODING 'UTF8' \
         TEMPLATE template0`"
    )]
    Encoding(String),
    /// The schema is that of an earlier version, or there is none yet.
    #[error(
        "the database has schema {found} and this skeind needs {needed}; run `skeind migrate` with \
         the same configuration"
    )]
    OlderSchema {
        /// The database's version; zero if it is empty.
        found: u32,
        /// The version that this program needs.
        needed: u32,
    },
    /// The schema is that of a later version.
    #[error(
        "the database has schema {found} and this skeind knows {known} at most: it is too old; \
         start the version that migrated the database, or a later one"
    )]
    NewerSchema {
        /// The database's version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// A migration was not done; nothing of it has changed the database.
    #[error("the database was not migrated: {0}")]
    Migration(String),
}

/// How long the server may take to answer an operator's question about all that is stored.
pub const REPORT_MAX: Duration = Duration::from_secs(120);

/// A store in PostgreSQL.
pub struct Postgres {
    pools: Pools,
    appender: Appender,
    limits: Limits,
}

/// The limits of one try.
#[derive(Debug, Clone, Copy)]
struct Limits {
    try_timeout: Duration,
}

/// Whether an operation is a transaction of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Several statements that see and change one state.
    Transaction,
    /// One statement, or several that need not agree; doing it twice is as good as doing it once.
    Statement,
}

impl Postgres {
    /// Connects to a database whose schema is of this version.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        schema::check(config).await?;
        let pools = Pools::new(config)?;
        let limits = Limits { try_timeout: config.try_timeout() };
        let appender =
            Appender::start(pools.appends.clone(), pools.append_connections, limits.try_timeout);
        Ok(Self { pools, appender, limits })
    }

    /// Finishes the appends that were submitted and closes every connection. Later calls fail.
    pub async fn close(&self) {
        self.appender.close().await;
        self.pools.close();
    }

    /// By how many milliseconds the database's clock is ahead of `now`; negative if it is behind.
    /// The time that the question takes is part of it.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn clock_offset(&self, now: Timestamp) -> Result<i64, StoreError> {
        self.read("read the database's clock", |db| async move {
            let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
            let theirs: i64 = column::get(&db.query_one(sql, &[]).await?, 0)?;
            Ok(theirs.saturating_sub(column::id(now.0)))
        })
        .await
    }

    /// The version of the server, as it calls it.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn server_version(&self) -> Result<String, StoreError> {
        self.read("read the database's version", |db| async move {
            column::get(&db.query_one("SELECT current_setting('server_version')", &[]).await?, 0)
        })
        .await
    }

    /// Runs `work` in a transaction and returns its result once that is durable. `doing` follows
    /// "the store failed to". `work` may run several times, each time on a fresh transaction.
    async fn write<T, F, R>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Db>) -> R,
        R: Future<Output = Result<T, Fault>>,
    {
        self.run(doing, Frame::Transaction, work).await
    }

    /// Runs `work`, which is one statement, or several that need not agree. One that writes must be
    /// as good done twice as once.
    async fn read<T, F, R>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Db>) -> R,
        R: Future<Output = Result<T, Fault>>,
    {
        self.run(doing, Frame::Statement, work).await
    }

    /// Runs `work`, which reads whole tables for an operator and may take [`REPORT_MAX`]. It is tried
    /// once.
    async fn report<T, F, R>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Db>) -> R,
        R: Future<Output = Result<T, Fault>>,
    {
        let span = tracing::info_span!("store", store.operation = doing);
        let at_length = |db: Arc<Db>| {
            let done = work(Arc::clone(&db));
            async move {
                let millis = REPORT_MAX.as_millis();
                let sql = format!("SET LOCAL statement_timeout = {millis}");
                db.client().batch_execute(&sql).await?;
                done.await
            }
        };
        let mut uncertain = None;
        let tried = try_once(&self.pools.general, Frame::Transaction, &at_length, &mut uncertain);
        // A server that answers at all says what is wrong.
        let result = timeout(REPORT_MAX + self.limits.try_timeout, tried.instrument(span)).await;
        let result = result.unwrap_or_else(|_| Err(Fault::timed_out()));
        result.map_err(|fault| fault.while_doing(doing))
    }

    async fn run<T, F, R>(
        &self,
        doing: &'static str,
        frame: Frame,
        work: F,
    ) -> Result<T, StoreError>
    where
        F: Fn(Arc<Db>) -> R,
        R: Future<Output = Result<T, Fault>>,
    {
        let span = tracing::info_span!("store", store.operation = doing);
        let tried = timeout(CALL_MAX, self.try_until_done(frame, &work)).instrument(span);
        let result = tried.await.unwrap_or_else(|_| Err(Fault::timed_out()));
        result.map_err(|fault| fault.while_doing(doing))
    }

    async fn try_until_done<T, F, R>(&self, frame: Frame, work: &F) -> Result<T, Fault>
    where
        F: Fn(Arc<Db>) -> R,
        R: Future<Output = Result<T, Fault>>,
    {
        let mut tries = Tries::new(Instant::now());
        // The result of a try whose commit was not answered.
        let mut uncertain = None;
        loop {
            let tried = try_once(&self.pools.general, frame, work, &mut uncertain);
            let result = timeout(self.limits.try_timeout, tried).await;
            let fault = match result.unwrap_or_else(|_| Err(Fault::timed_out())) {
                Ok(value) => return Ok(value),
                Err(Fault::TookEffect) => return uncertain.ok_or(Fault::TookEffect),
                Err(fault) => fault,
            };
            let Some(pause) = tries.next(&fault, Instant::now()) else { return Err(fault) };
            tracing::debug!(error.cause = %fault, "a store operation is tried again");
            sleep(pause).await;
        }
    }
}

async fn try_once<T, F, R>(
    pool: &Pool,
    frame: Frame,
    work: &F,
    uncertain: &mut Option<T>,
) -> Result<T, Fault>
where
    F: Fn(Arc<Db>) -> R,
    R: Future<Output = Result<T, Fault>>,
{
    let db = Arc::new(Db::new(pool::take(pool).await?, uncertain.is_some()));
    if frame == Frame::Statement {
        let result = work(Arc::clone(&db)).await;
        if result.as_ref().map_or_else(Fault::is_answer, |_| true) {
            db.release();
        }
        return result;
    }
    db.command("BEGIN").await?;
    match work(Arc::clone(&db)).await {
        Ok(value) => {
            *uncertain = Some(value);
            if let Err(fault) = db.command("COMMIT").await {
                if fault.is_answer() {
                    *uncertain = None;
                }
                return Err(fault);
            }
            db.release();
            uncertain.take().ok_or(Fault::TookEffect)
        }
        Err(fault) => {
            if fault.is_answer() && db.command("ROLLBACK").await.is_ok() {
                db.release();
            }
            Err(fault)
        }
    }
}
