//! What can fail beneath the resource role, and the answer for whoever asked.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use skein_blob::depot::DepotError;
use skein_core::refusal::{Code, Refusal};
use skein_store::StoreError;
use thiserror::Error;

/// When to try again while the object store is away: most such times are short.
const AWAY_RETRY_AFTER: Duration = Duration::from_secs(1);
/// When to try again while a disk is full: somebody has to make room.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A part that the role stands on failed, or something was refused.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// A rule was in the way: the caller's answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
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

    /// A remote depot that takes no parts cannot be used.
    pub(crate) fn no_parts() -> Self {
        DepotError::Unusable("the object store takes no objects in parts".into()).into()
    }

    /// The object store takes what is here more slowly than anybody waits.
    pub(crate) fn too_slow() -> Self {
        let source = "it takes parts too slowly".into();
        DepotError::Unavailable { doing: "take what is here of an upload", source }.into()
    }

    /// Whether it is the refusal `code`, by this role or by the store.
    pub(crate) fn is_refused(&self, code: Code) -> bool {
        match self {
            Self::Refused(refusal) | Self::Store(StoreError::Refused(refusal)) => {
                refusal.code == code
            }
            _ => false,
        }
    }

    /// The answer for the caller. A failure is logged here, once, and becomes `unavailable` if it
    /// is a lack that passes, else `internal`.
    pub(crate) fn into_refusal(self) -> Refusal {
        let io = match &self {
            Self::Disk { source, .. } => Some(source),
            Self::Depot(error) => error.io(),
            Self::Store(_) | Self::Refused(_) => None,
        };
        if io.is_some_and(is_full) {
            tracing::error!(error.cause = %self, "the disk under the uploads is full; make room");
            return away("the server's staging disk is full; try again later", FULL_RETRY_AFTER);
        }
        match self {
            Self::Refused(refusal) => refusal,
            Self::Store(error) => error.into_refusal(),
            Self::Depot(error) if error.is_transient() => {
                tracing::warn!(error.cause = cause(&error), "{error}");
                away("the server's file storage is unavailable; try again later", AWAY_RETRY_AFTER)
            }
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

fn away(message: &str, retry_after: Duration) -> Refusal {
    Refusal { retry_after: Some(retry_after), ..Refusal::new(Code::Unavailable, message) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn cause(error: &DepotError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
