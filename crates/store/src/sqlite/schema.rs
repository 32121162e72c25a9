//! The schema's version: brought up to date by the server that the file belongs to, checked by
//! whoever only looks at it.

use std::{io, path::Path};

use rusqlite::Connection;
use thiserror::Error;

use super::{
    fault::{Fault, failed},
    open_for_reading,
};
use crate::StoreError;

mod migrations {
    #![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
    refinery::embed_migrations!("../../migrations/sqlite");
}

/// Why a store in a file cannot be used as it is. Nothing of it has been changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no file.
    #[error("there is no store yet: the server makes it when it starts for the first time")]
    Missing,
    /// The schema is that of an earlier version, or there is none yet.
    #[error(
        "the store has schema {found} and this skeind needs {needed}; start the server, which \
         migrates it, or run `skeind migrate` with the same configuration"
    )]
    OlderSchema {
        /// The file's version; zero if it is empty.
        found: u32,
        /// The version that this program needs.
        needed: u32,
    },
    /// The schema is that of a later version.
    #[error(
        "the store has schema {found} and this skeind knows {known} at most: it is too old; start \
         the version that migrated the store, or a later one"
    )]
    NewerSchema {
        /// The file's version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file cannot be opened, or is no database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether this version can work with the schema. Writes nothing.
pub(super) fn check(path: &Path) -> Result<(), OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing);
    }
    let found = open_for_reading(path).and_then(|connection| version(&connection));
    let found = found.map_err(|error| Fault::from(error).while_doing("read its schema"))?;
    let needed = newest();
    if found < needed {
        return Err(OpenError::OlderSchema { found, needed });
    }
    not_newer(found)
}

/// Brings the schema up to date. A migration may rebuild tables that others refer to, which SQLite
/// only allows with foreign keys off; what it leaves behind is checked instead.
pub(super) fn migrate(mut connection: Connection) -> Result<Connection, StoreError> {
    let doing = "migrate its schema";
    let found =
        version(&connection).map_err(|error| Fault::from(error).while_doing("read its schema"))?;
    not_newer(found).map_err(|error| failed(doing, error))?;
    let off_and_on = |connection: &Connection, on: bool| {
        connection
            .pragma_update(None, "foreign_keys", on)
            .map_err(|error| failed("switch foreign keys", error))
    };
    off_and_on(&connection, false)?;
    migrations::migrations::runner().run(&mut connection).map_err(|error| failed(doing, error))?;
    let broken: i64 = connection
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
        .map_err(|error| failed("check its foreign keys", error))?;
    if broken > 0 {
        let error = io::Error::other(format!("{broken} rows refer to rows that do not exist"));
        return Err(failed("check its foreign keys", error));
    }
    off_and_on(&connection, true)?;
    Ok(connection)
}

fn not_newer(found: u32) -> Result<(), OpenError> {
    let known = newest();
    if found > known { Err(OpenError::NewerSchema { found, known }) } else { Ok(()) }
}

/// The version that this program needs: that of its last migration.
fn newest() -> u32 {
    let runner = migrations::migrations::runner();
    let versions = runner.get_migrations().iter().map(|migration| migration.version());
    versions.max().map_or(0, |version| u32::try_from(version).unwrap_or(u32::MAX))
}

/// The version of the last migration that has run; zero if none has.
fn version(connection: &Connection) -> rusqlite::Result<u32> {
    const HISTORY: &str = "refinery_schema_history";
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
    if connection.query_row(sql, [HISTORY], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(0);
    }
    let sql = format!("SELECT coalesce(max(version), 0) FROM {HISTORY}");
    let version: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

/// A file of an earlier release, for tests.
#[cfg(test)]
pub(super) fn migrate_to(connection: &mut Connection, version: i32) {
    let target = refinery::Target::Version(version);
    migrations::migrations::runner().set_target(target).run(connection).unwrap();
}
