//! Files that are being sent to a conversation, in PostgreSQL.

use async_trait::async_trait;
use skein_core::{
    coming::{Coming, Destination},
    entry::Attachment,
    id::{AccountId, BlobId, ConversationId, UploadId},
    name::{FileName, MediaType},
    port::resource::{UploadOf, UploadSpec},
    refusal::Refusal,
};
use tokio_postgres::Row;

use super::{
    Postgres,
    column::{bytes, count, get, id, number, text},
    fault::Fault,
};
use crate::{
    StoreError,
    coming::{ComingFiles, Followable},
};

#[async_trait]
impl ComingFiles for Postgres {
    async fn address_upload(
        &self,
        upload: UploadOf,
        destination: Destination,
    ) -> Result<(), StoreError> {
        // Twice is as good as once: it says how things are, and not how they change.
        let destination = &destination;
        self.read("say for whom an upload is", |db| async move {
            let sql = "UPDATE uploads SET conversation = $4, name = $5 \
                       WHERE account = $1 AND id = $2 AND blob = $3";
            let (owner, conversation) = (id(upload.account.0), id(destination.conversation.0));
            let (name, blob) = (upload.id.0.as_slice(), upload.blob.0.as_slice());
            let called = destination.name.as_str();
            let changed = db.execute(sql, &[&owner, &name, &blob, &conversation, &called]).await?;
            if changed == 0 { Err(Refusal::not_found("upload").into()) } else { Ok(()) }
        })
        .await
    }

    async fn upload_of(&self, blob: BlobId) -> Result<Option<Followable>, StoreError> {
        self.read("read a blob's upload", |db| async move {
            let sql = "SELECT account, id, size, media_type, hash, durable, conversation \
                       FROM uploads WHERE blob = $1";
            db.query_opt(sql, &[&blob.0.as_slice()]).await?.as_ref().map(followable).transpose()
        })
        .await
    }

    async fn coming_to(
        &self,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<Coming>, StoreError> {
        self.read("list coming files", |db| async move {
            let sql = "SELECT account, blob, name, size, media_type, hash FROM uploads \
                       WHERE conversation = $1 AND state <> 2 \
                       ORDER BY touched_ms DESC, account, id LIMIT $2";
            let rows = db.query(sql, &[&id(conversation.0), &count(limit)]).await?;
            rows.iter().map(|row| coming(conversation, row)).collect()
        })
        .await
    }
}

fn followable(row: &Row) -> Result<Followable, Fault> {
    Ok(Followable {
        account: AccountId(number(row, 0)?),
        spec: UploadSpec {
            id: UploadId(bytes(row, 1)?),
            size: number(row, 2)?,
            media_type: text(row, 3, MediaType::parse)?,
            hash: bytes(row, 4)?,
        },
        durable: number(row, 5)?,
        conversation: match get::<Option<i64>>(row, 6)? {
            Some(_) => Some(ConversationId(number(row, 6)?)),
            None => None,
        },
    })
}

fn coming(conversation: ConversationId, row: &Row) -> Result<Coming, Fault> {
    Ok(Coming {
        conversation,
        uploader: AccountId(number(row, 0)?),
        attachment: Attachment {
            blob: BlobId(bytes(row, 1)?),
            name: text(row, 2, FileName::parse)?,
            size: number(row, 3)?,
            media_type: text(row, 4, MediaType::parse)?,
            hash: bytes(row, 5)?,
        },
    })
}
