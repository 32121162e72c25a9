//! The durable outbox.

use rusqlite::params;
use skein_core::{entry::Draft, sync::DRAFTS_MAX};
use skein_wire::body;

use super::Home;
use crate::Error;

impl Home {
    /// Keeps a draft. One with the same id that is here already stays as it is.
    pub(crate) async fn keep_draft(&self, draft: Draft) -> Result<(), Error> {
        self.write(move |database| {
            let count: i64 =
                database.query_row("SELECT count(*) FROM drafts", [], |row| row.get(0))?;
            if count.cast_unsigned() >= DRAFTS_MAX as u64 {
                return Err(Error::OutboxFull);
            }
            let sql = "INSERT INTO drafts (id, draft) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            database.execute(sql, params![draft.id.0, body::encode_draft(&draft)])?;
            Ok(())
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
