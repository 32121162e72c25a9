//! Why a store operation was not done.

use std::{error::Error, time::Duration};

use skein_core::refusal::{Code, Refusal};
use thiserror::Error;

/// When to ask again while the database is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A store operation that was not done. Unless the store was [unavailable](Self::Unavailable),
/// nothing of it has been committed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A rule was in the way: the caller's answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database cannot be reached or asks for patience: the same operation may be done later.
    /// What was under way when the connection broke may have been committed; every operation says
    /// how a retry finds that.
    #[error("the store is unavailable; it could not {doing}")]
    Unavailable {
        /// What was being done, to follow "could not".
        doing: &'static str,
        /// The database's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The database failed: for the log, not for the caller.
    #[error("the store failed to {doing}")]
    Failed {
        /// What was being done, to follow "failed to".
        doing: &'static str,
        /// The database's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// The answer for the caller. A failure is logged here, once, and becomes `internal`.
    #[must_use]
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Unavailable { doing, source } => {
                tracing::warn!(error.cause = %source, "the store is away; could not {doing}");
                Refusal {
                    retry_after: Some(RETRY_AFTER),
                    ..Refusal::new(Code::Unavailable, "the store is unavailable; try again later")
                }
            }
            Self::Failed { doing, source } => {
                tracing::error!(error.cause = %source, "the store failed to {doing}");
                Refusal::internal()
            }
        }
    }
}
