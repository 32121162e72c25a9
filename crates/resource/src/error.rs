//! What can fail beneath the resource role, and the answer for whoever asked.

use std::io;

use skein_blob::depot::DepotError;
use skein_core::refusal::Refusal;
use skein_store::StoreError;
use thiserror::Error;

/// A part that the role stands on failed, or the store refused.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The depot of complete blobs.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The disk under the uploads.
    #[error("the disk failed to {doing}")]
    Disk {
        /// What was being done, to follow "failed to".
        doing: &'static str,
        /// Its error.
        #[source]
        source: io::Error,
    },
}

impl ResourceError {
    /// For `map_err` on what the disk answers.
    pub(crate) fn disk(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Disk { doing, source }
    }

    /// The answer for the caller. A failure is logged here, once, and becomes `internal`.
    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            Self::Store(error) => error.into_refusal(),
            Self::Depot(error) => {
                tracing::error!(error.cause = cause(&error), "{error}");
                Refusal::internal()
            }
            Self::Disk { doing, source } => {
                tracing::error!(error.cause = %source, "the disk failed to {doing}");
                Refusal::internal()
            }
        }
    }
}

fn cause(error: &DepotError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
