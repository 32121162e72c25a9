//! Hints: "this log has grown", and the few other things that live sessions want to know at once.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use skein_core::{
    coming::Coming,
    entry::Entry,
    id::{AccountId, LogId},
};
use tokio::sync::mpsc;

/// What a hint is about; subscribers name the topics that their sessions live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The entries of one log.
    Log(LogId),
    /// The sessions of one account.
    Account(AccountId),
}

/// Something that just happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The entry is durable in the log.
    Appended(LogId, Arc<Entry>),
    /// The account's first session came, or its last one went.
    Presence {
        /// Whose.
        account: AccountId,
        /// Whether it has a session now.
        online: bool,
    },
    /// Somebody is sending a file to a conversation.
    Coming(Arc<Coming>),
    /// Tokens of the account have ended, and the sessions that were opened with them must. Which
    /// those are the store knows.
    SessionsEnded {
        /// Whose.
        account: AccountId,
        /// Why.
        reason: EndReason,
    },
}

/// Why the server ends a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// Another device logged in under the `exclusive` policy; its name is for people to read.
    Kicked {
        /// What its owner calls the other device.
        by: String,
    },
    /// The token was revoked: a logout or a new password.
    Revoked,
}

/// What a subscriber receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A hint on a watched topic.
    Hint(Topic, Hint),
    /// Some hints were lost: compare heads with the store.
    Missed,
}

/// Passes hints on.
#[async_trait]
pub trait Hints: Send + Sync {
    /// Tells whoever watches the topic. Best effort: it never fails and never waits for a slow
    /// subscriber, who gets [`Delivery::Missed`] instead.
    async fn publish(&self, topic: Topic, hint: Hint);

    /// A new subscriber whose queue holds `capacity` deliveries. It ends when the receiver is
    /// dropped.
    fn subscribe(&self, capacity: usize) -> Subscription;
}

/// One node's end of the bus.
pub struct Subscription {
    /// Says which topics to deliver.
    pub topics: Arc<dyn Topics>,
    /// What was delivered, in the order of publication for each publisher.
    pub deliveries: mpsc::Receiver<Delivery>,
}

/// The topics of one subscriber. Watching is idempotent: the caller counts its sessions.
pub trait Topics: Send + Sync {
    /// The topics are watched from now on. From when the future resolves, hints on them are
    /// delivered. However many they are, there is one wait for all of them; where all have been
    /// delivered before, it is short.
    fn watch(&self, topics: &[Topic]) -> BoxFuture<'static, ()>;

    /// Stops delivering the topics. They are not watched from now on.
    fn unwatch(&self, topics: &[Topic]);
}
