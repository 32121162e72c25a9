//! The embedded store: one SQLite file.
//!
//! [`Sqlite`] holds one connection that writes, owned by a thread of its own (`writer`), and a
//! few that read (`reader`). Writes that wait at the same time share one transaction and one
//! sync of the disk; none is answered before that (invariant 1). In write-ahead mode readers
//! neither wait for the writer nor hold it up.
//!
//! The schema is in `migrations/sqlite`. Each noun's SQL is in the file of its name.

mod account;
mod backup;
mod blob;
mod column;
mod coming;
mod contact;
mod fault;
mod instance;
mod log;
mod reader;
mod schema;
mod storage;
#[cfg(test)]
mod tests;
mod token;
mod upload;
mod writer;

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

pub use self::schema::OpenError;
use self::{
    fault::{Fault, failed},
    reader::Readers,
    writer::Writer,
};
use crate::StoreError;

/// How long a connection waits for another process that has the file locked, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps: more than there are in this crate.
const STATEMENTS_CACHED: usize = 128;
/// Bytes that the write-ahead log keeps on disk after a checkpoint.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Pages (of 4 KiB) in the write-ahead log from which on a commit moves them into the file: 16 MiB.
/// A busy page is moved once for all the times it was written meanwhile, and a batch of the largest
/// size alone fills half of SQLite's 4 MiB. Moving them in a thread of its own was tried: the writer
/// waits as long for what is left over, because most of the time goes into the sync of the file.
const CHECKPOINT_PAGES: i64 = 4096;
/// Memory of the writer's page cache, in KiB. With SQLite's 2 MiB a large batch does not fit: its
/// pages are written out before the commit, read back from the write-ahead log and written again.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// A store in one SQLite file.
///
/// Dropping it waits until what was submitted is written; [`Sqlite::close`] does the same without
/// blocking the runtime.
pub struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
}

impl Sqlite {
    /// Opens the file, or creates it readable by its owner only, and brings its schema up to date.
    /// Blocks: call it before the runtime is busy.
    ///
    /// # Errors
    /// If the file cannot be opened, is no database, or has a schema that this version does not
    /// know. [`StoreError::Unavailable`] if the disk is full.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path).map_err(|error| failed("create its file", error))?;
        Self::start(path, schema::migrate)
    }

    /// Opens the file of a store whose schema is of this version, and changes nothing of a file of
    /// another. For whoever looks at a store without being the server that it belongs to. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub fn open_migrated(path: &Path) -> Result<Self, OpenError> {
        schema::check(path)?;
        Ok(Self::start(path, Ok)?)
    }

    /// Opens the file, which is there, and lets `prepare` have it before anybody else.
    fn start(
        path: &Path,
        prepare: impl FnOnce(Connection) -> Result<Connection, StoreError>,
    ) -> Result<Self, StoreError> {
        let connection = open_for_writing(path)
            .map_err(|error| Fault::from(error).while_doing("open its file"))?;
        let connection = prepare(connection)?;
        let readers = Readers::open(|| open_for_reading(path))
            .map_err(|error| Fault::from(error).while_doing("open its file for reading"))?;
        let writer =
            Writer::start(connection).map_err(|error| failed("start its writer", error))?;
        Ok(Self { path: path.to_owned(), writer, readers })
    }

    /// Finishes what was submitted, moves the write-ahead log into the file and ends the writer.
    /// Later writes fail; reads go on working.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// Runs `work` in the writer's next transaction, inside a savepoint of its own, and returns its
    /// result once that transaction is durable. `doing` follows "the store failed to".
    async fn write<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.writer.submit(doing, work).await
    }

    /// Runs `work` on a consistent snapshot of what is durable.
    async fn read<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.readers.run(doing, work).await
    }
}

/// SQLite would create the file with the permissions of any document, but it holds password
/// hashes; the files beside it inherit what it has.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn open_for_writing(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_connection(path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        tracing::warn!(sqlite.journal_mode = mode, "the file system has no write-ahead log");
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    // A negative size is in KiB, a positive one in pages.
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // Where savepoints keep what they may have to put back. Bounded by the size of a batch.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_connection(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open_connection(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}
