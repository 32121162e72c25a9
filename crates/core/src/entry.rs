//! What a log holds. See DESIGN, "the log is the truth": everything that a client must not miss is
//! an entry, and everything else is not.

use crate::{
    id::{AccountId, BlobId, ConversationId, EntryId, Seq},
    name::{DeviceName, FileName, MediaType, Note, Text, Username},
    time::Timestamp,
};

/// One entry of a log, as the store committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in its log: dense, starting at 1.
    pub seq: Seq,
    /// Given by the client that appended it; given by the server for personal entries.
    pub id: EntryId,
    /// Whose session appended it.
    pub author: AccountId,
    /// When the server committed it.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Words, in a conversation.
    Text(Text),
    /// A picture, in a conversation.
    Picture(Picture),
    /// Any other file, in a conversation.
    File(Attachment),
    /// A step between two people, in the personal log of each.
    Contact(ContactStep),
    /// One of the account's sessions was ended by the server, in the personal log.
    SessionEnded(SessionEnded),
}

/// A file that an entry refers to. The server fills in all but the name from the verified blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where the bytes are.
    pub blob: BlobId,
    /// What the sender calls it.
    pub name: FileName,
    /// Bytes.
    pub size: u64,
    /// What the sender says the bytes are.
    pub media_type: MediaType,
    /// BLAKE3 of the whole file.
    pub hash: [u8; 32],
}

/// An attachment whose bytes begin like a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub attachment: Attachment,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// What happened between the owner of a personal log and another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactStep {
    /// Which step.
    pub kind: ContactStepKind,
    /// The other account.
    pub peer: AccountId,
    /// The other account's name at that time.
    pub peer_name: Username,
    /// Whether the owner of this log took the step, as opposed to the peer.
    pub by_me: bool,
    /// The greeting of a request; the owner's own remark on an acceptance; else empty.
    pub note: Note,
    /// The direct conversation, once there is one.
    pub conversation: Option<ConversationId>,
}

/// The steps between two people. The numbers are stored and on the wire: stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactStepKind {
    /// One asks the other to become contacts.
    Requested = 1,
    /// The other agrees: they are contacts and have a direct conversation.
    Accepted = 2,
    /// The other does not agree.
    Declined = 3,
    /// They are contacts no longer.
    Removed = 4,
}

/// A session that the server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnded {
    /// The device it was on.
    pub device: DeviceName,
    /// The device whose login ended it.
    pub by: DeviceName,
}

/// What a client asks to append to a conversation. The id makes a retry recognisable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where.
    pub conversation: ConversationId,
    /// The client's id for it.
    pub id: EntryId,
    /// What.
    pub content: Content,
}

/// The part of a message that its author decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Words.
    Text(Text),
    /// A completed upload, shown as a picture.
    Picture {
        /// The completed upload.
        blob: BlobId,
        /// What to call it.
        name: FileName,
    },
    /// A completed upload.
    File {
        /// The completed upload.
        blob: BlobId,
        /// What to call it.
        name: FileName,
    },
}

impl Content {
    /// The blob that the content refers to.
    #[must_use]
    pub const fn blob(&self) -> Option<BlobId> {
        match self {
            Self::Text(_) => None,
            Self::Picture { blob, .. } | Self::File { blob, .. } => Some(*blob),
        }
    }
}

impl Body {
    /// The file that the entry refers to.
    #[must_use]
    pub const fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Picture(picture) => Some(&picture.attachment),
            Self::File(attachment) => Some(attachment),
            Self::Text(_) | Self::Contact(_) | Self::SessionEnded(_) => None,
        }
    }
}
