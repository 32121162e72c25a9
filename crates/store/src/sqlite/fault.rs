//! What can go wrong inside a transaction. `?` turns both a refusal and a database error into a
//! [`Fault`]; what was being done is added once, where the transaction is run.

use skein_core::refusal::Refusal;

use crate::StoreError;

/// Why a piece of a transaction was not done.
pub(super) enum Fault {
    /// A rule was in the way.
    Refused(Refusal),
    /// The database failed, or holds what this version cannot read.
    Database(rusqlite::Error),
}

impl Fault {
    /// The error for the caller of the store.
    pub(super) fn while_doing(self, doing: &'static str) -> StoreError {
        match self {
            Self::Refused(refusal) => StoreError::Refused(refusal),
            Self::Database(error) => StoreError::Failed { doing, source: Box::new(error) },
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
