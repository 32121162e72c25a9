//! What goes into a session at its start, and what it asks its shell to do.

use std::time::Duration;

use crate::{
    entry::{Draft, Entry},
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    port::directory::ChatNode,
    refusal::Refusal,
    sync::{CloseReason, Link, StopReason},
};

/// What a session continues from: what its shell has on disk.
#[derive(Debug, Clone)]
pub struct Start {
    /// Whose session it is.
    pub account: AccountId,
    /// The last entry on disk of each log.
    pub cursors: Vec<(LogId, Seq)>,
    /// Drafts that were neither acknowledged nor rejected, in the order in which they were written.
    pub drafts: Vec<Draft>,
    /// Entries of an unknown conversation's past to read; usually
    /// [`INITIAL_HISTORY_ENTRIES`](super::INITIAL_HISTORY_ENTRIES).
    pub history_entries: u64,
    /// Drawn at random: spreads the waits of many clients.
    pub seed: u64,
}

/// Which node to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The one that was named last.
    Last,
    /// It cannot be reached or is going away: one that the gate names.
    Named,
    /// It can be reached and does not serve: another one, if the gate knows any.
    Other,
}

impl Target {
    /// The one to connect to after a connection has ended.
    pub(super) const fn after(link: &Link, reason: &CloseReason) -> Self {
        match link {
            // It answers, and does not let anyone in.
            Link::AwaitingWelcome { .. } if !matches!(reason, CloseReason::Lost) => Self::Other,
            Link::Live { .. } if !reason.moves() => Self::Last,
            _ => Self::Named,
        }
    }
}

/// Which node to make a second connection to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// This one and no other: the node that goes away has named it.
    Node(ChatNode),
    /// The one in use or another that the gate names, whichever answers first: the path is silent,
    /// and nobody knows yet whether it is the path or the node.
    First,
    /// Rather another than the one in use, which answers and does not serve.
    Other,
}

/// What a shell has found out about the connection in use since it looked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// Anything at all has come from the server, if only an acknowledgement.
    pub heard: bool,
    /// Something was sent that the server has to acknowledge, by whoever uses the connection.
    pub asked: bool,
    /// More than a question whether the server is there: a stream has moved, in either direction, or
    /// tries to.
    pub worked: bool,
    /// How long a packet and its acknowledgement take together.
    pub round_trip: Duration,
}

/// What the shell has to do. In order; each before the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make a connection; answer with `handle_dialed` or `handle_closed`.
    Dial {
        /// Which node to.
        target: Target,
    },
    /// Open the session stream with these cursors.
    SendHello {
        /// The last entry here of each log that is followed.
        cursors: Vec<(LogId, Seq)>,
    },
    /// Ask to append; answer with `handle_appended` or `handle_refused`.
    SendDraft(Draft),
    /// Ask for a page; answer with `handle_page` or `handle_page_refused`.
    ReadLog {
        /// Of which log.
        log: LogId,
        /// The entries after this one.
        after: Seq,
        /// Entries at most.
        limit: usize,
    },
    /// Keep the entry and the cursor that it moves, then show it.
    Store {
        /// In which log.
        log: LogId,
        /// What.
        entry: Entry,
    },
    /// Forget the draft: it is in the log.
    Acked {
        /// Which draft.
        id: EntryId,
        /// The log.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
    },
    /// Forget the draft: it will never be accepted. Tell its author.
    Rejected {
        /// Which draft.
        id: EntryId,
        /// Why.
        refusal: Refusal,
    },
    /// Close the connection.
    Hangup,
    /// Look what has come and gone over the connection since the last time; answer with
    /// `handle_listened`.
    Listen,
    /// Move the connections to new sockets, and make the server acknowledge something at once: the
    /// device has another network. What came before counts for nothing in the next
    /// [`Listen`](Self::Listen).
    Move,
    /// Make the server acknowledge something at once.
    Probe,
    /// Make a second connection beside the one in use; answer with `handle_beside_dialed` or
    /// `handle_beside_closed`.
    DialBeside {
        /// Which node to.
        to: Aside,
    },
    /// Open the session stream of the second connection with these cursors; answer with
    /// `handle_beside_welcome` or `handle_beside_closed`.
    SendHelloBeside {
        /// The last entry here of each log that is followed.
        cursors: Vec<(LogId, Seq)>,
    },
    /// The second connection, however far it has come, takes the place of the one in use, which is
    /// closed. What the former still brings is dropped.
    Switch,
    /// Close the second connection, or do not make it.
    HangupBeside,
    /// The connection is gone, and another one will be made.
    Lost(CloseReason),
    /// [`Session::link`](super::Session::link) answers something new.
    StateChanged,
    /// It is over until a person does something.
    Stopped(StopReason),
}
