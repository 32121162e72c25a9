//! Why a store operation was not done.

use std::error::Error;

use skein_core::refusal::Refusal;
use thiserror::Error;

/// A store operation that was not done. Nothing of it has been committed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A rule was in the way: the caller's answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
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
            Self::Failed { doing, source } => {
                tracing::error!(error.cause = %source, "the store failed to {doing}");
                Refusal::internal()
            }
        }
    }
}
