//! A draft on its way into a log: how a retry is recognised, and what its entry will say.

use skein_core::{
    entry::{Attachment, Body, Content, Draft, Picture},
    id::AccountId,
    name::FileName,
    policy::{self, BlobStanding},
    port::resource::BlobInfo,
    refusal::{Code, Refusal},
};

/// By which a retry is told from another draft under the same id. Persisted: stable.
pub(super) fn digest(draft: &Draft) -> [u8; 32] {
    *blake3::hash(&skein_wire::body::encode_draft(draft)).as_bytes()
}

/// The answer to a draft whose id its author used for another one.
pub(super) fn conflict() -> Refusal {
    Refusal::new(Code::EntryConflict, "this entry id was used for another message; draw a new one")
}

/// What the entry will say: for a file, as the server knows it and not as the client claims. `blob`
/// is the one that the draft names, if it is complete, and whether it was shared with the author.
pub(super) fn body(
    author: AccountId,
    content: &Content,
    blob: Option<(&BlobInfo, bool)>,
) -> Result<Body, Refusal> {
    let (name, is_picture) = match content {
        Content::Text(text) => return Ok(Body::Text(text.clone())),
        Content::File { name, .. } => (name, false),
        Content::Picture { name, .. } => (name, true),
    };
    let uploader = blob.is_some_and(|(info, _)| info.uploader == author);
    let shared_with = blob.is_some_and(|(_, shared)| shared);
    policy::may_read_blob(BlobStanding { uploader, shared_with })?;
    let (info, _) = blob.ok_or_else(|| Refusal::not_found("file"))?;
    let attachment = attachment(info, name);
    match info.dimensions {
        _ if !is_picture => Ok(Body::File(attachment)),
        Some((width, height)) => Ok(Body::Picture(Picture { attachment, width, height })),
        None => {
            let message = "the file is not a picture that this server can show; send it as a file";
            Err(Refusal::new(Code::BadPicture, message))
        }
    }
}

fn attachment(info: &BlobInfo, name: &FileName) -> Attachment {
    Attachment {
        blob: info.id,
        name: name.clone(),
        size: info.size,
        media_type: info.media_type.clone(),
        hash: info.hash,
    }
}
