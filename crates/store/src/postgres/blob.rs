//! Blobs in PostgreSQL.

use async_trait::async_trait;
use skein_core::{
    id::{AccountId, BlobId},
    name::MediaType,
    policy::BlobStanding,
    port::resource::{BlobInfo, Thumbnail},
    time::Timestamp,
};
use tokio_postgres::Row;

use super::{
    Postgres,
    column::{bytes, count, get, id, int, number, text},
    db::Db,
    fault::Fault,
    storage,
    token::not_undone,
};
use crate::{
    StoreError,
    blob::{Blobs, StorageUse},
};

/// The columns that [`info`] reads, in its order.
macro_rules! info_columns {
    () => {
        "id, uploader, size, media_type, hash, width, height, thumbnail"
    };
}
pub(super) use info_columns;

#[async_trait]
impl Blobs for Postgres {
    async fn blob(&self, id: BlobId) -> Result<Option<BlobInfo>, StoreError> {
        self.read("read a blob's record", |db| async move { find(&db, id).await }).await
    }

    async fn blob_standing(
        &self,
        account: AccountId,
        blob: BlobId,
    ) -> Result<BlobStanding, StoreError> {
        self.read("read who may see a blob", |db| async move {
            let sql = "SELECT \
                       EXISTS (SELECT 1 FROM blobs WHERE id = $1 AND uploader = $2), \
                       EXISTS (SELECT 1 FROM blob_refs r JOIN members m \
                               ON m.conversation = r.conversation AND m.account = $2 \
                               WHERE r.blob = $1)";
            let row = db.query_one(sql, &[&blob.0.as_slice(), &id(account.0)]).await?;
            Ok(BlobStanding { uploader: get(&row, 0)?, shared_with: get(&row, 1)? })
        })
        .await
    }

    async fn used_bytes(&self, account: AccountId) -> Result<u64, StoreError> {
        self.read("read what an account stores", |db| async move {
            let sql = "SELECT storage_bytes FROM accounts WHERE id = $1";
            let found = db.query_opt(sql, &[&id(account.0)]).await?;
            found.map_or(Ok(0), |row| number(&row, 0))
        })
        .await
    }

    async fn pending_thumbnails(&self, limit: usize) -> Result<Vec<BlobInfo>, StoreError> {
        self.read("find pending thumbnails", |db| async move {
            let sql = concat!(
                "SELECT ",
                info_columns!(),
                " FROM blobs WHERE thumbnail = 1 ORDER BY completed_ms LIMIT $1"
            );
            db.query(sql, &[&count(limit)]).await?.iter().map(info).collect()
        })
        .await
    }

    async fn begin_thumbnail(&self, blob: BlobId) -> Result<u64, StoreError> {
        // If it is done twice, one try counts as two: the blob is given up a little earlier.
        self.read("count a try at a thumbnail", |db| async move {
            let sql = "UPDATE blobs SET tries = tries + 1 WHERE id = $1 RETURNING tries - 1";
            let before = db.query_opt(sql, &[&blob.0.as_slice()]).await?;
            before.map_or(Ok(0), |row| number(&row, 0))
        })
        .await
    }

    async fn set_thumbnail(&self, blob: BlobId, state: Thumbnail) -> Result<(), StoreError> {
        self.read("record a thumbnail", |db| async move {
            // A blob that was collected meanwhile needs no record.
            let sql = "UPDATE blobs SET thumbnail = $2, tries = 0 WHERE id = $1";
            db.execute(sql, &[&blob.0.as_slice(), &(state as i16)]).await.map(drop)
        })
        .await
    }

    async fn unreferenced_blobs(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<BlobId>, StoreError> {
        self.read("find unreferenced blobs", |db| async move {
            let sql = "SELECT id FROM blobs WHERE refs = 0 AND completed_ms < $1 \
                       ORDER BY completed_ms LIMIT $2";
            let rows = db.query(sql, &[&int(before.0)?, &count(limit)]).await?;
            rows.iter().map(|row| Ok(BlobId(bytes(row, 0)?))).collect()
        })
        .await
    }

    async fn delete_unreferenced_blob(&self, blob: BlobId) -> Result<bool, StoreError> {
        self.write("forget a blob", |db| async move {
            let deleted = delete_unreferenced(&db, blob).await?;
            Ok(not_undone(&db, deleted.into())? > 0)
        })
        .await
    }

    async fn storage_use(&self) -> Result<StorageUse, StoreError> {
        self.report("add up what is stored", |db| async move {
            let sql = "SELECT \
                       (SELECT count(*) FROM blobs), \
                       (SELECT coalesce(sum(size), 0)::bigint FROM blobs), \
                       count(*), coalesce(sum(size), 0)::bigint FROM uploads \
                       WHERE state IN (1, 3)";
            let row = db.query_one(sql, &[]).await?;
            Ok(StorageUse {
                blobs: number(&row, 0)?,
                blob_bytes: number(&row, 1)?,
                open_uploads: number(&row, 2)?,
                open_bytes: number(&row, 3)?,
            })
        })
        .await
    }

    async fn known_blobs(&self, names: &[BlobId]) -> Result<Vec<BlobId>, StoreError> {
        let names: Vec<&[u8]> = names.iter().map(|name| name.0.as_slice()).collect();
        let names = &names;
        self.read("look up names of blobs", |db| async move {
            // An upload has the name of its blob for as long as the blob is there.
            let sql = "SELECT asked.name FROM unnest($1::bytea[]) WITH ORDINALITY \
                       AS asked (name, place) \
                       JOIN uploads u ON u.blob = asked.name ORDER BY asked.place";
            let rows = db.query(sql, &[names]).await?;
            rows.iter().map(|row| Ok(BlobId(bytes(row, 0)?))).collect()
        })
        .await
    }
}

/// The record of a complete blob, inside any transaction.
pub(super) async fn find(db: &Db, blob: BlobId) -> Result<Option<BlobInfo>, Fault> {
    let sql = concat!("SELECT ", info_columns!(), " FROM blobs WHERE id = $1");
    db.query_opt(sql, &[&blob.0.as_slice()]).await?.map(|row| info(&row)).transpose()
}

/// Records a blob that has become complete.
pub(super) async fn insert(db: &Db, info: &BlobInfo, now: Timestamp) -> Result<(), Fault> {
    let sql = "INSERT INTO blobs \
               (id, uploader, size, media_type, hash, width, height, thumbnail, completed_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (width, height) = info.dimensions.unzip();
    db.execute(
        sql,
        &[
            &info.id.0.as_slice(),
            &id(info.uploader.0),
            &int(info.size)?,
            &info.media_type.as_str(),
            &info.hash.as_slice(),
            &width.map(i64::from),
            &height.map(i64::from),
            &(info.thumbnail as i16),
            &int(now.0)?,
        ],
    )
    .await
    .map(drop)
}

/// A blob from [`info_columns`].
pub(super) fn info(row: &Row) -> Result<BlobInfo, Fault> {
    let thumbnail = match get::<i16>(row, 7)? {
        0 => Thumbnail::None,
        1 => Thumbnail::Pending,
        2 => Thumbnail::Ready,
        3 => Thumbnail::Failed,
        other => return Err(Fault::unreadable(format!("a thumbnail in state {other}"))),
    };
    Ok(BlobInfo {
        id: BlobId(bytes(row, 0)?),
        uploader: AccountId(number(row, 1)?),
        size: number(row, 2)?,
        media_type: text(row, 3, MediaType::parse)?,
        hash: bytes(row, 4)?,
        dimensions: pixels(row, 5)?.zip(pixels(row, 6)?),
        thumbnail,
    })
}

fn pixels(row: &Row, index: usize) -> Result<Option<u32>, Fault> {
    let value: Option<i64> = get(row, index)?;
    let unreadable = |value| Fault::unreadable(format!("a picture of {value} pixels"));
    value.map(|value| u32::try_from(value).map_err(|_| unreadable(value))).transpose()
}

async fn delete_unreferenced(db: &Db, blob: BlobId) -> Result<bool, Fault> {
    let name = blob.0.as_slice();
    let sql = "SELECT uploader FROM blobs WHERE id = $1 AND refs = 0";
    let Some(row) = db.query_opt(sql, &[&name]).await? else { return Ok(false) };
    let uploader = AccountId(number(&row, 0)?);
    storage::lock(db, uploader).await?;
    if db.execute("DELETE FROM blobs WHERE id = $1 AND refs = 0", &[&name]).await? == 0 {
        return Ok(false);
    }
    // Its upload goes with it: opening that again must ask for the bytes again.
    let row = db.query_one("DELETE FROM uploads WHERE blob = $1 RETURNING size", &[&name]).await?;
    storage::deleted(db, uploader, number(&row, 0)?).await?;
    Ok(true)
}
