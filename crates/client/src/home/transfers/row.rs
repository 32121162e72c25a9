//! A row of the queue, as it is written and read.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use skein_core::{
    entry::Attachment,
    id::{BlobId, ConversationId, EntryId, TransferId, UploadId},
    name::{FileName, MediaType},
    port::resource::Variant,
    transfer::TransferState,
};

use super::{Queued, Task};
use crate::{
    Error,
    transfer::{Direction, Failure, Transfer},
};

/// What a row holds, in the order of [`read`].
pub(super) const COLUMNS: &str =
    "id, direction, conversation, path, size, mtime_ns, upload, entry, blob, name,
    media_type, hash, thumbnail, overwrite, state, done, resent, code, message";

/// The transfer that does the same already and is not over.
pub(super) fn find_same(
    database: &Transaction<'_>,
    path: &str,
    task: &Task,
) -> Result<Option<TransferId>, Error> {
    let (direction, conversation) = match task {
        Task::Send { conversation, .. } => (1, Some(conversation.0.cast_signed())),
        Task::Fetch { .. } => (2, None),
    };
    let sql = "SELECT id FROM transfers WHERE direction = ?1 AND path = ?2
               AND conversation IS ?3 AND state < 6";
    let found =
        database.query_row(sql, params![direction, path, conversation], |row| number(row, 0));
    let Some(id) = found.optional()?.map(TransferId) else { return Ok(None) };
    let Task::Fetch { attachment, .. } = task else { return Ok(Some(id)) };
    let sql = "SELECT count(*) FROM transfers WHERE id = ?1 AND blob = ?2";
    let key = params![id.0.cast_signed(), attachment.blob.0];
    let same: i64 = database.query_row(sql, key, |row| row.get(0))?;
    // Another file is on its way to this name.
    if same > 0 { Ok(Some(id)) } else { Err(Error::InQueue(id)) }
}

/// Adds a row.
pub(super) fn insert(
    database: &Transaction<'_>,
    path: &str,
    size: u64,
    task: &Task,
) -> Result<TransferId, Error> {
    let size = size.cast_signed();
    match task {
        Task::Send { conversation, mtime_ns, upload, entry } => {
            let sql = "INSERT INTO transfers
                (direction, path, size, conversation, mtime_ns, upload, entry)
                VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)";
            let conversation = conversation.0.cast_signed();
            database
                .execute(sql, params![path, size, conversation, mtime_ns, upload.0, entry.0])?;
        }
        Task::Fetch { attachment, variant, replace } => {
            let sql = "INSERT INTO transfers
                (direction, path, size, blob, name, media_type, hash, thumbnail, overwrite)
                VALUES (2, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let Attachment { blob, name, media_type, hash, .. } = attachment;
            let thumbnail = *variant == Variant::Thumbnail;
            let (name, kind) = (name.as_str(), media_type.as_str());
            let row = params![path, size, blob.0, name, kind, hash, thumbnail, replace];
            database.execute(sql, row)?;
        }
    }
    Ok(TransferId(database.last_insert_rowid().cast_unsigned()))
}

/// The row that [`COLUMNS`] selects.
pub(super) fn read(row: &Row<'_>) -> Result<Queued, Error> {
    let size = number(row, 4)?;
    let (direction, task) = if row.get::<_, i64>(1)? == 1 {
        let task = Task::Send {
            conversation: ConversationId(number(row, 2)?),
            mtime_ns: row.get(5)?,
            upload: UploadId(row.get(6)?),
            entry: EntryId(row.get(7)?),
        };
        (Direction::Up, task)
    } else {
        let attachment = Attachment {
            blob: BlobId(row.get(8)?),
            name: FileName::parse(row.get::<_, String>(9)?)?,
            size,
            media_type: MediaType::parse(row.get::<_, String>(10)?)?,
            hash: row.get(11)?,
        };
        let variant = if row.get(12)? { Variant::Thumbnail } else { Variant::Original };
        (Direction::Down, Task::Fetch { attachment, variant, replace: row.get(13)? })
    };
    let failure = match (row.get(17)?, row.get(18)?) {
        (Some(code), Some(message)) => Some(Failure { code, message }),
        _ => None,
    };
    let shown = Transfer {
        id: TransferId(number(row, 0)?),
        direction,
        conversation: row.get::<_, Option<i64>>(2)?.map(|id| ConversationId(id.cast_unsigned())),
        path: row.get::<_, String>(3)?.into(),
        state: state(row, 14)?,
        done: number(row, 15)?,
        size,
        resent: number(row, 16)?,
        bytes_per_second: None,
        failure,
    };
    Ok(Queued { shown, task })
}

/// A number that is kept as a signed one.
pub(super) fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::cast_unsigned)
}

/// A state by its number.
pub(super) fn state(row: &Row<'_>, index: usize) -> rusqlite::Result<TransferState> {
    // A later version's state is none that this one may act on.
    Ok(TransferState::from_number(row.get(index)?).unwrap_or(TransferState::Paused))
}
