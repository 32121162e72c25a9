//! Uploads in PostgreSQL. Whatever opens or ends one locks its account first, so that the counters
//! of the account are right and two nodes take turns.

use async_trait::async_trait;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    port::resource::{BlobInfo, UploadSpec},
    refusal::Refusal,
    time::Timestamp,
};
use tokio_postgres::Row;

use super::{
    Postgres, blob,
    column::{bytes, count, get, id, int, number, text},
    db::Db,
    fault::Fault,
    storage,
    token::not_undone,
};
use crate::{
    StoreError,
    upload::{
        self, Checkpoint, CompletingUpload, Opening, Quota, StaleUpload, UploadPlace, UploadRecord,
        UploadState, Uploads,
    },
};

/// `uploads.state` of one that misses bytes. Persisted, and named in an index: stable.
const RECEIVING: i16 = 1;
/// `uploads.state` of one whose blob is visible. Persisted: stable.
const COMPLETE: i16 = 2;
/// `uploads.state` of one whose bytes are all there and become one object. Persisted, and named in
/// an index: stable.
const COMPLETING: i16 = 3;

#[async_trait]
impl Uploads for Postgres {
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
        blob: BlobId,
        quota: Quota,
        now: Timestamp,
    ) -> Result<UploadState, StoreError> {
        let spec = &spec;
        self.write("open an upload", |db| async move {
            let storage = storage::lock(&db, account).await?;
            match find(&db, account, spec.id).await? {
                Some(upload) => upload.reopen(&db, account, spec, now).await,
                None => {
                    quota.has_room(storage.bytes, storage.open_uploads, spec.size)?;
                    open(&db, account, spec, blob, now).await
                }
            }
        })
        .await
    }

    async fn checkpoint_upload(
        &self,
        account: AccountId,
        upload: UploadId,
        opening: Opening,
        checkpoint: Checkpoint,
        completing: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Twice is as good as once: it says how things are, and not how they change.
        let Checkpoint { durable, hash_state, parts } = &checkpoint;
        self.read("record a checkpoint", |db| async move {
            let sql = "UPDATE uploads SET state = $4::smallint, durable = $5, hash_state = $6, \
                       parts = $7, touched_ms = $8 \
                       WHERE account = $1 AND id = $2 AND opening = $3 AND blob = $9 \
                       AND (state = 1 OR (state = 3 AND $4::smallint = 3))";
            let state = if completing { COMPLETING } else { RECEIVING };
            let (owner, name) = (id(account.0), upload.0.as_slice());
            let (durable, now) = (int(*durable)?, int(now.0)?);
            let (opened, blob) = (id(opening.number), opening.blob.0.as_slice());
            let changed = db
                .execute(
                    sql,
                    &[&owner, &name, &opened, &state, &durable, hash_state, parts, &now, &blob],
                )
                .await?;
            if changed == 0 { Err(why_not(&db, account, upload, opening).await?) } else { Ok(()) }
        })
        .await
    }

    async fn complete_upload(
        &self,
        account: AccountId,
        upload: UploadId,
        blob: BlobId,
        dimensions: Option<(u32, u32)>,
        now: Timestamp,
    ) -> Result<BlobInfo, StoreError> {
        self.write("complete an upload", |db| async move {
            complete(&db, account, upload, blob, dimensions, now).await
        })
        .await
    }

    async fn completing_uploads(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<CompletingUpload>, StoreError> {
        self.read("find completing uploads", |db| async move {
            let sql = "SELECT account, id, blob, size, media_type, parts FROM uploads \
                       WHERE state = 3 AND touched_ms < $1 \
                       ORDER BY touched_ms, account, id LIMIT $2";
            let rows = db.query(sql, &[&int(before.0)?, &count(limit)]).await?;
            rows.iter().map(completing).collect()
        })
        .await
    }

    async fn open_uploads(
        &self,
        after: Option<UploadPlace>,
        limit: usize,
    ) -> Result<Vec<UploadRecord>, StoreError> {
        let UploadPlace { touched, account, id: upload } = after.unwrap_or(UploadPlace::BEGINNING);
        self.read("list open uploads", |db| async move {
            // Each half is read from its index up to the limit, and not the complete ones.
            let sql = "SELECT account, id, blob, size, durable, state, touched_ms FROM uploads \
                       WHERE state = 1 AND (touched_ms, account, id) > ($1, $2, $3) \
                       UNION ALL \
                       SELECT account, id, blob, size, durable, state, touched_ms FROM uploads \
                       WHERE state = 3 AND (touched_ms, account, id) > ($1, $2, $3) \
                       ORDER BY touched_ms, account, id LIMIT $4";
            let (touched, owner, name) = (int(touched.0)?, id(account.0), upload.0.as_slice());
            let rows = db.query(sql, &[&touched, &owner, &name, &count(limit)]).await?;
            rows.iter().map(record).collect()
        })
        .await
    }

    async fn discard_upload(
        &self,
        account: AccountId,
        upload: UploadId,
        blob: BlobId,
        untouched_since: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        self.write("discard an upload", |db| async move {
            storage::lock(&db, account).await?;
            let since = untouched_since.map(|time| int(time.0)).transpose()?;
            let sql = "DELETE FROM uploads WHERE account = $1 AND id = $2 AND blob = $4 \
                       AND (($3::bigint IS NULL AND state <> 2) \
                            OR (state = 1 AND touched_ms < $3)) RETURNING size";
            let (owner, name, blob) = (id(account.0), upload.0.as_slice(), blob.0.as_slice());
            let gone = db.query_opt(sql, &[&owner, &name, &since, &blob]).await?;
            let Some(row) = gone else { return Ok(not_undone(&db, 0)? > 0) };
            storage::discarded(&db, account, number(&row, 0)?).await?;
            Ok(true)
        })
        .await
    }

    async fn cancel_upload(
        &self,
        account: AccountId,
        upload: UploadId,
    ) -> Result<Option<StaleUpload>, StoreError> {
        self.write("cancel an upload", |db| async move {
            storage::lock(&db, account).await?;
            // Where the answer to a commit is lost, the next try finds nothing: what the first has left
            // of the bytes is for the sweeper.
            let sql = "DELETE FROM uploads WHERE account = $1 AND id = $2 AND state = 1 \
                       RETURNING account, id, blob, touched_ms, parts, size";
            let gone = db.query_opt(sql, &[&id(account.0), &upload.0.as_slice()]).await?;
            let Some(row) = gone else { return Ok(None) };
            storage::discarded(&db, account, number(&row, 5)?).await?;
            stale(&row).map(Some)
        })
        .await
    }

    async fn stale_uploads(
        &self,
        before: Timestamp,
        after: Option<StaleUpload>,
        limit: usize,
    ) -> Result<Vec<StaleUpload>, StoreError> {
        // Accounts are numbered from 1: the row of zeros comes before all others.
        let (touched, account, name) = after
            .map_or((0, 0, [0; 16]), |upload| (upload.touched.0, upload.account.0, upload.id.0));
        self.read("find stale uploads", |db| async move {
            let sql = "SELECT account, id, blob, touched_ms, parts FROM uploads \
                       WHERE state = 1 AND touched_ms < $1 \
                       AND (touched_ms, account, id) > ($2, $3, $4) \
                       ORDER BY touched_ms, account, id LIMIT $5";
            let (touched, account, name) = (int(touched)?, id(account), name.as_slice());
            let rows =
                db.query(sql, &[&int(before.0)?, &touched, &account, &name, &count(limit)]).await?;
            rows.iter().map(stale).collect()
        })
        .await
    }
}

/// A row of the table.
struct Upload {
    blob: BlobId,
    spec: UploadSpec,
    state: i16,
    checkpoint: Checkpoint,
}

impl Upload {
    async fn reopen(
        self,
        db: &Db,
        account: AccountId,
        spec: &UploadSpec,
        now: Timestamp,
    ) -> Result<UploadState, Fault> {
        if self.spec != *spec {
            return Err(upload::other_file().into());
        }
        if self.state == COMPLETE {
            return Ok(UploadState::Complete(self.completed(db).await?));
        }
        let sql = "UPDATE uploads SET opening = opening + 1, touched_ms = $3 \
                   WHERE account = $1 AND id = $2 RETURNING opening";
        let (owner, name) = (id(account.0), spec.id.0.as_slice());
        let row = db.query_one(sql, &[&owner, &name, &int(now.0)?]).await?;
        let Self { blob, checkpoint, .. } = self;
        let opening = Opening { blob, number: number(&row, 0)? };
        Ok(if self.state == COMPLETING {
            UploadState::Completing { checkpoint, opening }
        } else {
            UploadState::Receiving { checkpoint, opening }
        })
    }

    /// The blob of a complete upload; the two rows live and die together.
    async fn completed(&self, db: &Db) -> Result<BlobInfo, Fault> {
        let found = blob::find(db, self.blob).await?;
        found.ok_or_else(|| Fault::unreadable("a complete upload without its blob".into()))
    }
}

async fn find(db: &Db, account: AccountId, upload: UploadId) -> Result<Option<Upload>, Fault> {
    let sql = "SELECT blob, size, media_type, hash, state, durable, hash_state, parts \
               FROM uploads WHERE account = $1 AND id = $2";
    let found = db.query_opt(sql, &[&id(account.0), &upload.0.as_slice()]).await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(Upload {
        blob: BlobId(bytes(&row, 0)?),
        spec: UploadSpec {
            id: upload,
            size: number(&row, 1)?,
            media_type: text(&row, 2, MediaType::parse)?,
            hash: bytes(&row, 3)?,
        },
        state: get(&row, 4)?,
        checkpoint: Checkpoint {
            durable: number(&row, 5)?,
            hash_state: get(&row, 6)?,
            parts: get(&row, 7)?,
        },
    }))
}

async fn open(
    db: &Db,
    account: AccountId,
    spec: &UploadSpec,
    blob: BlobId,
    now: Timestamp,
) -> Result<UploadState, Fault> {
    let sql = "INSERT INTO uploads \
               (account, id, blob, size, media_type, hash, state, durable, hash_state, touched_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, 1, 0, '', $7)";
    db.execute(
        sql,
        &[
            &id(account.0),
            &spec.id.0.as_slice(),
            &blob.0.as_slice(),
            &int(spec.size)?,
            &spec.media_type.as_str(),
            &spec.hash.as_slice(),
            &int(now.0)?,
        ],
    )
    .await?;
    storage::opened(db, account, spec.size).await?;
    let opening = Opening { blob, number: 1 };
    Ok(UploadState::Receiving { checkpoint: Checkpoint::default(), opening })
}

/// Why an upload took no checkpoint of this opening. A completing one takes another that says so:
/// the answer to the first may have been lost.
async fn why_not(
    db: &Db,
    account: AccountId,
    upload: UploadId,
    opening: Opening,
) -> Result<Fault, Fault> {
    let sql = "SELECT state, opening FROM uploads \
               WHERE account = $1 AND id = $2 AND blob = $3 AND state <> 2";
    let (name, blob) = (upload.0.as_slice(), opening.blob.0.as_slice());
    let found = db.query_opt(sql, &[&id(account.0), &name, &blob]).await?;
    let Some(row) = found else { return Ok(Refusal::not_found("upload").into()) };
    if number(&row, 1)? != opening.number {
        return Ok(upload::superseded().into());
    }
    if get::<i16>(&row, 0)? == COMPLETING {
        return Ok(upload::has_all_bytes().into());
    }
    Ok(Fault::Again("the upload has just changed"))
}

async fn complete(
    db: &Db,
    account: AccountId,
    id_of_upload: UploadId,
    blob: BlobId,
    dimensions: Option<(u32, u32)>,
    now: Timestamp,
) -> Result<BlobInfo, Fault> {
    storage::lock(db, account).await?;
    let upload = find(db, account, id_of_upload).await?.filter(|upload| upload.blob == blob);
    let upload = upload.ok_or_else(|| Refusal::not_found("upload"))?;
    if upload.state == COMPLETE {
        return upload.completed(db).await;
    }
    let sql = "UPDATE uploads SET state = 2, durable = size, hash_state = '', parts = '', \
               touched_ms = $3 WHERE account = $1 AND id = $2";
    db.execute(sql, &[&id(account.0), &id_of_upload.0.as_slice(), &int(now.0)?]).await?;
    storage::completed(db, account).await?;
    let info = upload::completed(upload.blob, account, upload.spec, dimensions);
    blob::insert(db, &info, now).await?;
    Ok(info)
}

fn record(row: &Row) -> Result<UploadRecord, Fault> {
    Ok(UploadRecord {
        account: AccountId(number(row, 0)?),
        id: UploadId(bytes(row, 1)?),
        blob: BlobId(bytes(row, 2)?),
        size: number(row, 3)?,
        durable: number(row, 4)?,
        completing: get::<i16>(row, 5)? == COMPLETING,
        touched: Timestamp(number(row, 6)?),
    })
}

fn completing(row: &Row) -> Result<CompletingUpload, Fault> {
    Ok(CompletingUpload {
        account: AccountId(number(row, 0)?),
        id: UploadId(bytes(row, 1)?),
        blob: BlobId(bytes(row, 2)?),
        size: number(row, 3)?,
        media_type: text(row, 4, MediaType::parse)?,
        parts: get(row, 5)?,
    })
}

fn stale(row: &Row) -> Result<StaleUpload, Fault> {
    Ok(StaleUpload {
        account: AccountId(number(row, 0)?),
        id: UploadId(bytes(row, 1)?),
        blob: BlobId(bytes(row, 2)?),
        touched: Timestamp(number(row, 3)?),
        parts: get(row, 4)?,
    })
}
