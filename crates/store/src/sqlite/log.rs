//! Logs in SQLite: the trait, and how any other noun's transaction appends to one.

mod append;
mod page;

use std::time::Instant;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use skein_core::{
    contact::Conversation,
    entry::{Body, Draft, Entry},
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    policy::Membership,
    time::Timestamp,
};

use super::{
    Sqlite,
    column::{Id, Int, number, profile},
};
use crate::{
    StoreError,
    log::{Appended, Committed, Logs, Page},
    metric,
};

/// `logs.kind` and `entries.kind` of a personal log. Persisted: stable.
const KIND_PERSONAL: i64 = 1;
/// `logs.kind` and `entries.kind` of a conversation. Persisted: stable.
const KIND_CONVERSATION: i64 = 2;
/// `members.state` of one who may speak. Persisted: stable.
pub(super) const MEMBER_ACTIVE: i64 = 1;
/// `members.state` of one who may only read. Persisted: stable.
pub(super) const MEMBER_DORMANT: i64 = 2;
/// Keeps ids of personal entries apart from anything else that is hashed. Stable: a retry after an
/// upgrade must make the same ids.
const DERIVED_ID_CONTEXT: &str = "skein 2026 store: id of a personal entry";

#[async_trait]
impl Logs for Sqlite {
    async fn append(
        &self,
        author: AccountId,
        draft: Draft,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        let asked = Instant::now();
        let digest = append::digest(&draft);
        let work = move |db: &Connection| append::append(db, author, draft, &digest, now);
        let appended = self.write("append to a log", work).await?;
        metric::append(asked.elapsed());
        Ok(appended)
    }

    async fn read_after(&self, log: LogId, after: Seq, limit: usize) -> Result<Page, StoreError> {
        self.read("read a log", move |db| Ok(page::after(db, log, after, limit)?)).await
    }

    async fn read_before(&self, log: LogId, before: Seq, limit: usize) -> Result<Page, StoreError> {
        self.read("read a log backwards", move |db| Ok(page::before(db, log, before, limit)?)).await
    }

    async fn heads(&self, logs: &[LogId]) -> Result<Vec<Seq>, StoreError> {
        let logs = logs.to_vec();
        self.read("read the heads of logs", move |db| {
            Ok(logs.into_iter().map(|log| head(db, log)).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn membership(
        &self,
        account: AccountId,
        conversation: ConversationId,
    ) -> Result<Membership, StoreError> {
        self.read("read a membership", move |db| Ok(membership(db, account, conversation)?)).await
    }

    async fn conversations(&self, account: AccountId) -> Result<Vec<Conversation>, StoreError> {
        self.read("list conversations", move |db| {
            let sql = "SELECT m.conversation, a.id, a.name, coalesce(l.head, 0) \
                       FROM members m \
                       JOIN members o \
                         ON o.conversation = m.conversation AND o.account <> m.account \
                       JOIN conversations c ON c.id = m.conversation AND c.kind = 1 \
                       JOIN accounts a ON a.id = o.account \
                       LEFT JOIN logs l ON l.kind = ?2 AND l.log = m.conversation \
                       WHERE m.account = ?1 ORDER BY m.conversation";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_map(params![Id(account.0), KIND_CONVERSATION], |row| {
                Ok(Conversation {
                    id: ConversationId(number(row, 0)?),
                    peer: profile(row, 1)?,
                    head: Seq(number(row, 3)?),
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// Appends an entry to any log, inside a transaction of the writer. Decides nothing.
pub(super) fn push(
    db: &Connection,
    log: LogId,
    id: EntryId,
    author: AccountId,
    at: Timestamp,
    body: Body,
) -> rusqlite::Result<Committed> {
    let (kind, number_of_log) = key(log);
    let sql = "INSERT INTO logs (kind, log, head) VALUES (?1, ?2, 1) \
               ON CONFLICT (kind, log) DO UPDATE SET head = head + 1 RETURNING head";
    let seq = db.prepare_cached(sql)?.query_row(params![kind, number_of_log], |r| number(r, 0))?;
    let sql = "INSERT INTO entries (kind, log, seq, id, author, at_ms, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    db.prepare_cached(sql)?.execute(params![
        kind,
        number_of_log,
        Int(seq),
        id.0,
        Id(author.0),
        Int(at.0),
        skein_wire::body::encode(&body)
    ])?;
    Ok(Committed { log, entry: Entry { seq: Seq(seq), id, author, at, body } })
}

/// The id of an entry that the server writes to a personal log, made from what the client sent, so
/// that the same request always makes the same ids. `number` tells entries of one log apart.
pub(super) fn derived_id(seed: EntryId, log: LogId, number: u64) -> EntryId {
    let (kind, number_of_log) = match log {
        LogId::Personal(account) => (KIND_PERSONAL, account.0),
        LogId::Conversation(conversation) => (KIND_CONVERSATION, conversation.0),
    };
    let mut hasher = blake3::Hasher::new_derive_key(DERIVED_ID_CONTEXT);
    hasher.update(&seed.0);
    hasher.update(&kind.to_le_bytes());
    hasher.update(&number_of_log.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    EntryId(id)
}

/// The last `seq` of a log, inside any transaction; zero for an empty one.
pub(super) fn head(db: &Connection, log: LogId) -> rusqlite::Result<Seq> {
    let (kind, number_of_log) = key(log);
    let head = db
        .prepare_cached("SELECT head FROM logs WHERE kind = ?1 AND log = ?2")?
        .query_row(params![kind, number_of_log], |row| number(row, 0))
        .optional()?;
    Ok(head.map_or(Seq::ZERO, Seq))
}

fn membership(
    db: &Connection,
    account: AccountId,
    conversation: ConversationId,
) -> rusqlite::Result<Membership> {
    let state: Option<i64> = db
        .prepare_cached("SELECT state FROM members WHERE conversation = ?1 AND account = ?2")?
        .query_row(params![Id(conversation.0), Id(account.0)], |row| row.get(0))
        .optional()?;
    match state {
        None => Ok(Membership::Outsider),
        Some(MEMBER_ACTIVE) => Ok(Membership::Active),
        Some(MEMBER_DORMANT) => Ok(Membership::Dormant),
        Some(other) => Err(rusqlite::Error::IntegralValueOutOfRange(0, other)),
    }
}

/// How a log is named in the columns `kind` and `log`.
fn key(log: LogId) -> (i64, Id) {
    match log {
        LogId::Personal(account) => (KIND_PERSONAL, Id(account.0)),
        LogId::Conversation(conversation) => (KIND_CONVERSATION, Id(conversation.0)),
    }
}

/// An entry from the columns `seq, id, author, at_ms, body`.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let body = skein_wire::body::decode(row.get_ref(4)?.as_blob()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(4, Type::Blob, Box::new(error))
    })?;
    Ok(Entry {
        seq: Seq(number(row, 0)?),
        id: EntryId(row.get(1)?),
        author: AccountId(number(row, 2)?),
        at: Timestamp(number(row, 3)?),
        body,
    })
}
