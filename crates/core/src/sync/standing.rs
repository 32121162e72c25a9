//! How well a session is connected, as people and programs want to know it.

use super::StopReason;

/// How well a session is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not asked to connect.
    Idle,
    /// Events come in, messages go out.
    Online {
        /// Whether everything that is known to exist is here.
        caught_up: bool,
    },
    /// As online, but answers are late: packets get through, and not as they should.
    Slow {
        /// Whether everything that is known to exist is here.
        caught_up: bool,
    },
    /// The connection is gone or has fallen silent. Another is being made.
    Reconnecting {
        /// Whether it is gone. One that is silent may yet speak again.
        lost: bool,
    },
    /// There is no connection that can be heard, and the last attempt to make one has failed. Others
    /// follow.
    Offline,
    /// Ended for good.
    Stopped(StopReason),
}
