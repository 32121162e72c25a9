//! Pages of a log, forwards and backwards, bounded in entries and in bytes.

use rusqlite::{CachedStatement, Connection, ToSql, params};
use skein_core::{
    entry::Entry,
    id::{LogId, Seq},
    limit::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX},
};

use super::{entry, head, key};
use crate::{
    log::Page,
    sqlite::column::{Int, count},
};

/// Bytes that an entry takes in a frame beside its body: seq, id, author, time and framing, each
/// at its longest.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// The oldest entries after `after`.
pub(super) fn after(
    db: &Connection,
    log: LogId,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<Page> {
    let (kind, number) = key(log);
    let statement = db.prepare_cached(
        "SELECT seq, id, author, at_ms, body FROM entries \
         WHERE kind = ?1 AND log = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
    )?;
    let entries = collect(statement, params![kind, number, bound(after), limit_of(limit)])?;
    Ok(Page { entries, head: head(db, log)? })
}

/// The newest entries before `before`, in `seq` order all the same.
pub(super) fn before(
    db: &Connection,
    log: LogId,
    before: Seq,
    limit: usize,
) -> rusqlite::Result<Page> {
    let (kind, number) = key(log);
    let statement = db.prepare_cached(
        "SELECT seq, id, author, at_ms, body FROM entries \
         WHERE kind = ?1 AND log = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4",
    )?;
    let mut entries = collect(statement, params![kind, number, bound(before), limit_of(limit)])?;
    entries.reverse();
    Ok(Page { entries, head: head(db, log)? })
}

/// Entries as long as the page has room; the first one always has, so that a reader gets on.
fn collect(
    mut statement: CachedStatement<'_>,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(4)?.as_blob()?.len() + ENTRY_OVERHEAD_BYTES;
        if bytes > PAGE_BYTES_MAX && !entries.is_empty() {
            break;
        }
        entries.push(entry(row)?);
    }
    Ok(entries)
}

/// A position that a client may name beyond every number that the database can hold.
fn bound(seq: Seq) -> Int {
    Int(seq.0.min(i64::MAX.unsigned_abs()))
}

fn limit_of(limit: usize) -> Int {
    count(limit.clamp(1, PAGE_ENTRIES_MAX))
}
