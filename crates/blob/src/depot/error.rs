//! Why the depot did not do it: what whoever asked needs to know, and the cause for the log.

use std::{error::Error, io};

use object_store::path::Path as ObjectPath;
use thiserror::Error;

/// Why the depot did not do it.
#[derive(Debug, Error)]
pub enum DepotError {
    /// There is no such object, or no such unfinished one.
    #[error("there is no object {0}")]
    Missing(ObjectPath),
    /// The object store cannot be reached, is too slow or asks for patience: the same may be done
    /// later. What was asked last may have been done.
    #[error("the object store is unavailable; it could not {doing}")]
    Unavailable {
        /// What was being done, to follow "could not".
        doing: &'static str,
        /// Its error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The object store failed.
    #[error("the object store failed to {doing}")]
    Objects {
        /// What was being done, to follow "failed to".
        doing: &'static str,
        /// Its error.
        #[source]
        source: object_store::Error,
    },
    /// The disk failed.
    #[error("the disk failed to {doing}")]
    Disk {
        /// What was being done, to follow "failed to".
        doing: &'static str,
        /// Its error.
        #[source]
        source: io::Error,
    },
    /// The configuration does not name a usable object store.
    #[error("{0}")]
    Unusable(String),
}

impl DepotError {
    /// The disk's own error, where a disk is the cause.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        let mut next = self.source();
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Whether the same may be done later with success.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
