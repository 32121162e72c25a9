//! Bodies and drafts as bytes: the form in which the store keeps them and computes digests over
//! them. Protobuf keeps old bytes readable; never change the number or type of a field.

use prost::Message;
use skein_core::{
    entry::{
        Attachment, Body, ContactStep, ContactStepKind, Content, Draft, Picture, SessionEnded,
    },
    id::{AccountId, BlobId, ConversationId, EntryId},
    name::{DeviceName, FileName, MediaType, Note, Text, Username},
};

use crate::{Malformed, hash, pb};

/// The body's bytes. The same body always has the same bytes.
#[must_use]
pub fn encode(body: &Body) -> Vec<u8> {
    pb::Body::from(body.clone()).encode_to_vec()
}

/// The body in these bytes.
///
/// # Errors
/// If they are not what [`encode`] made.
pub fn decode(bytes: &[u8]) -> Result<Body, Malformed> {
    pb::Body::decode(bytes)
        .map_err(|_| Malformed::other("body", "expected a skein.v1.Body message"))?
        .try_into()
}

/// The draft's bytes, for a digest. The same draft always has the same bytes.
#[must_use]
pub fn encode_draft(draft: &Draft) -> Vec<u8> {
    pb::Draft::from(draft.clone()).encode_to_vec()
}

/// The draft in these bytes.
///
/// # Errors
/// If they are not what [`encode_draft`] made.
pub fn decode_draft(bytes: &[u8]) -> Result<Draft, Malformed> {
    pb::Draft::decode(bytes)
        .map_err(|_| Malformed::other("draft", "expected a skein.v1.Draft message"))?
        .try_into()
}

impl From<Body> for pb::Body {
    fn from(body: Body) -> Self {
        use pb::body::Kind;
        let kind = match body {
            Body::Text(text) => Kind::Text(pb::Text { text: text.as_str().to_owned() }),
            Body::Picture(picture) => Kind::Picture(pb::Picture {
                attachment: Some(picture.attachment.into()),
                width: picture.width,
                height: picture.height,
            }),
            Body::File(attachment) => Kind::File(attachment.into()),
            Body::Contact(step) => Kind::Contact(step.into()),
            Body::SessionEnded(ended) => Kind::SessionEnded(pb::SessionEnded {
                device: ended.device.as_str().to_owned(),
                by: ended.by.as_str().to_owned(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Body> for Body {
    type Error = Malformed;

    fn try_from(body: pb::Body) -> Result<Self, Malformed> {
        use pb::body::Kind;
        Ok(match body.kind.ok_or_else(|| Malformed::missing("body.kind"))? {
            Kind::Text(text) => Self::Text(text_of(text)?),
            Kind::Picture(picture) => Self::Picture(Picture {
                attachment: picture
                    .attachment
                    .ok_or_else(|| Malformed::missing("picture.attachment"))?
                    .try_into()?,
                width: picture.width,
                height: picture.height,
            }),
            Kind::File(attachment) => Self::File(attachment.try_into()?),
            Kind::Contact(step) => Self::Contact(step.try_into()?),
            Kind::SessionEnded(ended) => Self::SessionEnded(SessionEnded {
                device: DeviceName::parse(ended.device).map_err(Malformed::text("device"))?,
                by: DeviceName::parse(ended.by).map_err(Malformed::text("by"))?,
            }),
        })
    }
}

impl From<Attachment> for pb::Attachment {
    fn from(attachment: Attachment) -> Self {
        Self {
            blob: attachment.blob.0.to_vec().into(),
            name: attachment.name.as_str().to_owned(),
            size: attachment.size,
            media_type: attachment.media_type.as_str().to_owned(),
            blake3: attachment.hash.to_vec().into(),
        }
    }
}

impl TryFrom<pb::Attachment> for Attachment {
    type Error = Malformed;

    fn try_from(attachment: pb::Attachment) -> Result<Self, Malformed> {
        Ok(Self {
            blob: blob_of(&attachment.blob)?,
            name: FileName::parse(attachment.name).map_err(Malformed::text("name"))?,
            size: attachment.size,
            media_type: MediaType::parse(attachment.media_type)
                .map_err(Malformed::text("media_type"))?,
            hash: hash("blake3", &attachment.blake3)?,
        })
    }
}

impl From<ContactStep> for pb::ContactStep {
    fn from(step: ContactStep) -> Self {
        Self {
            kind: step.kind as u32,
            peer: step.peer.0,
            peer_name: step.peer_name.as_str().to_owned(),
            by_me: step.by_me,
            note: step.note.as_str().to_owned(),
            conversation: step.conversation.map_or(0, |id| id.0),
        }
    }
}

impl TryFrom<pb::ContactStep> for ContactStep {
    type Error = Malformed;

    fn try_from(step: pb::ContactStep) -> Result<Self, Malformed> {
        Ok(Self {
            kind: match step.kind {
                1 => ContactStepKind::Requested,
                2 => ContactStepKind::Accepted,
                3 => ContactStepKind::Declined,
                4 => ContactStepKind::Removed,
                _ => return Err(Malformed::other("contact.kind", "expected 1 to 4")),
            },
            peer: AccountId(step.peer),
            peer_name: Username::parse(step.peer_name).map_err(Malformed::text("peer_name"))?,
            by_me: step.by_me,
            note: Note::parse(step.note).map_err(Malformed::text("note"))?,
            conversation: (step.conversation != 0).then_some(ConversationId(step.conversation)),
        })
    }
}

impl From<Draft> for pb::Draft {
    fn from(draft: Draft) -> Self {
        use pb::draft::Content as Kind;
        let blob_ref = |blob: BlobId, name: FileName| pb::BlobRef {
            blob: blob.0.to_vec().into(),
            name: name.as_str().to_owned(),
        };
        let content = match draft.content {
            Content::Text(text) => Kind::Text(pb::Text { text: text.as_str().to_owned() }),
            Content::Picture { blob, name } => Kind::Picture(blob_ref(blob, name)),
            Content::File { blob, name } => Kind::File(blob_ref(blob, name)),
        };
        Self {
            conversation: draft.conversation.0,
            id: draft.id.0.to_vec().into(),
            content: Some(content),
        }
    }
}

impl TryFrom<pb::Draft> for Draft {
    type Error = Malformed;

    fn try_from(draft: pb::Draft) -> Result<Self, Malformed> {
        use pb::draft::Content as Kind;
        let file_ref = |blob_ref: pb::BlobRef| -> Result<(BlobId, FileName), Malformed> {
            let name = FileName::parse(blob_ref.name).map_err(Malformed::text("name"))?;
            Ok((blob_of(&blob_ref.blob)?, name))
        };
        let content = match draft.content.ok_or_else(|| Malformed::missing("draft.content"))? {
            Kind::Text(text) => Content::Text(text_of(text)?),
            Kind::Picture(blob_ref) => {
                let (blob, name) = file_ref(blob_ref)?;
                Content::Picture { blob, name }
            }
            Kind::File(blob_ref) => {
                let (blob, name) = file_ref(blob_ref)?;
                Content::File { blob, name }
            }
        };
        Ok(Self {
            conversation: ConversationId(draft.conversation),
            id: entry_id(&draft.id)?,
            content,
        })
    }
}

pub(crate) fn entry_id(bytes: &[u8]) -> Result<EntryId, Malformed> {
    EntryId::try_from(bytes).map_err(Malformed::id("id"))
}

pub(crate) fn blob_of(bytes: &[u8]) -> Result<BlobId, Malformed> {
    BlobId::try_from(bytes).map_err(Malformed::id("blob"))
}

fn text_of(text: pb::Text) -> Result<Text, Malformed> {
    Text::parse(text.text).map_err(Malformed::text("text"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One body of each kind.
    pub(crate) fn bodies() -> Vec<Body> {
        let attachment = Attachment {
            blob: BlobId([7; 16]),
            name: FileName::parse("photo.jpg").expect("good"),
            size: 1 << 33,
            media_type: MediaType::parse("image/jpeg").expect("good"),
            hash: [9; 32],
        };
        let step = |kind, conversation| {
            Body::Contact(ContactStep {
                kind,
                peer: AccountId(2),
                peer_name: Username::parse("李雷").expect("good"),
                by_me: true,
                note: Note::parse("hello").expect("good"),
                conversation,
            })
        };
        let device = |name| DeviceName::parse(name).expect("good");
        vec![
            Body::Text(Text::parse("hi").expect("good")),
            Body::Picture(Picture { attachment: attachment.clone(), width: 640, height: 480 }),
            Body::File(attachment),
            step(ContactStepKind::Requested, None),
            step(ContactStepKind::Accepted, Some(ConversationId(3))),
            step(ContactStepKind::Declined, None),
            step(ContactStepKind::Removed, Some(ConversationId(3))),
            Body::SessionEnded(SessionEnded { device: device("phone"), by: device("laptop") }),
        ]
    }

    #[test]
    fn bodies_survive() {
        for body in bodies() {
            assert_eq!(decode(&encode(&body)), Ok(body));
        }
    }

    #[test]
    fn drafts_survive_and_bad_ones_are_named() {
        let draft = Draft {
            conversation: ConversationId(5),
            id: EntryId([1; 16]),
            content: Content::File {
                blob: BlobId([2; 16]),
                name: FileName::parse("a.txt").expect("good"),
            },
        };
        assert_eq!(decode_draft(&encode_draft(&draft)), Ok(draft.clone()));
        let mut bad = pb::Draft::from(draft);
        bad.content = Some(pb::draft::Content::File(pb::BlobRef {
            blob: vec![2; 16].into(),
            name: "../../etc/passwd".into(),
        }));
        assert_eq!(Draft::try_from(bad.clone()).expect_err("a path").field, "name");
        bad.id = vec![1; 15].into();
        bad.content = Some(pb::draft::Content::Text(pb::Text { text: "x".into() }));
        assert_eq!(Draft::try_from(bad).expect_err("15 bytes").field, "id");
        assert!(decode(&[]).is_err());
    }
}
