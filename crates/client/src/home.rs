//! What outlives the process: one SQLite file in a folder that only its owner may read.
//!
//! Several processes may have the same home open, as when one watches and another sends: each write
//! is one transaction, and what two of them store twice is stored once.

mod drafts;
mod files;
mod logs;
mod people;
mod rejected;
mod schema;
mod settings;
mod transfers;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(crate) use files::UploadRecord;
pub(crate) use logs::Change;
pub use rejected::Rejected;
use rusqlite::{Connection, Transaction, TransactionBehavior};
pub(crate) use settings::Login;
pub(crate) use transfers::{QUEUE_MAX, Queued, Task};

use crate::Error;

/// The database's file in the home.
const FILE: &str = "skein.db";
/// The file that the process has locked which carries out the queue of transfers.
const QUEUE_LOCK_FILE: &str = "transfers.lock";
/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An open home. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    database: Arc<Mutex<Connection>>,
    queue_lock: Arc<PathBuf>,
}

impl Home {
    /// Opens the home in `folder`, and makes one if there is none.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(Error::file(folder))?;
        let path = folder.join(FILE);
        // It holds the token: SQLite gives the files beside it the same mode.
        let created =
            fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        match created {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::file(path)(error));
            }
            _ => {}
        }
        let mut database = Connection::open(&path).map_err(Error::home)?;
        prepare(&mut database).map_err(Error::home)?;
        let queue_lock = Arc::new(folder.join(QUEUE_LOCK_FILE));
        Ok(Self { database: Arc::new(Mutex::new(database)), queue_lock })
    }

    /// Takes the right to carry out the queue of transfers, which one process has at a time: for as
    /// long as the file is open, so that it ends with the process. `None` if another has it.
    pub(crate) fn try_carry_out(&self) -> Result<Option<fs::File>, Error> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&*self.queue_lock).map_err(Error::file(&*self.queue_lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(&*self.queue_lock)(error)),
        }
    }

    /// Does `job` in one transaction, off the async threads. It is durable when this returns.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let database = Arc::clone(&self.database);
        let work = tokio::task::spawn_blocking(move || {
            // A job that panicked has been rolled back with its transaction.
            let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = database
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(Error::home)?;
            let result = job(&transaction)?;
            transaction.commit().map_err(Error::home)?;
            Ok(result)
        });
        work.await.map_err(Error::home)?
    }

    /// Does `job`, which only reads, off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let database = Arc::clone(&self.database);
        let work = tokio::task::spawn_blocking(move || {
            let database = database.lock().unwrap_or_else(PoisonError::into_inner);
            job(&database)
        });
        work.await.map_err(Error::home)?
    }
}

fn prepare(database: &mut Connection) -> Result<(), rusqlite::Error> {
    database.busy_timeout(BUSY_TIMEOUT)?;
    database.pragma_update(None, "journal_mode", "wal")?;
    // A draft must survive a loss of power from the moment that its author was told it is kept.
    database.pragma_update(None, "synchronous", "full")?;
    schema::migrate(database)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::home(error)
    }
}

#[cfg(test)]
mod tests;
