//! QUIC's streams over one reliable, ordered pipe, without I/O: the subset of QMux that Skein speaks
//! where UDP is blocked, and its datagrams (draft-ietf-quic-qmux-02 and RFC 9221; the wire is specified in `proto/README.md`).
//!
//! [`mux::Mux`] is one end of a connection. Records that came are given to it, records to send are
//! taken from it one at a time, as late as possible: what is urgent when the pipe has room goes next,
//! whatever waited before. It queues no frames but datagrams, of which it keeps few: what has to
//! be said is derived from its state when a record is made, so a peer that does not read cannot make it
//! hold more.

pub mod frame;
pub mod mux;
mod parameters;
mod varint;

use thiserror::Error;

/// Bytes of a record at most, the peer's and ours (QMux's default `max_record_size`).
pub const RECORD_BYTES_MAX: usize = 16_382;

/// How a peer broke the protocol, with the codes of QUIC (RFC 9000, section 20.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// More bytes than it was allowed.
    #[error("the peer sent more bytes than it may")]
    FlowControl,
    /// More streams than it was allowed, or streams that this side does not take.
    #[error("the peer opened a stream that it may not")]
    StreamLimit,
    /// A frame for a stream that cannot have it.
    #[error("the peer sent a frame that its stream cannot have")]
    StreamState,
    /// What is no frame.
    #[error("the peer sent what is no frame")]
    FrameEncoding,
    /// Parameters that are none.
    #[error("the peer sent parameters that cannot be used")]
    Parameters,
    /// A frame at the wrong moment.
    #[error("the peer sent a frame out of turn")]
    Protocol,
}

impl Violation {
    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::FlowControl => 0x03,
            Self::StreamLimit => 0x04,
            Self::StreamState => 0x05,
            Self::FrameEncoding => 0x07,
            Self::Parameters => 0x08,
            Self::Protocol => 0x0a,
        }
    }
}
