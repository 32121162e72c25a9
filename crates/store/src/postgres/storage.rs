//! What an account stores, as two counters in its row.
//!
//! Whoever changes a row in `uploads` locks the account first, with [`lock`], and says here what it
//! did, in the same transaction. Adding up the rows instead would take the longer the more an
//! account has stored.

use skein_core::id::AccountId;

use super::{
    column::{id, int, number},
    db::Db,
    fault::Fault,
};
use crate::upload::charged_bytes;

/// The counters of an account.
#[derive(Default)]
pub(super) struct Storage {
    /// Charged bytes of all its uploads, complete or not.
    pub(super) bytes: u64,
    /// Uploads that are not complete.
    pub(super) open_uploads: u64,
}

/// Reads the counters and keeps others from changing them, or the account's uploads, until this
/// transaction ends. An account that is not there stores nothing.
pub(super) async fn lock(db: &Db, account: AccountId) -> Result<Storage, Fault> {
    let sql = "SELECT storage_bytes, open_uploads FROM accounts WHERE id = $1 FOR NO KEY UPDATE";
    let Some(row) = db.query_opt(sql, &[&id(account.0)]).await? else {
        return Ok(Storage::default());
    };
    Ok(Storage { bytes: number(&row, 0)?, open_uploads: number(&row, 1)? })
}

/// An upload was opened for a file of `size` bytes.
pub(super) async fn opened(db: &Db, account: AccountId, size: u64) -> Result<(), Fault> {
    change(db, account, charged(size)?, 1).await
}

/// An open upload became a blob, which is charged all the same.
pub(super) async fn completed(db: &Db, account: AccountId) -> Result<(), Fault> {
    change(db, account, 0, -1).await
}

/// An open upload for a file of `size` bytes is gone.
pub(super) async fn discarded(db: &Db, account: AccountId, size: u64) -> Result<(), Fault> {
    change(db, account, -charged(size)?, -1).await
}

/// A blob of `size` bytes is gone.
pub(super) async fn deleted(db: &Db, account: AccountId, size: u64) -> Result<(), Fault> {
    change(db, account, -charged(size)?, 0).await
}

async fn change(db: &Db, account: AccountId, bytes: i64, open: i64) -> Result<(), Fault> {
    let sql = "UPDATE accounts SET storage_bytes = storage_bytes + $2, \
               open_uploads = open_uploads + $3 WHERE id = $1";
    db.execute(sql, &[&id(account.0), &bytes, &open]).await.map(drop)
}

fn charged(size: u64) -> Result<i64, Fault> {
    int(charged_bytes(size))
}
