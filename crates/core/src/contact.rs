//! People who know one another.

use crate::{
    account::Profile,
    id::{AccountId, ConversationId, Seq},
    name::Note,
    time::Timestamp,
};

/// Someone that an account has agreed to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub profile: Profile,
    /// What the owner of the list notes about them.
    pub remark: Note,
    /// Their direct conversation.
    pub conversation: ConversationId,
    /// Since when.
    pub since: Timestamp,
}

/// A request that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRequest {
    /// The other side: who asks if incoming, who was asked if outgoing.
    pub profile: Profile,
    /// Whether it is for the owner of the list to answer.
    pub incoming: bool,
    /// What the asking side wrote.
    pub greeting: Note,
    /// When.
    pub at: Timestamp,
}

/// A conversation that an account is, or was, part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Which.
    pub id: ConversationId,
    /// The other side of a direct conversation.
    pub peer: Profile,
    /// The last entry of its log.
    pub head: Seq,
}

/// What one account is to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same account.
    Oneself,
    /// They have agreed.
    Contact,
    /// The first has asked the second.
    AskedThem,
    /// The second has asked the first.
    AskedByThem,
    /// Nothing.
    Stranger,
}

/// The two ends of a direct conversation, lower id first, so that a pair has one form.
#[must_use]
pub fn pair(a: AccountId, b: AccountId) -> (AccountId, AccountId) {
    if a <= b { (a, b) } else { (b, a) }
}
