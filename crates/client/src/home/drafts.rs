//! The durable outbox.

use rusqlite::{OptionalExtension, params};
use skein_core::{entry::Draft, id::EntryId, sync::DRAFTS_MAX};
use skein_wire::body;

use super::{Home, transfers::withdrawn};
use crate::Error;

impl Home {
    /// Keeps a draft. One with the same id that is here already stays as it is.
    ///
    /// # Errors
    /// [`Error::TransferOver`] if it shows a file whose transfer somebody has paused or cancelled:
    /// who was told so must not see the message after all.
    pub(crate) async fn keep_draft(&self, draft: Draft) -> Result<(), Error> {
        self.write(move |database| {
            if let Some(id) = withdrawn(database, draft.id)? {
                return Err(Error::TransferOver(id));
            }
            let count: i64 =
                database.query_row("SELECT count(*) FROM drafts", [], |row| row.get(0))?;
            if count.cast_unsigned() >= DRAFTS_MAX as u64 {
                return Err(Error::OutboxFull);
            }
            let sql = "INSERT INTO drafts (id, draft) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            database.execute(sql, params![draft.id.0, body::encode_draft(&draft)])?;
            // It may have been refused before, with other content.
            database.execute("DELETE FROM rejected WHERE id = ?1", params![draft.id.0])?;
            Ok(())
        })
        .await
    }

    /// The draft with this id, while it waits.
    pub(crate) async fn draft(&self, id: EntryId) -> Result<Option<Draft>, Error> {
        self.read(move |database| {
            let sql = "SELECT draft FROM drafts WHERE id = ?1";
            let mut query = database.prepare_cached(sql)?;
            let bytes: Option<Vec<u8>> =
                query.query_row(params![id.0], |row| row.get(0)).optional()?;
            bytes.map(|bytes| body::decode_draft(&bytes).map_err(Error::home)).transpose()
        })
        .await
    }

    /// The drafts that wait, in the order in which they were written.
    pub(crate) async fn drafts(&self) -> Result<Vec<Draft>, Error> {
        self.read(|database| {
            let mut query =
                database.prepare_cached("SELECT draft FROM drafts ORDER BY position")?;
            let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            rows.map(|bytes| body::decode_draft(&bytes?).map_err(Error::home)).collect()
        })
        .await
    }
}
