//! The logs themselves.

use async_trait::async_trait;
use skein_core::{
    contact::Conversation,
    entry::{Draft, Entry},
    id::{AccountId, ConversationId, LogId, Seq},
    policy::Membership,
    time::Timestamp,
};

use crate::StoreError;

/// An entry that is durable in a log: what the caller of an operation tells the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The log.
    pub log: LogId,
    /// The entry.
    pub entry: Entry,
}

/// What an append answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The entry, as committed now or by the first try.
    pub entry: Entry,
    /// Whether an earlier try had appended it (invariant 2): then there is nothing to publish.
    pub repeated: bool,
}

/// Part of a log, in `seq` order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Consecutive entries: at most
    /// [`PAGE_ENTRIES_MAX`](skein_core::limit::PAGE_ENTRIES_MAX) and about
    /// [`PAGE_BYTES_MAX`](skein_core::limit::PAGE_BYTES_MAX) encoded.
    pub entries: Vec<Entry>,
    /// The last entry of the whole log when the page was read.
    pub head: Seq,
}

/// Keeps logs.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Appends to a conversation. Returns once the entry is durable (invariant 1). An attachment's
    /// size, media type, hash and dimensions come from the blob's record.
    ///
    /// # Errors
    /// Refused as [`may_append`](skein_core::policy::may_append) and, for an attachment,
    /// [`may_read_blob`](skein_core::policy::may_read_blob) say; `entry_conflict` if the same
    /// author used the id for another draft; `bad_picture` if the blob of a picture has no
    /// dimensions.
    async fn append(
        &self,
        author: AccountId,
        draft: Draft,
        now: Timestamp,
    ) -> Result<Appended, StoreError>;

    /// Entries after `after`, the oldest first, at most `limit`.
    async fn read_after(&self, log: LogId, after: Seq, limit: usize) -> Result<Page, StoreError>;

    /// The last entries before `before`, in `seq` order, at most `limit`.
    async fn read_before(&self, log: LogId, before: Seq, limit: usize) -> Result<Page, StoreError>;

    /// The last `seq` of each of these logs, in the same order; zero for an empty log.
    async fn heads(&self, logs: &[LogId]) -> Result<Vec<Seq>, StoreError>;

    /// What the account is to the conversation.
    async fn membership(
        &self,
        account: AccountId,
        conversation: ConversationId,
    ) -> Result<Membership, StoreError>;

    /// The conversations that the account is, or was, part of, with their heads.
    async fn conversations(&self, account: AccountId) -> Result<Vec<Conversation>, StoreError>;
}
