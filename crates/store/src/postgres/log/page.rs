//! Pages of a log, forwards and backwards, bounded in entries and in bytes: by the database, so that
//! what does not fit is not sent either.

use skein_core::{
    id::{LogId, Seq},
    limit::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX},
};

use super::{entry, key};
use crate::{
    log::Page,
    postgres::{
        column::{count, get, id, number},
        db::Db,
        fault::Fault,
    },
};

/// Bytes that an entry takes in a frame beside its body: seq, id, author, time and framing, each
/// at its longest.
const ENTRY_OVERHEAD_BYTES: i64 = 64;

/// Head and page are read by one statement, so that they are of one moment. The first entry always
/// has room, so that a reader gets on.
macro_rules! page_sql {
    ($beyond:literal, $order:literal) => {
        concat!(
            "SELECT l.head, p.seq, p.id, p.author, p.at_ms, p.body FROM logs l LEFT JOIN LATERAL (",
            "SELECT * FROM (SELECT seq, id, author, at_ms, body, row_number() OVER w AS place, ",
            "sum(octet_length(body) + $5::bigint) OVER w AS bytes FROM (",
            "SELECT * FROM entries e WHERE e.kind = $1 AND e.log = $2 AND e.seq ",
            $beyond,
            " $3 ORDER BY e.seq ",
            $order,
            " LIMIT $4) found WINDOW w AS (ORDER BY seq ",
            $order,
            ")) counted WHERE bytes <= $6::bigint OR place = 1",
            ") p ON true WHERE l.kind = $1 AND l.log = $2 ORDER BY p.seq"
        )
    };
}

/// The oldest entries after `after`.
pub(super) async fn after(db: &Db, log: LogId, after: Seq, limit: usize) -> Result<Page, Fault> {
    page(db, page_sql!(">", "ASC"), log, after, limit).await
}

/// The newest entries before `before`, in `seq` order all the same.
pub(super) async fn before(db: &Db, log: LogId, before: Seq, limit: usize) -> Result<Page, Fault> {
    page(db, page_sql!("<", "DESC"), log, before, limit).await
}

async fn page(db: &Db, sql: &str, log: LogId, from: Seq, limit: usize) -> Result<Page, Fault> {
    let (kind, log) = key(log);
    let limit = count(limit.clamp(1, PAGE_ENTRIES_MAX));
    let bytes_max = count(PAGE_BYTES_MAX);
    // A client may name a position beyond every number that the database can hold.
    let from = id(from.0);
    let rows =
        db.query(sql, &[&kind, &log, &from, &limit, &ENTRY_OVERHEAD_BYTES, &bytes_max]).await?;
    let head = rows.first().map_or(Ok(0), |row| number(row, 0))?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        // A log without such entries still has its head.
        if get::<Option<i64>>(row, 1)?.is_some() {
            entries.push(entry(row, 1)?);
        }
    }
    Ok(Page { entries, head: Seq(head) })
}
