//! Uploads in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    port::resource::{BlobInfo, UploadSpec},
    refusal::Refusal,
    time::Timestamp,
};

use super::{
    Sqlite, blob,
    column::{Id, Int, count, number, text},
    fault::Fault,
    storage::{self, Storage},
};
use crate::{
    StoreError,
    upload::{
        self, Checkpoint, CompletingUpload, Opening, Quota, StaleUpload, UploadPlace, UploadRecord,
        UploadState, Uploads,
    },
};

/// `uploads.state` of one that misses bytes. Persisted, and named in an index: stable.
const RECEIVING: i64 = 1;
/// `uploads.state` of one whose blob is visible. Persisted: stable.
const COMPLETE: i64 = 2;
/// `uploads.state` of one whose bytes are all there and become one object. Persisted, and named in
/// an index: stable.
const COMPLETING: i64 = 3;

#[async_trait]
impl Uploads for Sqlite {
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
        blob: BlobId,
        quota: Quota,
        now: Timestamp,
    ) -> Result<UploadState, StoreError> {
        self.write("open an upload", move |db| match find(db, account, spec.id)? {
            Some(upload) => upload.reopen(db, account, &spec, now),
            None => open(db, account, &spec, blob, quota, now),
        })
        .await
    }

    async fn checkpoint_upload(
        &self,
        account: AccountId,
        id: UploadId,
        opening: Opening,
        checkpoint: Checkpoint,
        completing: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("record a checkpoint", move |db| {
            may_checkpoint(db, account, id, opening, completing)?;
            let sql = "UPDATE uploads SET state = ?3, durable = ?4, hash_state = ?5, parts = ?6, \
                       touched_ms = ?7 WHERE account = ?1 AND id = ?2";
            db.prepare_cached(sql)?.execute(params![
                Id(account.0),
                id.0,
                if completing { COMPLETING } else { RECEIVING },
                Int(checkpoint.durable),
                checkpoint.hash_state,
                checkpoint.parts,
                Int(now.0)
            ])?;
            Ok(())
        })
        .await
    }

    async fn complete_upload(
        &self,
        account: AccountId,
        id: UploadId,
        blob: BlobId,
        dimensions: Option<(u32, u32)>,
        now: Timestamp,
    ) -> Result<BlobInfo, StoreError> {
        self.write("complete an upload", move |db| complete(db, account, id, blob, dimensions, now))
            .await
    }

    async fn completing_uploads(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<CompletingUpload>, StoreError> {
        self.read("find completing uploads", move |db| {
            let sql = "SELECT account, id, blob, size, media_type, parts FROM uploads \
                       WHERE state = 3 AND touched_ms < ?1 \
                       ORDER BY touched_ms, account, id LIMIT ?2";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_map(params![Int(before.0), count(limit)], |row| {
                Ok(CompletingUpload {
                    account: AccountId(number(row, 0)?),
                    id: UploadId(row.get(1)?),
                    blob: BlobId(row.get(2)?),
                    size: number(row, 3)?,
                    media_type: text(row, 4, MediaType::parse)?,
                    parts: row.get(5)?,
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn open_uploads(
        &self,
        after: Option<UploadPlace>,
        limit: usize,
    ) -> Result<Vec<UploadRecord>, StoreError> {
        let UploadPlace { touched, account, id } = after.unwrap_or(UploadPlace::BEGINNING);
        self.read("list open uploads", move |db| {
            // Each half is read from its index up to the limit, and not the complete ones.
            let sql = "SELECT account, id, blob, size, durable, state, touched_ms FROM uploads \
                       WHERE state = 1 AND (touched_ms, account, id) > (?1, ?2, ?3) \
                       UNION ALL \
                       SELECT account, id, blob, size, durable, state, touched_ms FROM uploads \
                       WHERE state = 3 AND (touched_ms, account, id) > (?1, ?2, ?3) \
                       ORDER BY touched_ms, account, id LIMIT ?4";
            let place = params![Int(touched.0), Id(account.0), id.0, count(limit)];
            Ok(records(db, sql, place)?)
        })
        .await
    }

    async fn discard_upload(
        &self,
        account: AccountId,
        id: UploadId,
        blob: BlobId,
        untouched_since: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        self.write("discard an upload", move |db| {
            let sql = "DELETE FROM uploads WHERE account = ?1 AND id = ?2 AND blob = ?4 \
                       AND ((?3 IS NULL AND state <> 2) OR (state = 1 AND touched_ms < ?3)) \
                       RETURNING size";
            let since = untouched_since.map(|time| Int(time.0));
            let size = db
                .prepare_cached(sql)?
                .query_row(params![Id(account.0), id.0, since, blob.0], |row| number(row, 0))
                .optional()?;
            if let Some(size) = size {
                storage::discarded(db, account, size)?;
            }
            Ok(size.is_some())
        })
        .await
    }

    async fn cancel_upload(
        &self,
        account: AccountId,
        id: UploadId,
    ) -> Result<Option<StaleUpload>, StoreError> {
        self.write("cancel an upload", move |db| {
            let sql = "DELETE FROM uploads WHERE account = ?1 AND id = ?2 AND state = 1 \
                       RETURNING account, id, blob, touched_ms, parts, size";
            let gone = db
                .prepare_cached(sql)?
                .query_row(params![Id(account.0), id.0], |row| Ok((stale(row)?, number(row, 5)?)))
                .optional()?;
            let Some((upload, size)) = gone else { return Ok(None) };
            storage::discarded(db, account, size)?;
            Ok(Some(upload))
        })
        .await
    }

    async fn stale_uploads(
        &self,
        before: Timestamp,
        after: Option<StaleUpload>,
        limit: usize,
    ) -> Result<Vec<StaleUpload>, StoreError> {
        self.read("find stale uploads", move |db| {
            let sql = "SELECT account, id, blob, touched_ms, parts FROM uploads \
                       WHERE state = 1 AND touched_ms < ?1 \
                       AND (touched_ms, account, id) > (?2, ?3, ?4) \
                       ORDER BY touched_ms, account, id LIMIT ?5";
            // Accounts are numbered from 1: the row of zeros comes before all others.
            let (touched, account, id) = after.map_or((0, 0, [0; 16]), |upload| {
                (upload.touched.0, upload.account.0, upload.id.0)
            });
            let mut statement = db.prepare_cached(sql)?;
            let place = params![Int(before.0), Int(touched), Id(account), id, count(limit)];
            let found = statement.query_map(place, stale)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn stale(row: &Row<'_>) -> rusqlite::Result<StaleUpload> {
    Ok(StaleUpload {
        account: AccountId(number(row, 0)?),
        id: UploadId(row.get(1)?),
        blob: BlobId(row.get(2)?),
        touched: Timestamp(number(row, 3)?),
        parts: row.get(4)?,
    })
}

/// A row of the table.
struct Upload {
    blob: BlobId,
    spec: UploadSpec,
    state: i64,
    checkpoint: Checkpoint,
}

impl Upload {
    fn reopen(
        self,
        db: &Connection,
        account: AccountId,
        spec: &UploadSpec,
        now: Timestamp,
    ) -> Result<UploadState, Fault> {
        if self.spec != *spec {
            return Err(upload::other_file().into());
        }
        if self.state == COMPLETE {
            return Ok(UploadState::Complete(self.completed(db)?));
        }
        let sql = "UPDATE uploads SET opening = opening + 1, touched_ms = ?3 \
                   WHERE account = ?1 AND id = ?2 RETURNING opening";
        let opening = db
            .prepare_cached(sql)?
            .query_row(params![Id(account.0), spec.id.0, Int(now.0)], |row| number(row, 0))?;
        let Self { blob, checkpoint, .. } = self;
        let opening = Opening { blob, number: opening };
        Ok(if self.state == COMPLETING {
            UploadState::Completing { checkpoint, opening }
        } else {
            UploadState::Receiving { checkpoint, opening }
        })
    }

    /// The blob of a complete upload; the two rows live and die together.
    fn completed(&self, db: &Connection) -> rusqlite::Result<BlobInfo> {
        blob::find(db, self.blob)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
}

fn find(db: &Connection, account: AccountId, id: UploadId) -> rusqlite::Result<Option<Upload>> {
    let sql = "SELECT blob, size, media_type, hash, state, durable, hash_state, parts \
               FROM uploads WHERE account = ?1 AND id = ?2";
    db.prepare_cached(sql)?
        .query_row(params![Id(account.0), id.0], |row| {
            Ok(Upload {
                blob: BlobId(row.get(0)?),
                spec: UploadSpec {
                    id,
                    size: number(row, 1)?,
                    media_type: text(row, 2, MediaType::parse)?,
                    hash: row.get(3)?,
                },
                state: row.get(4)?,
                checkpoint: Checkpoint {
                    durable: number(row, 5)?,
                    hash_state: row.get(6)?,
                    parts: row.get(7)?,
                },
            })
        })
        .optional()
}

fn open(
    db: &Connection,
    account: AccountId,
    spec: &UploadSpec,
    blob: BlobId,
    quota: Quota,
    now: Timestamp,
) -> Result<UploadState, Fault> {
    let Storage { bytes, open_uploads } = storage::of(db, account)?;
    quota.has_room(bytes, open_uploads, spec.size)?;
    let sql = "INSERT INTO uploads \
               (account, id, blob, size, media_type, hash, state, durable, hash_state, touched_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, x'', ?8)";
    db.prepare_cached(sql)?.execute(params![
        Id(account.0),
        spec.id.0,
        blob.0,
        Int(spec.size),
        spec.media_type.as_str(),
        spec.hash,
        RECEIVING,
        Int(now.0)
    ])?;
    storage::opened(db, account, spec.size)?;
    let opening = Opening { blob, number: 1 };
    Ok(UploadState::Receiving { checkpoint: Checkpoint::default(), opening })
}

/// Whether the upload still takes a checkpoint of this opening. One that completes may be repeated:
/// its answer may have been lost.
fn may_checkpoint(
    db: &Connection,
    account: AccountId,
    id: UploadId,
    opening: Opening,
    completing: bool,
) -> Result<(), Fault> {
    let sql = "SELECT state, opening FROM uploads \
               WHERE account = ?1 AND id = ?2 AND blob = ?3 AND state <> 2";
    let place = params![Id(account.0), id.0, opening.blob.0];
    let (state, latest): (i64, u64) = db
        .prepare_cached(sql)?
        .query_row(place, |row| Ok((row.get(0)?, number(row, 1)?)))
        .optional()?
        .ok_or_else(|| Refusal::not_found("upload"))?;
    if latest != opening.number {
        return Err(upload::superseded().into());
    }
    if state == COMPLETING && !completing {
        return Err(upload::has_all_bytes().into());
    }
    Ok(())
}

/// What a query of the columns of [`UploadRecord`] finds.
fn records(
    db: &Connection,
    sql: &str,
    arguments: impl Params,
) -> rusqlite::Result<Vec<UploadRecord>> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(arguments, |row| {
        Ok(UploadRecord {
            account: AccountId(number(row, 0)?),
            id: UploadId(row.get(1)?),
            blob: BlobId(row.get(2)?),
            size: number(row, 3)?,
            durable: number(row, 4)?,
            completing: row.get::<_, i64>(5)? == COMPLETING,
            touched: Timestamp(number(row, 6)?),
        })
    })?;
    found.collect()
}

fn complete(
    db: &Connection,
    account: AccountId,
    id: UploadId,
    blob: BlobId,
    dimensions: Option<(u32, u32)>,
    now: Timestamp,
) -> Result<BlobInfo, Fault> {
    let upload = find(db, account, id)?.filter(|upload| upload.blob == blob);
    let upload = upload.ok_or_else(|| Refusal::not_found("upload"))?;
    if upload.state == COMPLETE {
        return Ok(upload.completed(db)?);
    }
    let sql = "UPDATE uploads SET state = ?3, durable = size, hash_state = x'', parts = x'', \
               touched_ms = ?4 WHERE account = ?1 AND id = ?2";
    db.prepare_cached(sql)?.execute(params![Id(account.0), id.0, COMPLETE, Int(now.0)])?;
    storage::completed(db, account)?;
    let info = upload::completed(upload.blob, account, upload.spec, dimensions);
    blob::insert(db, &info, now)?;
    Ok(info)
}
