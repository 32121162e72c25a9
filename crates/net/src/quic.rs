//! QUIC's own: how quinn's errors read in the words that all transports share.

pub(crate) mod datagram;
pub(crate) mod dial;
pub(crate) mod early;
pub(crate) mod listen;

use skein_core::refusal::Code;
use skein_wire::close::CloseCode;

use crate::{connection::Closed, stream::StreamError};

pub(crate) fn closed(error: quinn::ConnectionError) -> Closed {
    use quinn::ConnectionError as Error;
    let lost = |message: &str| Closed { code: None, message: message.into(), by_us: false };
    match error {
        Error::ApplicationClosed(close) => Closed {
            code: CloseCode::from_number(close.error_code.into_inner()),
            message: String::from_utf8_lossy(&close.reason).into_owned(),
            by_us: false,
        },
        Error::LocallyClosed => Closed { by_us: true, ..lost("this side closed the connection") },
        Error::TimedOut => lost("nothing was heard from the peer"),
        Error::Reset => lost("the peer has restarted"),
        Error::ConnectionClosed(close) => lost(&format!("the peer gave up: {close}")),
        Error::VersionMismatch => lost("the peer speaks no common version of QUIC"),
        Error::TransportError(error) => lost(&format!("QUIC failed: {error}")),
        Error::CidsExhausted => lost("QUIC ran out of connection ids"),
    }
}

pub(crate) fn write_error(error: quinn::WriteError) -> StreamError {
    match error {
        quinn::WriteError::Stopped(number) => StreamError::Abandoned(code(number)),
        quinn::WriteError::ConnectionLost(error) => StreamError::Closed(closed(error)),
        quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => {
            StreamError::Abandoned(None)
        }
    }
}

pub(crate) fn read_error(error: quinn::ReadError) -> StreamError {
    match error {
        quinn::ReadError::Reset(number) => StreamError::Abandoned(code(number)),
        quinn::ReadError::ConnectionLost(error) => StreamError::Closed(closed(error)),
        quinn::ReadError::ClosedStream
        | quinn::ReadError::IllegalOrderedRead
        | quinn::ReadError::ZeroRttRejected => StreamError::Abandoned(None),
    }
}

fn code(number: quinn::VarInt) -> Option<Code> {
    u32::try_from(number.into_inner()).ok().and_then(Code::from_number)
}
