//! Who knows whom. Each step is an entry in the personal log of both sides.

use async_trait::async_trait;
use skein_core::{
    contact::{Contact, ContactRequest, Relation},
    id::{AccountId, ConversationId, EntryId},
    name::Note,
    time::Timestamp,
};

use crate::{StoreError, log::Committed};

/// What a step between two accounts did.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// What was appended to the personal logs; empty for a retry that changed nothing.
    pub committed: Vec<Committed>,
    /// Their direct conversation, if they are contacts now.
    pub conversation: Option<ConversationId>,
}

/// Keeps contacts and the requests that lead to them.
///
/// Every step takes an `entry` id, from which the ids of the personal entries are made: a retry
/// with the same id changes nothing and succeeds.
#[async_trait]
pub trait Contacts: Send + Sync {
    /// `from` asks `to`. If `to` has asked before, that is an acceptance. Asking again while a
    /// request waits renews the greeting.
    ///
    /// # Errors
    /// Refused as [`may_request`](skein_core::policy::may_request) says; `not_found` if there is no
    /// such account; `too_many` beyond
    /// [`PENDING_REQUESTS_MAX`](skein_core::limit::PENDING_REQUESTS_MAX) or
    /// [`CONTACTS_MAX`](skein_core::limit::CONTACTS_MAX).
    async fn request_contact(
        &self,
        from: AccountId,
        to: AccountId,
        greeting: Note,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError>;

    /// `by` accepts the request of `asker` and keeps `remark` about them. Their direct conversation
    /// is created, or woken if they had one.
    ///
    /// # Errors
    /// Refused as [`may_answer`](skein_core::policy::may_answer) says; `too_many`.
    async fn accept_contact(
        &self,
        by: AccountId,
        asker: AccountId,
        remark: Note,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError>;

    /// `by` declines the request of `asker`.
    ///
    /// # Errors
    /// Refused as [`may_answer`](skein_core::policy::may_answer) says.
    async fn decline_contact(
        &self,
        by: AccountId,
        asker: AccountId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError>;

    /// `by` removes `peer`: neither is a contact of the other any more, their conversation stays
    /// readable and takes no more messages.
    ///
    /// # Errors
    /// Refused as [`may_remove`](skein_core::policy::may_remove) says.
    async fn remove_contact(
        &self,
        by: AccountId,
        peer: AccountId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError>;

    /// What `account` is to `other`.
    async fn relation(&self, account: AccountId, other: AccountId) -> Result<Relation, StoreError>;

    /// The account's contacts, by name.
    async fn contacts(&self, account: AccountId) -> Result<Vec<Contact>, StoreError>;

    /// The requests that wait for the account's answer or that it waits for, newest first.
    async fn contact_requests(&self, account: AccountId)
    -> Result<Vec<ContactRequest>, StoreError>;
}
