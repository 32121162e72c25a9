//! How a client follows its logs and gets its messages into them, over connections that come and
//! go.
//!
//! Read [`Session`] first: it is the machine that a shell drives. It owns an [`Outbox`] (what is on
//! its way up) and one [`Timeline`] a log (what comes down). The shell calls `handle_*` with what
//! happened and the time, and carries out what [`Session::poll_effect`] answers, in that order.
//!
//! A session can have a second connection for a moment, made *beside* the live one: to the node that
//! a node which goes away has named, or because the live one has fallen silent. Once the second is
//! welcomed it takes the first one's place, and nobody who watches has seen a gap. When the device
//! has another network, the live connection moves there, and a second one is made only if it does
//! not arrive.
//!
//! [`Session::standing`] says how well it is connected, for people.
//!
//! What the shell must keep on disk, and nothing else: each draft, from before it is enqueued until
//! [`Effect::Acked`] or [`Effect::Rejected`]; each entry that [`Effect::Store`] names. With that, a
//! client that is killed at any moment loses nothing and repeats nothing.

mod link;
mod logs;
mod outbox;
mod session;
mod standing;
mod timeline;

pub use link::{CloseReason, Link, StopReason};
pub use logs::READS_IN_FLIGHT_MAX;
pub use outbox::{DRAFTS_MAX, Outbox, OutboxFull, Verdict};
pub use session::{
    Aside, Effect, INITIAL_HISTORY_ENTRIES, KEEP_ALIVE, MOVE_INTERVAL, REPLY_TIMEOUT, STEADY_AFTER,
    Session, Signs, Start, Target, WELCOME_TIMEOUT,
};
pub use standing::Standing;
pub use timeline::{Fetch, Timeline};
