//! The state of the link to a chat node, and what the end of a connection means for it.

use crate::time::Timestamp;

/// Why a connection ended, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// Either side closed it in order.
    Normal,
    /// Another login of the account took this session's place. The message says which.
    Kicked {
        /// One sentence for people.
        message: String,
    },
    /// The node is going away.
    Draining,
    /// The token is not, or no longer, valid.
    Unauthorised {
        /// One sentence for people.
        message: String,
    },
    /// One side broke the protocol.
    Protocol {
        /// One sentence for people.
        message: String,
    },
    /// This client was too slow for its events; it reads on from its cursors.
    Behind,
    /// The node has no room.
    Overloaded,
    /// The node failed.
    Internal,
    /// The node waited for something that did not come.
    TimedOut,
    /// The node cannot reach a part that the session needs.
    Unavailable,
    /// The network was lost, or the node cannot be reached.
    Lost,
}

/// Why a session ended for good: only a person can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Another login took its place. Fighting back would throw the other device out.
    Kicked {
        /// One sentence for people.
        message: String,
    },
    /// It takes a new login.
    Unauthorised {
        /// One sentence for people.
        message: String,
    },
    /// Client and server do not understand each other; the next connection would end alike.
    Protocol {
        /// One sentence for people.
        message: String,
    },
}

/// Where the session stands with its chat node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not asked to connect.
    Idle,
    /// A connection is being made.
    Connecting,
    /// The hello is on its way.
    AwaitingWelcome {
        /// When it was sent.
        since: Timestamp,
    },
    /// Events come in, drafts go out.
    Live {
        /// When the welcome came.
        since: Timestamp,
    },
    /// The connection was lost; another is made when the time has come.
    Waiting {
        /// When.
        until: Timestamp,
    },
    /// Ended for good.
    Stopped(StopReason),
}

impl CloseReason {
    /// Whether it ends the session for good.
    #[must_use]
    pub fn stops(&self) -> Option<StopReason> {
        match self {
            Self::Kicked { message } => Some(StopReason::Kicked { message: message.clone() }),
            Self::Unauthorised { message } => {
                Some(StopReason::Unauthorised { message: message.clone() })
            }
            Self::Protocol { message } => Some(StopReason::Protocol { message: message.clone() }),
            Self::Normal
            | Self::Draining
            | Self::Behind
            | Self::Overloaded
            | Self::Internal
            | Self::TimedOut
            | Self::Unavailable
            | Self::Lost => None,
        }
    }

    /// Whether the next connection had better be made to another node, if there is one.
    #[must_use]
    pub const fn moves(&self) -> bool {
        matches!(self, Self::Draining | Self::Overloaded | Self::Internal | Self::Unavailable)
    }
}

impl StopReason {
    /// One sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Kicked { message }
            | Self::Unauthorised { message }
            | Self::Protocol { message } => message,
        }
    }
}
