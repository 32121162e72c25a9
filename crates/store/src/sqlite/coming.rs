//! Files that are being sent to a conversation, in SQLite.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};
use skein_core::{
    coming::{Coming, Destination},
    entry::Attachment,
    id::{AccountId, BlobId, ConversationId, UploadId},
    name::{FileName, MediaType},
    port::resource::{UploadOf, UploadSpec},
    refusal::Refusal,
};

use super::{
    Sqlite,
    column::{Id, count, number, text},
};
use crate::{
    StoreError,
    coming::{ComingFiles, Followable},
};

#[async_trait]
impl ComingFiles for Sqlite {
    async fn address_upload(
        &self,
        upload: UploadOf,
        destination: Destination,
    ) -> Result<(), StoreError> {
        self.write("say for whom an upload is", move |db| {
            let sql = "UPDATE uploads SET conversation = ?4, name = ?5 \
                       WHERE account = ?1 AND id = ?2 AND blob = ?3";
            let changed = db.prepare_cached(sql)?.execute(params![
                Id(upload.account.0),
                upload.id.0,
                upload.blob.0,
                Id(destination.conversation.0),
                destination.name.as_str()
            ])?;
            if changed == 0 { Err(Refusal::not_found("upload").into()) } else { Ok(()) }
        })
        .await
    }

    async fn upload_of(&self, blob: BlobId) -> Result<Option<Followable>, StoreError> {
        self.read("read a blob's upload", move |db| {
            let sql = "SELECT account, id, size, media_type, hash, durable, conversation \
                       FROM uploads WHERE blob = ?1";
            Ok(db.prepare_cached(sql)?.query_row([blob.0], followable).optional()?)
        })
        .await
    }

    async fn coming_to(
        &self,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<Coming>, StoreError> {
        self.read("list coming files", move |db| {
            let sql = "SELECT account, blob, name, size, media_type, hash FROM uploads \
                       WHERE conversation = ?1 AND state <> 2 \
                       ORDER BY touched_ms DESC, account, id LIMIT ?2";
            let mut statement = db.prepare_cached(sql)?;
            let rows = statement.query_map(params![Id(conversation.0), count(limit)], |row| {
                coming(conversation, row)
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn followable(row: &Row<'_>) -> rusqlite::Result<Followable> {
    Ok(Followable {
        account: AccountId(number(row, 0)?),
        spec: UploadSpec {
            id: UploadId(row.get(1)?),
            size: number(row, 2)?,
            media_type: text(row, 3, MediaType::parse)?,
            hash: row.get(4)?,
        },
        durable: number(row, 5)?,
        conversation: match row.get::<_, Option<i64>>(6)? {
            Some(_) => Some(ConversationId(number(row, 6)?)),
            None => None,
        },
    })
}

fn coming(conversation: ConversationId, row: &Row<'_>) -> rusqlite::Result<Coming> {
    Ok(Coming {
        conversation,
        uploader: AccountId(number(row, 0)?),
        attachment: Attachment {
            blob: BlobId(row.get(1)?),
            name: text(row, 2, FileName::parse)?,
            size: number(row, 3)?,
            media_type: text(row, 4, MediaType::parse)?,
            hash: row.get(5)?,
        },
    })
}
