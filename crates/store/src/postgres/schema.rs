//! The schema's version: brought up to date by one node at a time, checked by every other.

use std::time::Duration;

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, NoTls, error::SqlState};

use super::{ConnectError, config::Config, fault::Text, tls};

/// Keeps two nodes from migrating at the same time: `skein` in ASCII. Stable, as nodes of different
/// versions have to mean the same lock.
const MIGRATION_LOCK: i64 = 0x73_6b_65_69_6e;
/// How long a node waits for another one that migrates.
const MIGRATION_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long a migration waits for a table that is in use. Others queue up behind it meanwhile.
const TABLE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long all of it may take, before the server counts as gone.
const MIGRATION_MAX: Duration = Duration::from_secs(60 * 60);
/// How long opening the connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The oldest PostgreSQL that the statements of this crate are written for, as it counts versions.
const SERVER_VERSION_MIN: i32 = 150_000;

mod migrations {
    #![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
    refinery::embed_migrations!("../../migrations/postgres");
}

/// What [`migrate`] found and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema's version before; zero for an empty database.
    pub from: u32,
    /// The version now.
    pub to: u32,
}

/// Brings the schema up to date. Many nodes may do so at once: one does it, the others wait, and
/// find it done.
///
/// # Errors
/// [`ConnectError`]: as for connecting, or if a migration fails, which then has changed nothing.
pub async fn migrate(config: &Config) -> Result<Migrated, ConnectError> {
    let (mut client, connection) = connect(config).await?;
    let migrated = timeout(MIGRATION_MAX, migrate_alone(&mut client)).await;
    // The end of the session gives the lock back.
    drop(client);
    if migrated.is_ok() {
        connection.await.ok();
    } else {
        connection.abort();
    }
    migrated.unwrap_or_else(|_| Err(ConnectError::Migration("no answer in time".into())))
}

async fn migrate_alone(client: &mut Client) -> Result<Migrated, ConnectError> {
    let failed = |error: tokio_postgres::Error| migration_failed(&error);
    let wait_ms = MIGRATION_WAIT_MAX.as_millis();
    let limits = format!("SET statement_timeout = 0; SET lock_timeout = {wait_ms}");
    client.batch_execute(&limits).await.map_err(failed)?;
    let lock = format!("SELECT pg_advisory_lock({MIGRATION_LOCK})");
    client.batch_execute(&lock).await.map_err(|error| {
        if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            ConnectError::Migration("another node has been migrating for too long".into())
        } else {
            migration_failed(&error)
        }
    })?;
    check_server(client).await?;
    let from = version(client).await?;
    let to = newest();
    if from > to {
        return Err(ConnectError::NewerSchema { found: from, known: to });
    }
    let wait_ms = TABLE_WAIT_MAX.as_millis();
    client.batch_execute(&format!("SET lock_timeout = {wait_ms}")).await.map_err(failed)?;
    migrations::migrations::runner()
        .run_async(client)
        .await
        .map_err(|error| ConnectError::Migration(chain(&error)))?;
    Ok(Migrated { from, to })
}

/// Whether this version can work with the server and the schema.
pub(super) async fn check(config: &Config) -> Result<(), ConnectError> {
    let (client, connection) = connect(config).await?;
    let checked = async {
        check_server(&client).await?;
        let (found, needed) = (version(&client).await?, newest());
        if found < needed {
            return Err(ConnectError::OlderSchema { found, needed });
        }
        if found > needed {
            return Err(ConnectError::NewerSchema { found, known: needed });
        }
        Ok(())
    };
    let checked = timeout(config.try_timeout(), checked).await;
    drop(client);
    connection.abort();
    checked.unwrap_or_else(|_| Err(ConnectError::Unreachable("no answer in time".into())))
}

/// The version that this program needs: that of its last migration.
fn newest() -> u32 {
    let runner = migrations::migrations::runner();
    let versions = runner.get_migrations().iter().map(|migration| migration.version());
    versions.max().map_or(0, |version| u32::try_from(version).unwrap_or(u32::MAX))
}

async fn version(client: &Client) -> Result<u32, ConnectError> {
    let sql = "SELECT coalesce(max(version), 0)::bigint FROM refinery_schema_history";
    match client.query_one(sql, &[]).await {
        Ok(row) => Ok(u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(unreachable(&error)),
    }
}

async fn check_server(client: &Client) -> Result<(), ConnectError> {
    let sql = "SELECT current_setting('server_version_num')::int, \
               current_setting('server_version'), current_setting('server_encoding'), \
               current_setting('fsync')";
    let row = client.query_one(sql, &[]).await.map_err(|error| unreachable(&error))?;
    if row.get::<_, i32>(0) < SERVER_VERSION_MIN {
        return Err(ConnectError::OldServer(row.get(1)));
    }
    let encoding: String = row.get(2);
    if encoding != "UTF8" {
        return Err(ConnectError::Encoding(encoding));
    }
    if row.get::<_, &str>(3) == "off" {
        tracing::warn!("the database has fsync off: a loss of power loses acknowledged messages");
    }
    Ok(())
}

/// A connection beside the pools.
async fn connect(config: &Config) -> Result<(Client, JoinHandle<()>), ConnectError> {
    let (driver, encrypted) = config.driver()?;
    let connecting = async {
        if encrypted {
            let tls = tls::connector(config.tls_ca.as_deref())?;
            let (client, connection) =
                driver.connect(tls).await.map_err(|error| unreachable(&error))?;
            Ok((client, tokio::spawn(run(connection))))
        } else {
            let (client, connection) =
                driver.connect(NoTls).await.map_err(|error| unreachable(&error))?;
            Ok((client, tokio::spawn(run(connection))))
        }
    };
    let connected = timeout(CONNECT_MAX, connecting).await;
    connected.unwrap_or_else(|_| Err(ConnectError::Unreachable("no answer in time".into())))
}

async fn run(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        // Whoever waits for an answer gets an error of their own.
        tracing::debug!(error.cause = %Text(&error), "a connection to the database broke");
    }
}

fn unreachable(error: &tokio_postgres::Error) -> ConnectError {
    ConnectError::Unreachable(Text(error).to_string())
}

fn migration_failed(error: &tokio_postgres::Error) -> ConnectError {
    ConnectError::Migration(Text(error).to_string())
}

/// An error with its causes. Migrations hold no values of users.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = match error.downcast_ref::<tokio_postgres::Error>() {
            Some(error) => format!("{text}: {}", Text(error)),
            None => format!("{text}: {error}"),
        };
        cause = error.source();
    }
    text
}
