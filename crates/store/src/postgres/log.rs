//! Logs in PostgreSQL: the trait, and how any other noun's transaction appends to one.
//!
//! Drafts of people are appended in batches: [`Appender`] gathers them, `batch` commits them.

mod appender;
mod batch;
mod draft;
mod page;

use async_trait::async_trait;
use skein_core::{
    contact::Conversation,
    entry::{Body, Draft, Entry},
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    policy::Membership,
    time::Timestamp,
};
use tokio_postgres::Row;

pub(super) use self::appender::Appender;
use super::{
    Postgres,
    column::{bytes, get, id, int, number, profile},
    db::Db,
    fault::Fault,
};
use crate::{
    StoreError,
    log::{Appended, Committed, Logs, Page},
};

/// `logs.kind` and `entries.kind` of a personal log. Persisted: stable.
const KIND_PERSONAL: i16 = 1;
/// `logs.kind` and `entries.kind` of a conversation. Persisted: stable.
const KIND_CONVERSATION: i16 = 2;
/// `members.state` of one who may speak. Persisted: stable.
pub(super) const MEMBER_ACTIVE: i16 = 1;
/// `members.state` of one who may only read. Persisted: stable.
pub(super) const MEMBER_DORMANT: i16 = 2;
/// Keeps ids of personal entries apart from anything else that is hashed. Stable: a retry after an
/// upgrade must make the same ids.
const DERIVED_ID_CONTEXT: &str = "skein 2026 store: id of a personal entry";

#[async_trait]
impl Logs for Postgres {
    async fn append(
        &self,
        author: AccountId,
        draft: Draft,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        self.appender.append(author, draft, now).await
    }

    async fn read_after(&self, log: LogId, after: Seq, limit: usize) -> Result<Page, StoreError> {
        self.read("read a log", |db| async move { page::after(&db, log, after, limit).await }).await
    }

    async fn read_before(&self, log: LogId, before: Seq, limit: usize) -> Result<Page, StoreError> {
        self.read("read a log backwards", |db| async move {
            page::before(&db, log, before, limit).await
        })
        .await
    }

    async fn heads(&self, logs: &[LogId]) -> Result<Vec<Seq>, StoreError> {
        let (kinds, numbers): (Vec<i16>, Vec<i64>) = logs.iter().map(|log| key(*log)).unzip();
        let (kinds, numbers) = (&kinds, &numbers);
        self.read("read the heads of logs", |db| async move {
            let sql = "SELECT coalesce(l.head, 0) \
                       FROM unnest($1::smallint[], $2::bigint[]) WITH ORDINALITY \
                       AS asked (kind, log, place) \
                       LEFT JOIN logs l ON l.kind = asked.kind AND l.log = asked.log \
                       ORDER BY asked.place";
            let rows = db.query(sql, &[kinds, numbers]).await?;
            rows.iter().map(|row| Ok(Seq(number(row, 0)?))).collect()
        })
        .await
    }

    async fn membership(
        &self,
        account: AccountId,
        conversation: ConversationId,
    ) -> Result<Membership, StoreError> {
        self.read("read a membership", |db| async move {
            let sql = "SELECT state FROM members WHERE conversation = $1 AND account = $2";
            let found = db.query_opt(sql, &[&id(conversation.0), &id(account.0)]).await?;
            found.map_or(Ok(Membership::Outsider), |row| membership(get(&row, 0)?))
        })
        .await
    }

    async fn conversations(&self, account: AccountId) -> Result<Vec<Conversation>, StoreError> {
        self.read("list conversations", |db| async move {
            let sql = "SELECT m.conversation, a.id, a.name, coalesce(l.head, 0) \
                       FROM members m \
                       JOIN members o \
                         ON o.conversation = m.conversation AND o.account <> m.account \
                       JOIN conversations c ON c.id = m.conversation AND c.kind = 1 \
                       JOIN accounts a ON a.id = o.account \
                       LEFT JOIN logs l ON l.kind = 2 AND l.log = m.conversation \
                       WHERE m.account = $1 ORDER BY m.conversation";
            let rows = db.query(sql, &[&id(account.0)]).await?;
            let conversation = |row| {
                Ok(Conversation {
                    id: ConversationId(number(row, 0)?),
                    peer: profile(row, 1)?,
                    head: Seq(number(row, 3)?),
                })
            };
            rows.iter().map(conversation).collect()
        })
        .await
    }
}

/// Makes an empty log, together with what it belongs to.
pub(super) async fn make(db: &Db, log: LogId) -> Result<(), Fault> {
    let (kind, number) = key(log);
    let sql = "INSERT INTO logs (kind, log, head) VALUES ($1, $2, 0)";
    db.execute(sql, &[&kind, &number]).await.map(drop)
}

/// Keeps others from appending to these logs, and from changing what is guarded by their locks,
/// until this transaction ends. One that is not there is left out.
pub(super) async fn lock(db: &Db, logs: &[LogId]) -> Result<(), Fault> {
    let (kinds, numbers): (Vec<i16>, Vec<i64>) = logs.iter().map(|log| key(*log)).unzip();
    let sql = "SELECT l.head FROM logs l \
               WHERE (l.kind, l.log) IN (SELECT * FROM unnest($1::smallint[], $2::bigint[])) \
               ORDER BY l.kind, l.log FOR NO KEY UPDATE OF l";
    db.query(sql, &[&kinds, &numbers]).await.map(drop)
}

/// Appends an entry to any log, inside a transaction. Decides nothing.
pub(super) async fn push(
    db: &Db,
    log: LogId,
    entry: EntryId,
    author: AccountId,
    at: Timestamp,
    body: Body,
) -> Result<Committed, Fault> {
    let (kind, number_of_log) = key(log);
    let sql = "INSERT INTO logs AS l (kind, log, head) VALUES ($1, $2, 1) \
               ON CONFLICT (kind, log) DO UPDATE SET head = l.head + 1 RETURNING head";
    let seq = number(&db.query_one(sql, &[&kind, &number_of_log]).await?, 0)?;
    let sql = "INSERT INTO entries (kind, log, seq, id, author, at_ms, body) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    db.execute(
        sql,
        &[
            &kind,
            &number_of_log,
            &int(seq)?,
            &entry.0.as_slice(),
            &id(author.0),
            &int(at.0)?,
            &skein_wire::body::encode(&body),
        ],
    )
    .await?;
    Ok(Committed { log, entry: Entry { seq: Seq(seq), id: entry, author, at, body } })
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
    hasher.update(&i64::from(kind).to_le_bytes());
    hasher.update(&number_of_log.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    EntryId(id)
}

/// How a log is named in the columns `kind` and `log`.
fn key(log: LogId) -> (i16, i64) {
    match log {
        LogId::Personal(account) => (KIND_PERSONAL, id(account.0)),
        LogId::Conversation(conversation) => (KIND_CONVERSATION, id(conversation.0)),
    }
}

/// What a row of `members` with this state means.
fn membership(state: i16) -> Result<Membership, Fault> {
    match state {
        MEMBER_ACTIVE => Ok(Membership::Active),
        MEMBER_DORMANT => Ok(Membership::Dormant),
        other => Err(Fault::unreadable(format!("a member in state {other}"))),
    }
}

/// An entry from the columns `seq, id, author, at_ms, body`, of which `index` is the first.
fn entry(row: &Row, index: usize) -> Result<Entry, Fault> {
    let body = skein_wire::body::decode(get(row, index + 4)?)
        .map_err(|error| Fault::unreadable(format!("the body of an entry: {error}")))?;
    Ok(Entry {
        seq: Seq(number(row, index)?),
        id: EntryId(bytes(row, index + 1)?),
        author: AccountId(number(row, index + 2)?),
        at: Timestamp(number(row, index + 3)?),
        body,
    })
}
