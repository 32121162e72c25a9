//! Blobs in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use skein_core::{
    id::{AccountId, BlobId},
    name::MediaType,
    policy::BlobStanding,
    port::resource::{BlobInfo, Thumbnail},
    time::Timestamp,
};

use super::{
    Sqlite,
    column::{Id, Int, count, number, text},
    storage,
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

#[async_trait]
impl Blobs for Sqlite {
    async fn blob(&self, id: BlobId) -> Result<Option<BlobInfo>, StoreError> {
        self.read("read a blob's record", move |db| Ok(find(db, id)?)).await
    }

    async fn blob_standing(
        &self,
        account: AccountId,
        blob: BlobId,
    ) -> Result<BlobStanding, StoreError> {
        self.read("read who may see a blob", move |db| Ok(standing(db, account, blob)?)).await
    }

    async fn used_bytes(&self, account: AccountId) -> Result<u64, StoreError> {
        self.read("read what an account stores", move |db| Ok(storage::of(db, account)?.bytes))
            .await
    }

    async fn pending_thumbnails(&self, limit: usize) -> Result<Vec<BlobInfo>, StoreError> {
        self.read("find pending thumbnails", move |db| {
            let sql = concat!(
                "SELECT ",
                info_columns!(),
                " FROM blobs WHERE thumbnail = 1 ORDER BY completed_ms LIMIT ?1"
            );
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_map([count(limit)], info)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn begin_thumbnail(&self, blob: BlobId) -> Result<u64, StoreError> {
        self.write("count a try at a thumbnail", move |db| {
            let sql = "UPDATE blobs SET tries = tries + 1 WHERE id = ?1 \
                       RETURNING tries - 1";
            let before = db.prepare_cached(sql)?.query_row([blob.0], |row| number(row, 0));
            Ok(before.optional()?.unwrap_or(0))
        })
        .await
    }

    async fn set_thumbnail(&self, blob: BlobId, state: Thumbnail) -> Result<(), StoreError> {
        self.write("record a thumbnail", move |db| {
            // A blob that was collected meanwhile needs no record.
            let sql = "UPDATE blobs SET thumbnail = ?2, tries = 0 WHERE id = ?1";
            db.prepare_cached(sql)?.execute(params![blob.0, state as i64])?;
            Ok(())
        })
        .await
    }

    async fn unreferenced_blobs(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<BlobId>, StoreError> {
        self.read("find unreferenced blobs", move |db| {
            let sql = "SELECT id FROM blobs WHERE refs = 0 AND completed_ms < ?1 \
                       ORDER BY completed_ms LIMIT ?2";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement
                .query_map(params![Int(before.0), count(limit)], |row| Ok(BlobId(row.get(0)?)))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn delete_unreferenced_blob(&self, blob: BlobId) -> Result<bool, StoreError> {
        self.write("forget a blob", move |db| {
            let sql = "DELETE FROM blobs WHERE id = ?1 AND refs = 0";
            let deleted = db.prepare_cached(sql)?.execute([blob.0])? > 0;
            if deleted {
                // Its upload goes with it: opening that again must ask for the bytes again.
                let sql = "DELETE FROM uploads WHERE blob = ?1 RETURNING account, size";
                let (owner, size) = db
                    .prepare_cached(sql)?
                    .query_row([blob.0], |row| Ok((number(row, 0)?, number(row, 1)?)))?;
                storage::deleted(db, AccountId(owner), size)?;
            }
            Ok(deleted)
        })
        .await
    }

    async fn storage_use(&self) -> Result<StorageUse, StoreError> {
        self.read("add up what is stored", |db| {
            let sql = "SELECT \
                       (SELECT count(*) FROM blobs), \
                       (SELECT coalesce(sum(size), 0) FROM blobs), \
                       count(*), coalesce(sum(size), 0) FROM uploads WHERE state IN (1, 3)";
            Ok(db.prepare_cached(sql)?.query_row([], |row| {
                Ok(StorageUse {
                    blobs: number(row, 0)?,
                    blob_bytes: number(row, 1)?,
                    open_uploads: number(row, 2)?,
                    open_bytes: number(row, 3)?,
                })
            })?)
        })
        .await
    }

    async fn known_blobs(&self, names: &[BlobId]) -> Result<Vec<BlobId>, StoreError> {
        let names = names.to_vec();
        self.read("look up names of blobs", move |db| {
            // An upload has the name of its blob for as long as the blob is there.
            let mut known = db.prepare_cached("SELECT 1 FROM uploads WHERE blob = ?1")?;
            let mut found = Vec::new();
            for name in names {
                if known.exists([name.0])? {
                    found.push(name);
                }
            }
            Ok(found)
        })
        .await
    }
}

/// The record of a complete blob, inside any transaction.
pub(super) fn find(db: &Connection, id: BlobId) -> rusqlite::Result<Option<BlobInfo>> {
    let sql = concat!("SELECT ", info_columns!(), " FROM blobs WHERE id = ?1");
    db.prepare_cached(sql)?.query_row([id.0], info).optional()
}

/// What the account is to the blob, inside any transaction.
pub(super) fn standing(
    db: &Connection,
    account: AccountId,
    blob: BlobId,
) -> rusqlite::Result<BlobStanding> {
    let uploader = db
        .prepare_cached("SELECT 1 FROM blobs WHERE id = ?1 AND uploader = ?2")?
        .exists(params![blob.0, Id(account.0)])?;
    let sql = "SELECT 1 FROM blob_refs r \
               JOIN members m ON m.conversation = r.conversation AND m.account = ?2 \
               WHERE r.blob = ?1 LIMIT 1";
    let shared_with = db.prepare_cached(sql)?.exists(params![blob.0, Id(account.0)])?;
    Ok(BlobStanding { uploader, shared_with })
}

/// Records a blob that has become complete.
pub(super) fn insert(db: &Connection, info: &BlobInfo, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO blobs \
               (id, uploader, size, media_type, hash, width, height, thumbnail, completed_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    db.prepare_cached(sql)?.execute(params![
        info.id.0,
        Id(info.uploader.0),
        Int(info.size),
        info.media_type.as_str(),
        info.hash,
        info.dimensions.map(|(width, _)| width),
        info.dimensions.map(|(_, height)| height),
        info.thumbnail as i64,
        Int(now.0)
    ])?;
    Ok(())
}

fn info(row: &Row<'_>) -> rusqlite::Result<BlobInfo> {
    let width: Option<u32> = row.get(5)?;
    let height: Option<u32> = row.get(6)?;
    let thumbnail = match row.get::<_, i64>(7)? {
        0 => Thumbnail::None,
        1 => Thumbnail::Pending,
        2 => Thumbnail::Ready,
        3 => Thumbnail::Failed,
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(7, other)),
    };
    Ok(BlobInfo {
        id: BlobId(row.get(0)?),
        uploader: AccountId(number(row, 1)?),
        size: number(row, 2)?,
        media_type: text(row, 3, MediaType::parse)?,
        hash: row.get(4)?,
        dimensions: width.zip(height),
        thumbnail,
    })
}
