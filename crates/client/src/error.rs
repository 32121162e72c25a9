//! What can go wrong, for programs ([`Error::code`]) and for people (its sentence).

use std::{io, path::PathBuf};

use skein_core::{
    id::TransferId,
    name::BadText,
    refusal::Refusal,
    sync::{DRAFTS_MAX, OutboxFull, StopReason},
    transfer::BadDownload,
};
use thiserror::Error;

use crate::home::QUEUE_MAX;

/// Why something was not done.
#[derive(Debug, Error)]
pub enum Error {
    /// The server said no, and why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The home holds no login.
    #[error("nobody is logged in here; log in first")]
    NotLoggedIn,
    /// [`Client::connect`](crate::Client::connect) was not called, or the client was closed.
    #[error("the client is not connected")]
    NotConnected,
    /// The server has ended the session for good.
    #[error("{}", .0.message())]
    Stopped(StopReason),
    /// The server cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// No answer came in time.
    #[error("{0} took too long; try again")]
    TimedOut(&'static str),
    /// What answers is no Skein server, or one of another time.
    #[error("the server's answer makes no sense: {0}")]
    BadAnswer(String),
    /// The URL of the server is no such thing.
    #[error("{0:?} is not the URL of a server; one looks like https://chat.example.org")]
    BadServer(String),
    /// A name or text is not acceptable.
    #[error(transparent)]
    BadText(#[from] BadText),
    /// There is no conversation with someone of that name.
    #[error("you have no conversation with {0}")]
    NoConversation(String),
    /// There is nobody of that name.
    #[error("there is nobody called {0}")]
    NoSuchPerson(String),
    /// The home holds messages of another account, or for another server, that were not sent yet.
    #[error(
        "this home holds unsent messages of {0}; log in as {0} at the server that they are for, \
         or use another home"
    )]
    HomeTaken(String),
    /// Too much waits to be sent.
    #[error("{DRAFTS_MAX} messages are waiting to be sent already; connect first")]
    OutboxFull,
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was changed while it was being sent.
    #[error("{} was changed while it was being sent; send it again", .0.display())]
    FileChanged(PathBuf),
    /// A file that is queued to be sent is not there any more.
    #[error("{} is not there any more", .0.display())]
    FileGone(PathBuf),
    /// There is a file already where the download should go.
    #[error("{} exists already", .0.display())]
    FileExists(PathBuf),
    /// Too many transfers are queued.
    #[error("{QUEUE_MAX} files are queued already")]
    QueueFull,
    /// The file is queued already, or another is to come to its place.
    #[error("this file is in the queue already, as number {0}")]
    InQueue(TransferId),
    /// The queue has no transfer of this number.
    #[error("there is no transfer {0}")]
    NoSuchTransfer(TransferId),
    /// The transfer has come too far for this.
    #[error("transfer {0} is over")]
    TransferOver(TransferId),
    /// What was downloaded is not what was promised.
    #[error(transparent)]
    BadDownload(#[from] BadDownload),
    /// The data in the home cannot be used.
    #[error("the data in the home cannot be used: {0}")]
    Home(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A stable name: that of the server's refusal, or one of this list's own.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code.name(),
            Self::NotLoggedIn => "not_logged_in",
            Self::NotConnected => "not_connected",
            Self::Stopped(StopReason::Kicked { .. }) => "kicked",
            Self::Stopped(StopReason::Unauthorised { .. }) => "unauthorised",
            Self::Stopped(StopReason::Protocol { .. }) => "protocol",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut(_) => "timed_out",
            Self::BadAnswer(_) => "bad_answer",
            Self::BadServer(_) => "bad_server",
            Self::BadText(_) => "invalid",
            Self::NoConversation(_) => "no_conversation",
            Self::NoSuchPerson(_) => "not_found",
            Self::HomeTaken(_) => "home_taken",
            Self::OutboxFull => "outbox_full",
            Self::File { .. } => "file",
            Self::FileChanged(_) => "file_changed",
            Self::FileGone(_) => "file_gone",
            Self::QueueFull => "queue_full",
            Self::InQueue(_) => "in_queue",
            Self::NoSuchTransfer(_) => "no_transfer",
            Self::TransferOver(_) => "transfer_over",
            Self::FileExists(_) => "file_exists",
            Self::BadDownload(_) => "bad_download",
            Self::Home(_) => "home",
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn home(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Home(error.into())
    }
}

impl From<OutboxFull> for Error {
    fn from(_: OutboxFull) -> Self {
        Self::OutboxFull
    }
}
