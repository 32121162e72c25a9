//! The queue of transfers: what is to be sent and fetched, by whatever process is connected.
//!
//! The process that carries the queue out writes only where a transfer is active; what somebody wants
//! (paused, cancelled) is written by anybody, and stays. So each word is one conditional update, and
//! no two processes have to talk.

mod row;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use skein_core::{
    entry::Attachment,
    id::{ConversationId, EntryId, TransferId, UploadId},
    port::resource::Variant,
    transfer::TransferState,
};

use self::row::{COLUMNS, find_same, insert, number, read, state};
use super::Home;
use crate::{
    Error,
    transfer::{Failure, Transfer},
};

/// Transfers that may wait, or be paused, at a time.
pub(crate) const QUEUE_MAX: u64 = 10_000;
/// Transfers that are over and still listed. Beyond them the oldest go.
const OVER_KEPT_MAX: u64 = 200;

/// A row of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queued {
    /// What everybody may see of it.
    pub(crate) shown: Transfer,
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    Send {
        conversation: ConversationId,
        /// Of the file when it was queued: nanoseconds since the Unix epoch.
        mtime_ns: i64,
        upload: UploadId,
        entry: EntryId,
    },
    Fetch {
        attachment: Attachment,
        variant: Variant,
        /// Whether a file that is there already may be replaced.
        replace: bool,
    },
}

impl Home {
    /// Queues a transfer; finds the one that does the same already and is not over.
    pub(crate) async fn queue(
        &self,
        path: String,
        size: u64,
        task: Task,
    ) -> Result<TransferId, Error> {
        self.write(move |database| {
            if let Some(same) = find_same(database, &path, &task)? {
                return Ok(same);
            }
            let sql = "SELECT count(*) FROM transfers WHERE state < 6";
            let waiting: i64 = database.query_row(sql, [], |row| row.get(0))?;
            if waiting.cast_unsigned() >= QUEUE_MAX {
                return Err(Error::QueueFull);
            }
            insert(database, &path, size, &task)
        })
        .await
    }

    /// All transfers that are kept, in the order in which they were queued.
    pub(crate) async fn transfers(&self) -> Result<Vec<Queued>, Error> {
        self.read(|database| {
            let mut query =
                database.prepare_cached(&format!("SELECT {COLUMNS} FROM transfers ORDER BY id"))?;
            let rows = query.query_map([], |row| Ok(read(row)))?;
            rows.map(|row| row.map_err(Error::from)?).collect()
        })
        .await
    }

    /// One of them.
    pub(crate) async fn transfer(&self, id: TransferId) -> Result<Option<Queued>, Error> {
        self.read(move |database| {
            let sql = format!("SELECT {COLUMNS} FROM transfers WHERE id = ?1");
            let mut query = database.prepare_cached(&sql)?;
            query.query_row([id.0.cast_signed()], |row| Ok(read(row))).optional()?.transpose()
        })
        .await
    }

    /// Those that may still be carried out, with their states.
    pub(crate) async fn unfinished_transfers(
        &self,
    ) -> Result<Vec<(TransferId, TransferState)>, Error> {
        self.read(|database| {
            let sql = "SELECT id, state FROM transfers WHERE state < 6 ORDER BY id";
            let mut query = database.prepare_cached(sql)?;
            let rows =
                query.query_map([], |row| Ok((TransferId(number(row, 0)?), state(row, 1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The transfer by which this file is to be sent to this conversation, if it is queued.
    pub(crate) async fn queued_upload(
        &self,
        path: String,
        conversation: ConversationId,
    ) -> Result<Option<TransferId>, Error> {
        self.read(move |database| {
            let sql = "SELECT id FROM transfers
                       WHERE direction = 1 AND path = ?1 AND conversation = ?2 AND state < 6";
            let key = params![path, conversation.0.cast_signed()];
            Ok(database.query_row(sql, key, |row| number(row, 0)).optional()?.map(TransferId))
        })
        .await
    }

    /// The transfer by which a file is to come to this path, if it is queued.
    pub(crate) async fn queued_download(&self, path: String) -> Result<Option<TransferId>, Error> {
        self.read(move |database| {
            let sql = "SELECT id FROM transfers WHERE direction = 2 AND path = ?1 AND state < 6";
            Ok(database.query_row(sql, [path], |row| number(row, 0)).optional()?.map(TransferId))
        })
        .await
    }

    /// Changes the state as somebody wants it, if it is one of `from` now. Answers whether it was.
    pub(crate) async fn wish(
        &self,
        id: TransferId,
        from: &'static [TransferState],
        to: TransferState,
    ) -> Result<bool, Error> {
        self.write(move |database| {
            let Some(now) = state_of(database, id)? else { return Err(Error::NoSuchTransfer(id)) };
            if !from.contains(&now) {
                return Ok(now == to);
            }
            if to == TransferState::Cancelled {
                let sql = "SELECT count(*) FROM drafts d, transfers t
                           WHERE t.id = ?1 AND d.id = t.entry";
                let key = [id.0.cast_signed()];
                if database.query_row(sql, key, |row| row.get::<_, i64>(0))? > 0 {
                    // The file is there, and its message on its way.
                    return Ok(false);
                }
                let sql = "DELETE FROM uploads
                           WHERE upload = (SELECT upload FROM transfers WHERE id = ?1)";
                database.execute(sql, key)?;
            }
            set_state(database, id, to)?;
            Ok(true)
        })
        .await
    }

    /// A try says where the transfer stands. What somebody has paused or cancelled meanwhile stays so,
    /// but not where it is done.
    pub(crate) async fn keep_transfer(
        &self,
        id: TransferId,
        to: TransferState,
        failure: Option<Failure>,
    ) -> Result<(), Error> {
        self.write(move |database| {
            let now = state_of(database, id)?;
            let may = now.is_some_and(TransferState::is_active) || to == TransferState::Done;
            if now.is_none() || !may {
                return Ok(());
            }
            set_state(database, id, to)?;
            if to == TransferState::Done {
                let sql = "UPDATE transfers SET done = size, discard = 0 WHERE id = ?1";
                database.execute(sql, [id.0.cast_signed()])?;
            }
            if let Some(Failure { code, message }) = failure {
                // Of a file that is another one by now, the server has what nobody can complete.
                let sql = "UPDATE transfers SET code = ?2, message = ?3,
                           discard = discard OR (direction = 1 AND ?2 IN ('file_changed', 'file_gone'))
                           WHERE id = ?1";
                database.execute(sql, params![id.0.cast_signed(), code, message])?;
            }
            tidy(database)
        })
        .await
    }

    /// How far a try has come.
    pub(crate) async fn keep_progress(
        &self,
        id: TransferId,
        done: u64,
        resent: u64,
    ) -> Result<(), Error> {
        self.write(move |database| {
            let sql = "UPDATE transfers SET done = ?2, resent = ?3 WHERE id = ?1";
            let row = params![id.0.cast_signed(), done.cast_signed(), resent.cast_signed()];
            database.prepare_cached(sql)?.execute(row)?;
            Ok(())
        })
        .await
    }

    /// No process is at any of them: what was under way waits for its turn.
    pub(crate) async fn no_transfer_runs(&self) -> Result<(), Error> {
        self.write(|database| {
            database.execute("UPDATE transfers SET state = 1 WHERE state IN (2, 3, 4)", [])?;
            Ok(())
        })
        .await
    }

    /// Looks at a failed file again: it is sent as what it is now.
    pub(crate) async fn renew_transfer(
        &self,
        id: TransferId,
        size: u64,
        mtime_ns: i64,
        upload: UploadId,
    ) -> Result<(), Error> {
        self.write(move |database| {
            let sql =
                "UPDATE transfers SET size = ?2, mtime_ns = ?3, upload = ?4, done = 0, discard = 0
                       WHERE id = ?1 AND state = 7 AND NOT EXISTS (SELECT 1 FROM uploads u WHERE
                       u.upload = transfers.upload AND u.size = ?2 AND u.mtime_ns = ?3)";
            let row = params![id.0.cast_signed(), size.cast_signed(), mtime_ns, upload.0];
            database.execute(sql, row)?;
            Ok(())
        })
        .await
    }

    /// Uploads of which the server is to be told that nobody wants them any more.
    pub(crate) async fn unwanted_uploads(&self) -> Result<Vec<(TransferId, UploadId)>, Error> {
        self.read(|database| {
            let sql = "SELECT id, upload FROM transfers WHERE discard ORDER BY id";
            let mut query = database.prepare_cached(sql)?;
            let rows = query
                .query_map([], |row| Ok((TransferId(number(row, 0)?), UploadId(row.get(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The server knows.
    pub(crate) async fn upload_discarded(&self, upload: UploadId) -> Result<(), Error> {
        self.write(move |database| {
            database.execute("UPDATE transfers SET discard = 0 WHERE upload = ?1", [upload.0])?;
            tidy(database)
        })
        .await
    }

    /// Forgets a transfer that is over. Answers whether it was.
    pub(crate) async fn dismiss_transfer(&self, id: TransferId) -> Result<bool, Error> {
        self.write(move |database| {
            let sql = "DELETE FROM transfers WHERE id = ?1 AND state >= 6 AND NOT discard";
            Ok(database.execute(sql, [id.0.cast_signed()])? > 0)
        })
        .await
    }

    /// A number that changes when another process has written.
    pub(crate) async fn version(&self) -> Result<i64, Error> {
        self.read(|database| Ok(database.query_row("PRAGMA data_version", [], |row| row.get(0))?))
            .await
    }
}

/// The message that shows a file is in its log: whatever became of the try that sent it, it is done.
pub(super) fn acked(database: &Transaction<'_>, entry: EntryId) -> Result<(), Error> {
    let sql =
        "UPDATE transfers SET state = 6, done = size, discard = 0, code = NULL, message = NULL
               WHERE entry = ?1";
    database.prepare_cached(sql)?.execute(params![entry.0])?;
    Ok(())
}

/// Files that are queued to be sent, of an account that is to be forgotten.
pub(super) fn unsent(database: &Connection) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM transfers WHERE direction = 1 AND state < 6";
    Ok(database.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// The transfer of the file that this message shows, if it is not to go on.
pub(super) fn withdrawn(
    database: &Connection,
    entry: EntryId,
) -> Result<Option<TransferId>, Error> {
    let sql = "SELECT id FROM transfers WHERE entry = ?1 AND state IN (?2, ?3)";
    let key = params![entry.0, TransferState::Paused as u32, TransferState::Cancelled as u32];
    let mut query = database.prepare_cached(sql)?;
    Ok(query.query_row(key, |row| number(row, 0)).optional()?.map(TransferId))
}

fn state_of(database: &Connection, id: TransferId) -> Result<Option<TransferState>, Error> {
    let sql = "SELECT state FROM transfers WHERE id = ?1";
    let mut query = database.prepare_cached(sql)?;
    Ok(query.query_row([id.0.cast_signed()], |row| state(row, 0)).optional()?)
}

fn set_state(database: &Transaction<'_>, id: TransferId, to: TransferState) -> Result<(), Error> {
    let sql = "UPDATE transfers SET state = ?2, code = NULL, message = NULL,
               discard = (direction = 1 AND ?2 = 8) WHERE id = ?1";
    database.prepare_cached(sql)?.execute(params![id.0.cast_signed(), to as u32])?;
    Ok(())
}

/// Forgets the oldest of those that are over.
fn tidy(database: &Transaction<'_>) -> Result<(), Error> {
    let sql = "DELETE FROM transfers WHERE state >= 6 AND NOT discard AND id NOT IN
               (SELECT id FROM transfers WHERE state >= 6 ORDER BY id DESC LIMIT ?1)";
    database.prepare_cached(sql)?.execute([OVER_KEPT_MAX.cast_signed()])?;
    Ok(())
}

#[cfg(test)]
mod tests;
