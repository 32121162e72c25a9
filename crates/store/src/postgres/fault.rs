//! What can go wrong with an operation, and what that means for trying it again.

use std::fmt;

use deadpool_postgres::{PoolError, TimeoutType};
use skein_core::refusal::Refusal;
use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::{StoreError, metric};

/// Why an operation, or one try of it, was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// A rule was in the way.
    Refused(Refusal),
    /// Something else was in the way that may be gone at once.
    Again(&'static str),
    /// A former try, whose end was not seen, turns out to have been committed.
    TookEffect,
    /// The database, the way to it, or what it holds.
    Broken(Broken),
}

/// What a fault means for the same operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Another transaction was in the way: try again at once.
    Again,
    /// The database is away: try again, or let the caller do so.
    Wait,
    /// There is too much to do, or this side is closed: let the caller try again.
    Leave,
    /// It would fail again.
    None,
}

/// A failure below the rules. Its text is for the log: it holds no values of rows, as the details of
/// PostgreSQL's errors would.
#[derive(Debug, Error)]
pub(super) enum Broken {
    /// The server or the connection to it.
    #[error("{}", Text(.0))]
    Database(#[source] tokio_postgres::Error),
    /// No connection could be had.
    #[error("no connection: {}", pool_text(.0))]
    Pool(#[source] PoolError),
    /// The server did not answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// This side does not take any more: it is closed, or as busy as it may get.
    #[error("{0}")]
    Busy(&'static str),
    /// A row holds what this version cannot read, or a value does not fit a column.
    #[error("unreadable: {0}")]
    Unreadable(String),
}

impl Fault {
    pub(super) fn unreadable(problem: String) -> Self {
        Self::Broken(Broken::Unreadable(problem))
    }

    pub(super) fn timed_out() -> Self {
        Self::Broken(Broken::TimedOut)
    }

    /// What this fault means for the same operation.
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Refused(_) | Self::TookEffect => Remedy::None,
            Self::Again(_) => Remedy::Again,
            Self::Broken(broken) => broken.remedy(),
        }
    }

    /// Whether this says for sure that the transaction did not commit: the server has answered.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Broken(Broken::Database(error)) => {
                error.as_db_error().is_some() && self.remedy() != Remedy::Wait
            }
            Self::Broken(_) => false,
            Self::Refused(_) | Self::Again(_) | Self::TookEffect => true,
        }
    }

    /// The error for the caller of the store.
    pub(super) fn while_doing(self, doing: &'static str) -> StoreError {
        let remedy = self.remedy();
        let source: Box<dyn std::error::Error + Send + Sync> = match self {
            Self::Refused(refusal) => return StoreError::Refused(refusal),
            Self::Broken(broken) => Box::new(broken),
            other => other.to_string().into(),
        };
        if remedy == Remedy::None {
            metric::error("failed");
            StoreError::Failed { doing, source }
        } else {
            metric::error("unavailable");
            StoreError::Unavailable { doing, source }
        }
    }
}

impl Broken {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Database(error) => of_database(error),
            Self::Pool(PoolError::Backend(error)) => match of_database(error) {
                // To have no connection is to be away, whatever the server says to it.
                Remedy::None => Remedy::Wait,
                other => other,
            },
            Self::Pool(PoolError::Timeout(TimeoutType::Wait) | PoolError::Closed) => Remedy::Leave,
            Self::Busy(_) => Remedy::Leave,
            Self::Pool(_) | Self::TimedOut => Remedy::Wait,
            Self::Unreadable(_) => Remedy::None,
        }
    }
}

fn of_database(error: &tokio_postgres::Error) -> Remedy {
    let Some(code) = error.code() else { return of_connection(error) };
    match *code {
        // A unique key that is taken now was not there when the operation looked: when it looks
        // again, it will see whose it is.
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::UNIQUE_VIOLATION => Remedy::Again,
        // Cancelled by a timeout; a server that has become a standby; and a database that is in
        // recovery, shutting down or just being copied.
        SqlState::QUERY_CANCELED
        | SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        | SqlState::IO_ERROR => Remedy::Wait,
        // Connection exceptions, insufficient resources (a full disk among them) and operator
        // intervention, whatever the case.
        _ if ["08", "53", "57"].iter().any(|class| code.code().starts_with(class)) => Remedy::Wait,
        _ => Remedy::None,
    }
}

fn of_connection(error: &tokio_postgres::Error) -> Remedy {
    use std::error::Error;
    let is_network = error.source().is_some_and(|cause| cause.is::<std::io::Error>());
    if error.is_closed() || is_network { Remedy::Wait } else { Remedy::None }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Again(cause) => f.write_str(cause),
            Self::TookEffect => f.write_str("a former try has left no result"),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Broken(Broken::Database(error))
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        Self::Broken(Broken::Pool(error))
    }
}

/// A driver's error with its cause, but without the details of a row.
pub(super) struct Text<'a>(pub(super) &'a tokio_postgres::Error);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::error::Error;
        match self.0.as_db_error() {
            Some(error) => write!(f, "{} ({})", error.message(), error.code().code()),
            None => {
                self.0.fmt(f)?;
                let mut cause = self.0.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

fn pool_text(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => Text(error).to_string(),
        other => other.to_string(),
    }
}
