//! Why a run is no measurement. A slow server is none of these.

use std::{io, path::PathBuf};

use skein_net::connection::Closed;
use thiserror::Error;

use crate::record::Unrecordable;

/// Why a run failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Something of this machine could not be used.
    #[error("cannot {doing}: {source}")]
    Machine {
        /// What was being done, to follow "cannot".
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The raw quinn process did not do its part.
    #[error("the raw quinn process failed to {doing}: {cause}")]
    Baseline {
        /// What was being done, to follow "failed to".
        doing: &'static str,
        /// What happened.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server ended a session that was to stay.
    #[error("a session ended: {0}")]
    Session(#[from] Closed),
    /// The server did not take a session.
    #[error("a session could not be opened: {0}")]
    Dial(#[from] skein_net::dial::DialError),
    /// A client of the SDK could not do its part.
    #[error("a client failed: {0}")]
    Client(#[from] skein_client::Error),
    /// A part of the bench has panicked, which it has said.
    #[error("a part of the bench ended: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// A program beside which Skein is measured did not start.
    #[error("{0} did not start")]
    Peer(&'static str),
    /// Something ended that was to go on for as long as something else was measured.
    #[error("{0} was through before the measurement was")]
    Early(&'static str),
    /// A file did not arrive.
    #[error("{0}: the file did not arrive")]
    NoFile(&'static str),
    /// Messages are missing or came twice.
    #[error(
        "{what}: {missing} of {expected} messages did not arrive, {repeated} came twice, \
         {unsent} could not even be sent"
    )]
    Incomplete {
        /// Which way they should have gone.
        what: &'static str,
        /// Messages in all.
        expected: u64,
        /// Messages of which nothing was heard.
        missing: u64,
        /// Messages that came again.
        repeated: u64,
        /// Messages for which the load generator found no room.
        unsent: u64,
    },
    /// The table has no place in the file that it was to be put into.
    #[error("cannot record in {}: {cause}", file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// Why not.
        cause: Unrecordable,
    },
    /// What came back is not what was sent.
    #[error("the bytes of the {0} are not those of the file")]
    WrongBytes(&'static str),
}

impl Failure {
    /// For `map_err`, of what this machine could not do.
    pub(crate) fn machine(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Machine { doing, source }
    }

    /// For `map_err`, of what the raw quinn process could not do.
    pub(crate) fn baseline<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |cause| Self::Baseline { doing, cause: cause.into() }
    }
}
