//! Datagrams: bytes that may be lost, for what is worth nothing when it is late, such as voice.
//!
//! They are the same over QUIC (RFC 9221) and over a WebSocket, where they are frames of the same
//! name. Nothing waits for them and they wait for nothing: what finds its queue full takes the place
//! of the oldest there, on either side. Both queues take no memory until they are used.
//!
//! Three things are held here against the one who sends. Nothing makes a datagram slow down, neither
//! credit nor a reader, so a peer may keep up a pace, and one that goes beyond it for long is turned
//! away (`inbox`). Each counts for more than its bytes, so that empty ones cost their sender
//! something, too. And of what has come the bytes are copied: they are slices of all that the kernel
//! handed over at once, of which one byte would hold 64 KiB.
//!
//! One thing is held against this side. quinn sends datagrams ahead of all streams, so what is sent
//! keeps a pace, too, and leaves half of a path that is full to the rest (`outbox`).
//!
//! An endpoint takes and sends them only if its configuration says so: it costs a task for each
//! connection over QUIC, which is worth it where somebody reads.

mod inbox;
mod outbox;

use thiserror::Error;

use crate::connection::Closed;

pub(crate) use self::{
    inbox::Inbox,
    outbox::{Next, Outbox},
};

/// Bytes of a datagram at most: what is left of QUIC's least packet (1,200 bytes; RFC 9000, section
/// 14) with the longest connection id around it, so that every path carries it, at any time.
pub const DATAGRAM_BYTES_MAX: usize = 1_150;
/// Datagrams that wait in one direction of a connection: over a second of one voice, 20 ms each.
pub const QUEUE_DATAGRAMS_MAX: usize = 64;
/// Bytes that wait in one direction of a connection.
pub const QUEUE_BYTES_MAX: usize = 32 * 1024;
/// What a datagram counts for besides its bytes: about what the packet around it takes on the path.
pub const OVERHEAD_BYTES: usize = 64;
/// Bytes a second that are sent in the long run: 1 Mbit/s, a call in which sixteen speak at once.
pub const SENT_BYTES_PER_SECOND: u32 = 128 * 1024;
/// Bytes a second that a peer may send in the long run. More than it does if it is this version:
/// what a path has held back comes at once.
pub const RECEIVED_BYTES_PER_SECOND: u32 = 2 * SENT_BYTES_PER_SECOND;
/// Bytes beyond that which may come at once: what a peer sends in ten seconds, the longest that a path
/// is silent and then delivers all the same.
pub const RECEIVED_BURST_BYTES: u32 = 10 * SENT_BYTES_PER_SECOND;

/// Why a datagram cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatagramError {
    /// One of the two sides takes none, or the peer has not told yet that it does.
    #[error("no datagrams are taken on this connection")]
    Unsupported,
    /// It is longer than the peer takes.
    #[error("a datagram of {bytes} bytes is longer than {max}")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// The connection has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Datagrams that came to nothing on this side. What is lost on the way nobody counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// They had come, and nobody took them in time, or the peer had not logged in.
    pub received: u64,
    /// They were to be sent, and others took their place.
    pub sent: u64,
}

/// What a peer does with datagrams that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Abuse {
    #[error("a datagram is too long")]
    TooLong,
    #[error("these are too many datagrams")]
    Flood,
}

/// Whether a datagram of so many bytes is one.
pub(crate) const fn check(bytes: usize, max: usize) -> Result<(), DatagramError> {
    if bytes > max { Err(DatagramError::TooLong { bytes, max }) } else { Ok(()) }
}

/// What a datagram of so many bytes counts for.
const fn cost(bytes: usize) -> usize {
    bytes + OVERHEAD_BYTES
}
