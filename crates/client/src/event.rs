//! What a client tells whoever listens.

use skein_core::{
    entry::Entry,
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    refusal::Refusal,
    sync::StopReason,
};
use tokio::sync::broadcast::{self, error::RecvError};

/// Events that wait for a listener. One that falls further behind is told how many it missed; what
/// it missed of the logs is in [`Client::log`](crate::Client::log).
pub(crate) const EVENTS_WAITING_MAX: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An entry is in a log: each once, in order, and only after it was kept here.
    Entry {
        /// Which log.
        log: LogId,
        /// What.
        entry: Entry,
    },
    /// A contact came or went.
    Presence {
        /// Who.
        account: AccountId,
        /// Whether they have a session now.
        online: bool,
    },
    /// A message that was sent from this home is in its log.
    Sent {
        /// Which.
        id: EntryId,
        /// Where.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
    },
    /// A message that was sent from this home will never be in its log.
    Rejected {
        /// Which.
        id: EntryId,
        /// Why.
        refusal: Refusal,
    },
    /// The connection is in another state.
    Status(Status),
    /// The listener was too slow: this many events were dropped.
    Missed(u64),
}

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not asked to connect.
    Offline,
    /// A connection is being made.
    Connecting,
    /// Events come in, messages go out.
    Live {
        /// Whether everything that is known to exist is here.
        caught_up: bool,
    },
    /// There is no connection; another try comes by itself.
    Waiting {
        /// One sentence for people.
        reason: String,
    },
    /// The server has ended the session for good.
    Stopped(StopReason),
    /// The data in the home cannot be used any more.
    Broken {
        /// One sentence for people.
        reason: String,
    },
}

/// A listener. Make it before what it is to hear of.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` once the client is gone.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => Some(Event::Missed(count)),
            Err(RecvError::Closed) => None,
        }
    }
}
