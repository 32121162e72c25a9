//! What can go wrong inside a transaction. `?` turns both a refusal and a database error into a
//! [`Fault`]; what was being done is added once, where the transaction is run.

use std::error::Error;

use rusqlite::{ErrorCode, ffi};
use skein_core::refusal::Refusal;
use thiserror::Error;

use crate::{StoreError, metric};

/// Why a piece of a transaction was not done.
pub(super) enum Fault {
    /// A rule was in the way.
    Refused(Refusal),
    /// The database failed, or holds what this version cannot read.
    Database(rusqlite::Error),
}

impl Fault {
    /// The error for the caller of the store.
    pub(super) fn while_doing(self, doing: &'static str) -> StoreError {
        match self {
            Self::Refused(refusal) => StoreError::Refused(refusal),
            Self::Database(error) => match Obstacle::of(&error) {
                Some(obstacle) => unavailable(doing, Away { obstacle, error }),
                None => failed(doing, error),
            },
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// What is in the way of the database from outside and may go away by itself, so that the same
/// operation can be done later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Obstacle {
    #[error("the disk is full")]
    DiskFull,
    #[error("the disk fails")]
    DiskFails,
    #[error("another process holds the database")]
    Locked,
}

impl Obstacle {
    /// The obstacle that an error tells of, if it is one.
    pub(super) fn of(error: &rusqlite::Error) -> Option<Self> {
        let error = error.sqlite_error()?;
        // The index of the write-ahead log could not grow, for which a full disk is the reason.
        if error.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
            return Some(Self::DiskFull);
        }
        match error.code {
            ErrorCode::DiskFull => Some(Self::DiskFull),
            ErrorCode::SystemIoFailure => Some(Self::DiskFails),
            ErrorCode::DatabaseBusy => Some(Self::Locked),
            _ => None,
        }
    }
}

/// An obstacle with what SQLite says about it.
#[derive(Debug, Error)]
#[error("{obstacle} ({error})")]
struct Away {
    obstacle: Obstacle,
    error: rusqlite::Error,
}

/// The database could not, and may be able to later.
pub(super) fn unavailable<E>(doing: &'static str, source: E) -> StoreError
where
    E: Error + Send + Sync + 'static,
{
    metric::error("unavailable");
    StoreError::Unavailable { doing, source: Box::new(source) }
}

/// The database failed.
pub(super) fn failed<E>(doing: &'static str, source: E) -> StoreError
where
    E: Error + Send + Sync + 'static,
{
    metric::error("failed");
    StoreError::Failed { doing, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_away_by_itself_is_told_from_what_may_not() {
        for (code, obstacle) in [
            (ffi::SQLITE_FULL, Some(Obstacle::DiskFull)),
            (ffi::SQLITE_IOERR, Some(Obstacle::DiskFails)),
            (ffi::SQLITE_IOERR_WRITE, Some(Obstacle::DiskFails)),
            (ffi::SQLITE_IOERR_FSYNC, Some(Obstacle::DiskFails)),
            (ffi::SQLITE_IOERR_SHMSIZE, Some(Obstacle::DiskFull)),
            (ffi::SQLITE_BUSY, Some(Obstacle::Locked)),
            (ffi::SQLITE_BUSY_RECOVERY, Some(Obstacle::Locked)),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, None),
            (ffi::SQLITE_CORRUPT, None),
            (ffi::SQLITE_NOTADB, None),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(Obstacle::of(&error), obstacle, "{error}");
            let error = Fault::from(error).while_doing("test");
            let away = matches!(error, StoreError::Unavailable { .. });
            assert_eq!(away, obstacle.is_some(), "{error}");
        }
        assert_eq!(Obstacle::of(&rusqlite::Error::QueryReturnedNoRows), None);
    }
}
