//! Files that are being sent to a conversation: what its members may know, and take, before there is
//! a message that shows the file.
//!
//! None of this is an entry. Whoever misses it misses nothing: the message comes when the file is
//! complete and its hash verified (invariant 6).

use crate::{
    entry::Attachment,
    id::{AccountId, ConversationId},
    name::FileName,
};

/// For whom an upload is meant, as its account says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The conversation whose members may take the bytes while they come.
    pub conversation: ConversationId,
    /// What the file is going to be called there.
    pub name: FileName,
}

/// A file that somebody is sending to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    /// Where its message is going to be.
    pub conversation: ConversationId,
    /// Who sends it.
    pub uploader: AccountId,
    /// What it is, as its uploader says: nobody has checked size and hash.
    pub attachment: Attachment,
}
