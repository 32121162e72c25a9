//! Appending a draft to a conversation: the busiest write of the whole service.

use rusqlite::{Connection, OptionalExtension, params};
use skein_core::{
    entry::{Attachment, Body, Content, Draft, Entry, Picture},
    id::{AccountId, BlobId, ConversationId, EntryId, LogId, Seq},
    name::FileName,
    policy,
    port::resource::BlobInfo,
    refusal::{Code, Refusal},
    time::Timestamp,
};

use super::{entry, key, membership, push};
use crate::{
    log::Appended,
    sqlite::{
        blob,
        column::{Id, Int, number},
        fault::Fault,
    },
};

/// By which a retry is told from another draft under the same id. Persisted: stable.
pub(super) fn digest(draft: &Draft) -> [u8; 32] {
    *blake3::hash(&skein_wire::body::encode_draft(draft)).as_bytes()
}

pub(super) fn append(
    db: &Connection,
    author: AccountId,
    draft: Draft,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<Appended, Fault> {
    // Before any right is checked: a first try that took effect stays valid, whatever has been
    // decided since.
    if let Some(entry) = first_try(db, author, draft.id, digest)? {
        return Ok(Appended { entry, repeated: true });
    }
    policy::may_append(membership(db, author, draft.conversation)?)?;
    let body = body(db, author, draft.content)?;
    let blob = body.attachment().map(|attachment| attachment.blob);
    let log = LogId::Conversation(draft.conversation);
    let entry = push(db, log, draft.id, author, now, body)?.entry;
    let sql = "INSERT INTO drafts (author, id, digest, conversation, seq) \
               VALUES (?1, ?2, ?3, ?4, ?5)";
    db.prepare_cached(sql)?.execute(params![
        Id(author.0),
        draft.id.0,
        digest,
        Id(draft.conversation.0),
        Int(entry.seq.0)
    ])?;
    if let Some(blob) = blob {
        refer(db, blob, draft.conversation, entry.seq)?;
    }
    Ok(Appended { entry, repeated: false })
}

/// The entry that the author made with this id before, if any.
fn first_try(
    db: &Connection,
    author: AccountId,
    id: EntryId,
    digest: &[u8; 32],
) -> Result<Option<Entry>, Fault> {
    let sql = "SELECT digest, conversation, seq FROM drafts WHERE author = ?1 AND id = ?2";
    let first = db
        .prepare_cached(sql)?
        .query_row(params![Id(author.0), id.0], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, number(row, 1)?, number(row, 2)?))
        })
        .optional()?;
    let Some((first_digest, conversation, seq)) = first else { return Ok(None) };
    if first_digest != *digest {
        let message = "this entry id was used for another message; draw a new one";
        return Err(Refusal::new(Code::EntryConflict, message).into());
    }
    let (kind, log) = key(LogId::Conversation(ConversationId(conversation)));
    let sql = "SELECT seq, id, author, at_ms, body FROM entries \
               WHERE kind = ?1 AND log = ?2 AND seq = ?3";
    let first = db.prepare_cached(sql)?.query_row(params![kind, log, Int(seq)], entry)?;
    Ok(Some(first))
}

/// What the entry will say: for a file, as the server knows it and not as the client claims.
fn body(db: &Connection, author: AccountId, content: Content) -> Result<Body, Fault> {
    match content {
        Content::Text(text) => Ok(Body::Text(text)),
        Content::File { blob, name } => {
            Ok(Body::File(attachment(&readable(db, author, blob)?, name)))
        }
        Content::Picture { blob, name } => {
            let info = readable(db, author, blob)?;
            let Some((width, height)) = info.dimensions else {
                let message = "the file is not a picture that this server can show; \
                               send it as a file";
                return Err(Refusal::new(Code::BadPicture, message).into());
            };
            Ok(Body::Picture(Picture { attachment: attachment(&info, name), width, height }))
        }
    }
}

fn readable(db: &Connection, author: AccountId, blob: BlobId) -> Result<BlobInfo, Fault> {
    policy::may_read_blob(blob::standing(db, author, blob)?)?;
    blob::find(db, blob)?.ok_or_else(|| Refusal::not_found("file").into())
}

fn attachment(info: &BlobInfo, name: FileName) -> Attachment {
    Attachment {
        blob: info.id,
        name,
        size: info.size,
        media_type: info.media_type.clone(),
        hash: info.hash,
    }
}

fn refer(
    db: &Connection,
    blob: BlobId,
    conversation: ConversationId,
    seq: Seq,
) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO blob_refs (blob, conversation, seq) VALUES (?1, ?2, ?3)")?
        .execute(params![blob.0, Id(conversation.0), Int(seq.0)])?;
    db.prepare_cached("UPDATE blobs SET refs = refs + 1 WHERE id = ?1")?.execute([blob.0])?;
    Ok(())
}
