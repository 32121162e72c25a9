//! What subscribers want of the task that owns the subscriptions.

use tokio::sync::oneshot;

use crate::hint::Topic;

/// A change of what a subscriber watches. The exchange knows it already.
pub(super) enum Wish {
    /// Someone watches the topic.
    Watch {
        /// Which.
        topic: Topic,
        /// Tell it when hints on the topic come in, or will at some time.
        confirm: oneshot::Sender<()>,
    },
    /// Someone does so no longer; others may.
    Unwatch {
        /// Which.
        topic: Topic,
    },
}

impl Wish {
    pub(super) const fn topic(&self) -> Topic {
        match self {
            Self::Watch { topic, .. } | Self::Unwatch { topic } => *topic,
        }
    }
}
