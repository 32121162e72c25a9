//! Files on their way: what it takes to continue them in another process.

use rusqlite::{OptionalExtension, params};
use skein_core::{
    id::{BlobId, ConversationId, EntryId, UploadId},
    name::MediaType,
    port::resource::Variant,
};

use super::Home;
use crate::Error;

/// A file on its way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadRecord {
    /// Its absolute path.
    pub(crate) path: String,
    /// Where it is to be shown.
    pub(crate) conversation: ConversationId,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was last changed: nanoseconds since the Unix epoch.
    pub(crate) mtime_ns: i64,
    /// BLAKE3 of the whole.
    pub(crate) hash: [u8; 32],
    /// What its bytes look like.
    pub(crate) media_type: MediaType,
    /// What the server knows the upload by.
    pub(crate) upload: UploadId,
    /// The id of the message that will show it.
    pub(crate) entry: EntryId,
}

impl Home {
    /// The upload of this file to this conversation, until its message is in the log.
    pub(crate) async fn upload(
        &self,
        path: String,
        conversation: ConversationId,
    ) -> Result<Option<UploadRecord>, Error> {
        self.read(move |database| {
            let sql = "SELECT size, mtime_ns, hash, media_type, upload, entry FROM uploads
                       WHERE path = ?1 AND conversation = ?2";
            let mut query = database.prepare_cached(sql)?;
            let row = query.query_row(params![path, conversation.0.cast_signed()], |row| {
                let media_type: String = row.get(3)?;
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    media_type,
                    row.get(4)?,
                    row.get(5)?,
                ))
            });
            let Some((size, mtime_ns, hash, media_type, upload, entry)) = row.optional()? else {
                return Ok(None);
            };
            Ok(Some(UploadRecord {
                path,
                conversation,
                size: size.cast_unsigned(),
                mtime_ns,
                hash,
                media_type: MediaType::parse(media_type)?,
                upload: UploadId(upload),
                entry: EntryId(entry),
            }))
        })
        .await
    }

    /// Remembers an upload, in the place of an earlier one of the same file.
    pub(crate) async fn keep_upload(&self, record: UploadRecord) -> Result<(), Error> {
        self.write(move |database| {
            let sql = "INSERT OR REPLACE INTO uploads
                (path, conversation, size, mtime_ns, hash, media_type, upload, entry)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            database.execute(
                sql,
                params![
                    record.path,
                    record.conversation.0.cast_signed(),
                    record.size.cast_signed(),
                    record.mtime_ns,
                    record.hash,
                    record.media_type.as_str(),
                    record.upload.0,
                    record.entry.0
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets an upload that cannot go on. One whose message is in the log is forgotten with the
    /// draft.
    pub(crate) async fn forget_upload(&self, upload: UploadId) -> Result<(), Error> {
        self.write(move |database| {
            database.execute("DELETE FROM uploads WHERE upload = ?1", params![upload.0])?;
            Ok(())
        })
        .await
    }

    /// What the partial file at `path` was going to be, if this home has begun it.
    pub(crate) async fn part_at(&self, path: String) -> Result<Option<(BlobId, Variant)>, Error> {
        self.read(move |database| {
            let sql = "SELECT blob, thumbnail FROM downloads WHERE path = ?1";
            let mut query = database.prepare_cached(sql)?;
            let row = query.query_row(params![path], |row| {
                let variant = if row.get(1)? { Variant::Thumbnail } else { Variant::Original };
                Ok((BlobId(row.get(0)?), variant))
            });
            Ok(row.optional()?)
        })
        .await
    }

    /// Remembers what the partial file at `path` is going to be.
    pub(crate) async fn keep_download(
        &self,
        path: String,
        blob: BlobId,
        variant: Variant,
    ) -> Result<(), Error> {
        self.write(move |database| {
            let sql =
                "INSERT OR REPLACE INTO downloads (path, blob, thumbnail) VALUES (?1, ?2, ?3)";
            database.execute(sql, params![path, blob.0, variant == Variant::Thumbnail])?;
            Ok(())
        })
        .await
    }

    /// Forgets the partial file at `path`: it is complete, or gone.
    pub(crate) async fn forget_download(&self, path: String) -> Result<(), Error> {
        self.write(move |database| {
            database.execute("DELETE FROM downloads WHERE path = ?1", params![path])?;
            Ok(())
        })
        .await
    }
}
