//! The logs as far as they are here, and their cursors.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use skein_core::{
    entry::{Body, Entry},
    id::{AccountId, EntryId, LogId, Seq},
    limit::PAGE_ENTRIES_MAX,
    refusal::Refusal,
    time::Timestamp,
};
use skein_wire::{
    body,
    entry::{log_id, log_number},
};

use super::{Home, people, rejected, transfers};
use crate::Error;

/// Something that a session has found out and that must outlive the process.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// An entry that comes next in its log.
    Entry(LogId, Entry),
    /// A draft that is in its log.
    Acked(EntryId),
    /// A draft that will never be in its log, and why.
    Rejected(EntryId, Refusal),
}

/// Part of a log that is here.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    /// What was asked for, in order.
    pub(crate) entries: Vec<Entry>,
    /// Everything after this one, up to the last, is here.
    pub(crate) floor: Seq,
}

impl Home {
    /// Keeps all changes, or none.
    pub(crate) async fn apply(&self, changes: Vec<Change>) -> Result<(), Error> {
        self.write(move |database| {
            for change in changes {
                match change {
                    Change::Entry(log, entry) => add(database, log, &entry)?,
                    Change::Acked(id) => {
                        let sql = "DELETE FROM drafts WHERE id = ?1";
                        database.prepare_cached(sql)?.execute(params![id.0])?;
                        // Sending the same file again means another message from here on.
                        let sql = "DELETE FROM uploads WHERE entry = ?1";
                        database.prepare_cached(sql)?.execute(params![id.0])?;
                        transfers::acked(database, id)?;
                    }
                    Change::Rejected(id, refusal) => rejected::reject(database, id, &refusal)?,
                }
            }
            Ok(())
        })
        .await
    }

    /// The last entry here of each log.
    pub(crate) async fn cursors(&self, account: AccountId) -> Result<Vec<(LogId, Seq)>, Error> {
        self.read(move |database| {
            let mut query = database.prepare_cached("SELECT log, cursor FROM logs")?;
            let rows = query.query_map([], |row| {
                Ok((log_id(account, number(row, 0)?), Seq(number(row, 1)?)))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The last `limit` entries before `before`, as far as they are here.
    pub(crate) async fn entries_before(
        &self,
        log: LogId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Stretch, Error> {
        self.read(move |database| {
            let log = log_number(log).cast_signed();
            let floor = database
                .query_row("SELECT floor FROM logs WHERE log = ?1", [log], |row| number(row, 0))
                .optional()?;
            let sql = "SELECT seq, id, author, at_ms, body FROM entries
                       WHERE log = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
            let before = before.map_or(i64::MAX, |seq| seq.0.cast_signed());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut query = database.prepare_cached(sql)?;
            let rows = query.query_map(params![log, before, limit], entry_row)?;
            let entries: Result<Vec<Entry>, Error> = rows.map(|row| entry_of(row?)).collect();
            let mut entries = entries?;
            entries.reverse();
            Ok(Stretch { entries, floor: Seq(floor.unwrap_or(0)) })
        })
        .await
    }

    /// A page of the entries after `after`, the oldest first, as far as they are here.
    pub(crate) async fn entries_after(&self, log: LogId, after: Seq) -> Result<Vec<Entry>, Error> {
        self.read(move |database| {
            let sql = "SELECT seq, id, author, at_ms, body FROM entries
                       WHERE log = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
            let (log, after) = (log_number(log).cast_signed(), after.0.cast_signed());
            let mut query = database.prepare_cached(sql)?;
            let rows = query.query_map(params![log, after, PAGE_ENTRIES_MAX as i64], entry_row)?;
            rows.map(|row| entry_of(row?)).collect()
        })
        .await
    }
}

fn add(database: &Transaction<'_>, log: LogId, entry: &Entry) -> Result<(), Error> {
    let (log, seq) = (log_number(log).cast_signed(), entry.seq.0.cast_signed());
    let sql = "SELECT cursor FROM logs WHERE log = ?1";
    let cursor: Option<i64> =
        database.prepare_cached(sql)?.query_row([log], |row| row.get(0)).optional()?;
    // Another process may be ahead, or may have begun further back and be about to fill the gap.
    if cursor.is_some_and(|cursor| seq != cursor + 1) {
        return Ok(());
    }
    let sql = "INSERT INTO entries (log, seq, id, author, at_ms, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (author, at) = (entry.author.0.cast_signed(), entry.at.0.cast_signed());
    let body = body::encode(&entry.body);
    database.prepare_cached(sql)?.execute(params![log, seq, entry.id.0, author, at, body])?;
    let sql = "INSERT INTO logs (log, floor, cursor) VALUES (?1, ?2 - 1, ?2)
               ON CONFLICT (log) DO UPDATE SET cursor = excluded.cursor";
    database.prepare_cached(sql)?.execute([log, seq])?;
    if let Body::Contact(step) = &entry.body {
        people::remember(database, step.peer, &step.peer_name, step.conversation)?;
    }
    Ok(())
}

type EntryRow = (u64, [u8; 16], u64, u64, Vec<u8>);

fn entry_row(row: &Row<'_>) -> Result<EntryRow, rusqlite::Error> {
    Ok((number(row, 0)?, row.get(1)?, number(row, 2)?, number(row, 3)?, row.get(4)?))
}

fn entry_of((seq, id, author, at, bytes): EntryRow) -> Result<Entry, Error> {
    Ok(Entry {
        seq: Seq(seq),
        id: EntryId(id),
        author: AccountId(author),
        at: Timestamp(at),
        body: body::decode(&bytes).map_err(Error::home)?,
    })
}

fn number(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
