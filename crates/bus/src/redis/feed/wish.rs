//! What subscribers want of the task that owns the subscriptions.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::hint::Topic;

/// A change of what a subscriber watches. The exchange knows it already.
pub(super) enum Wish {
    /// Someone watches the topics.
    Watch {
        /// Which.
        topics: Arc<[Topic]>,
        /// Tell it when hints on all of them come in, or will at some time.
        confirm: oneshot::Sender<()>,
    },
    /// Someone does so no longer; others may.
    Unwatch {
        /// Which.
        topics: Arc<[Topic]>,
    },
}

impl Wish {
    pub(super) fn topics(&self) -> &[Topic] {
        match self {
            Self::Watch { topics, .. } | Self::Unwatch { topics } => topics,
        }
    }
}
