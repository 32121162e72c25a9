//! Messages that will never be sent: kept until their author was told, because the process that
//! learns of a refusal is seldom the one that they were written in.

use rusqlite::{OptionalExtension, Transaction, params};
use skein_core::{
    entry::Content,
    id::{ConversationId, EntryId},
    refusal::{Code, Refusal},
};
use skein_wire::body;

use super::Home;
use crate::Error;

/// Rejected messages that a home keeps. Beyond them the oldest go: nobody seems to ask.
const REJECTED_MAX: i64 = 1_000;

/// A message that the server has refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub id: EntryId,
    /// Where it was to be.
    pub conversation: ConversationId,
    /// The other side's name, if it was known.
    pub peer: Option<String>,
    /// What it said.
    pub content: Content,
    /// Why.
    pub refusal: Refusal,
}

impl Home {
    /// The rejected messages of which nobody was told, in the order of their refusal.
    pub(crate) async fn rejected(&self) -> Result<Vec<Rejected>, Error> {
        self.read(|database| {
            let sql = "SELECT draft, peer, code, message FROM rejected ORDER BY position";
            let mut query = database.prepare_cached(sql)?;
            let rows = query.query_map([], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
            })?;
            rows.map(|row| {
                let (draft, peer, code, message) = row?;
                let draft = body::decode_draft(&draft).map_err(Error::home)?;
                let code = Code::from_number(code).unwrap_or(Code::Internal);
                Ok(Rejected {
                    id: draft.id,
                    conversation: draft.conversation,
                    peer,
                    content: draft.content,
                    refusal: Refusal::new(code, message),
                })
            })
            .collect()
        })
        .await
    }

    /// Their author was told.
    pub(crate) async fn forget_rejected(&self, ids: Vec<EntryId>) -> Result<(), Error> {
        self.write(move |database| {
            let mut delete = database.prepare_cached("DELETE FROM rejected WHERE id = ?1")?;
            for id in ids {
                delete.execute(params![id.0])?;
            }
            Ok(())
        })
        .await
    }
}

/// Moves a draft to the rejected ones. If another process has done so already, nothing happens.
pub(super) fn reject(
    database: &Transaction<'_>,
    id: EntryId,
    refusal: &Refusal,
) -> Result<(), Error> {
    let sql = "DELETE FROM drafts WHERE id = ?1 RETURNING draft";
    let bytes: Option<Vec<u8>> =
        database.prepare_cached(sql)?.query_row(params![id.0], |row| row.get(0)).optional()?;
    let Some(bytes) = bytes else { return Ok(()) };
    let conversation = body::decode_draft(&bytes).map_err(Error::home)?.conversation;
    let sql = "INSERT OR REPLACE INTO rejected (id, draft, peer, code, message)
               VALUES (?1, ?2, (SELECT name FROM peers WHERE conversation = ?3), ?4, ?5)";
    database.prepare_cached(sql)?.execute(params![
        id.0,
        bytes,
        conversation.0.cast_signed(),
        refusal.code as u32,
        refusal.message
    ])?;
    let sql = "DELETE FROM rejected WHERE position <= (SELECT max(position) FROM rejected) - ?1";
    database.prepare_cached(sql)?.execute([REJECTED_MAX])?;
    Ok(())
}
