//! What an account stores, as two counters in its row.
//!
//! Whoever changes a row in `uploads` says so here, in the same transaction. Adding up the rows
//! instead would keep the one writer busy the longer the more an account has stored.

use rusqlite::{Connection, Error, OptionalExtension, params};
use skein_core::id::AccountId;

use super::column::{Id, number};
use crate::upload::charged_bytes;

/// The counters of an account.
#[derive(Default)]
pub(super) struct Storage {
    /// Charged bytes of all its uploads, complete or not.
    pub(super) bytes: u64,
    /// Uploads that miss bytes.
    pub(super) open_uploads: u64,
}

/// Reads the counters, inside any transaction. An account that is not there stores nothing.
pub(super) fn of(db: &Connection, account: AccountId) -> rusqlite::Result<Storage> {
    let sql = "SELECT storage_bytes, open_uploads FROM accounts WHERE id = ?1";
    let found = db.prepare_cached(sql)?.query_row([Id(account.0)], |row| {
        Ok(Storage { bytes: number(row, 0)?, open_uploads: number(row, 1)? })
    });
    Ok(found.optional()?.unwrap_or_default())
}

/// An upload was opened for a file of `size` bytes.
pub(super) fn opened(db: &Connection, account: AccountId, size: u64) -> rusqlite::Result<()> {
    change(db, account, charged(size)?, 1)
}

/// An open upload became a blob, which is charged all the same.
pub(super) fn completed(db: &Connection, account: AccountId) -> rusqlite::Result<()> {
    change(db, account, 0, -1)
}

/// An open upload for a file of `size` bytes is gone.
pub(super) fn discarded(db: &Connection, account: AccountId, size: u64) -> rusqlite::Result<()> {
    change(db, account, -charged(size)?, -1)
}

/// A blob of `size` bytes is gone.
pub(super) fn deleted(db: &Connection, account: AccountId, size: u64) -> rusqlite::Result<()> {
    change(db, account, -charged(size)?, 0)
}

fn change(
    db: &Connection,
    account: AccountId,
    bytes: i64,
    open_uploads: i64,
) -> rusqlite::Result<()> {
    let sql = "UPDATE accounts SET storage_bytes = storage_bytes + ?2, \
               open_uploads = open_uploads + ?3 WHERE id = ?1";
    db.prepare_cached(sql)?.execute(params![Id(account.0), bytes, open_uploads]).map(drop)
}

fn charged(size: u64) -> rusqlite::Result<i64> {
    i64::try_from(charged_bytes(size)).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}
