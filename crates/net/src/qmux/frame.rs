//! The frames of a record: QUIC's (RFC 9000, section 19; RFC 9221, section 4), with QMux's two of its
//! own.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Violation, parameters::Parameters, varint};

const RESET_STREAM: u64 = 0x04;
const STOP_SENDING: u64 = 0x05;
/// With its three flags in the lowest bits.
const STREAM: u64 = 0x08;
const STREAM_END: u64 = 0x01;
const STREAM_LENGTH: u64 = 0x02;
const STREAM_OFFSET: u64 = 0x04;
const MAX_DATA: u64 = 0x10;
const MAX_STREAM_DATA: u64 = 0x11;
const MAX_STREAMS: u64 = 0x12;
const MAX_STREAMS_ONE_WAY: u64 = 0x13;
const BLOCKED: std::ops::RangeInclusive<u64> = 0x14..=0x17;
const STREAM_BLOCKED: u64 = 0x15;
const CLOSE_TRANSPORT: u64 = 0x1c;
const CLOSE_APPLICATION: u64 = 0x1d;
const DATAGRAM: u64 = 0x30;
const DATAGRAM_LENGTH: u64 = 0x31;
const PARAMETERS: u64 = 0x3f51_5330_0d0a_0d0a;
const PING: u64 = 0x348c_6752_9ef8_c7bd;
const PONG: u64 = 0x348c_6752_9ef8_c7be;

/// Streams that a `MAX_STREAMS` may allow (RFC 9000, section 19.11).
const STREAMS_MAX: u64 = 1 << 60;

/// Bytes that the head of a `STREAM` frame takes at most: its kind, and three integers.
pub(super) const STREAM_HEAD_BYTES_MAX: usize = 1 + 8 + 8 + 2;
/// Bytes that the head of a `DATAGRAM` frame takes at most: its kind, and its length.
pub(crate) const DATAGRAM_HEAD_BYTES_MAX: usize = 1 + 2;
/// Bytes that any other frame takes at most, but parameters and closes.
pub(super) const CONTROL_BYTES_MAX: usize = 1 + 3 * 8;

/// One frame. Stream ids are QUIC's: the lowest two bits tell who opened it and whether both send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a stream.
    Stream {
        /// Whose.
        id: u64,
        /// Where they begin, if it says so.
        offset: u64,
        /// They.
        data: Bytes,
        /// Whether the stream ends with them.
        end: bool,
    },
    /// The sender gives a stream up.
    Reset {
        /// Which.
        id: u64,
        /// Why.
        code: u64,
        /// Bytes of it that count.
        size: u64,
    },
    /// The receiver wants no more of a stream.
    Stop {
        /// Which.
        id: u64,
        /// Why.
        code: u64,
    },
    /// Bytes that may be sent in all.
    MaxData(u64),
    /// Bytes that may be sent of a stream.
    MaxStreamData {
        /// Which.
        id: u64,
        /// How many.
        max: u64,
    },
    /// Streams that may be opened in all.
    MaxStreams(u64),
    /// Bytes that might have been lost.
    Datagram(Bytes),
    /// The first frame of either side.
    Parameters(Parameters),
    /// To be answered.
    Ping(u64),
    /// Answers all pings up to this one.
    Pong(u64),
    /// The end.
    Close {
        /// Why: a close code, or the number of a [`Violation`].
        code: u64,
        /// In a sentence.
        reason: Bytes,
        /// Whether the application closes, and not the transport.
        application: bool,
    },
    /// One that says nothing to this side.
    Ignored,
}

impl Frame {
    /// Takes the next frame off a record.
    ///
    /// # Errors
    /// [`Violation::FrameEncoding`] or [`Violation::Parameters`].
    pub fn take(record: &mut Bytes) -> Result<Self, Violation> {
        let kind = varint::take(record)?;
        Ok(match kind {
            // Padding.
            0 => Self::Ignored,
            STREAM..0x10 => Self::take_stream(kind, record)?,
            RESET_STREAM => {
                let (id, code) = (varint::take(record)?, varint::take(record)?);
                Self::Reset { id, code, size: varint::take(record)? }
            }
            STOP_SENDING => Self::Stop { id: varint::take(record)?, code: varint::take(record)? },
            MAX_DATA => Self::MaxData(varint::take(record)?),
            MAX_STREAM_DATA => {
                Self::MaxStreamData { id: varint::take(record)?, max: varint::take(record)? }
            }
            MAX_STREAMS | MAX_STREAMS_ONE_WAY => {
                let max = varint::take(record)?;
                if max > STREAMS_MAX {
                    return Err(Violation::FrameEncoding);
                }
                if kind == MAX_STREAMS { Self::MaxStreams(max) } else { Self::Ignored }
            }
            kind if BLOCKED.contains(&kind) => {
                varint::take(record)?;
                if kind == STREAM_BLOCKED {
                    varint::take(record)?;
                }
                Self::Ignored
            }
            CLOSE_TRANSPORT | CLOSE_APPLICATION => {
                let application = kind == CLOSE_APPLICATION;
                let code = varint::take(record)?;
                if !application {
                    // The kind of the frame that was wrong.
                    varint::take(record)?;
                }
                Self::Close { code, reason: take_counted(record)?, application }
            }
            DATAGRAM => Self::Datagram(record.split_to(record.len())),
            DATAGRAM_LENGTH => Self::Datagram(take_counted(record)?),
            PARAMETERS => Self::Parameters(Parameters::parse(take_counted(record)?)?),
            PING => Self::Ping(varint::take(record)?),
            PONG => Self::Pong(varint::take(record)?),
            _ => return Err(Violation::FrameEncoding),
        })
    }

    fn take_stream(kind: u64, record: &mut Bytes) -> Result<Self, Violation> {
        let id = varint::take(record)?;
        let offset = if kind & STREAM_OFFSET != 0 { varint::take(record)? } else { 0 };
        let counted = kind & STREAM_LENGTH != 0;
        let data = if counted { take_counted(record)? } else { record.split_to(record.len()) };
        Ok(Self::Stream { id, offset, data, end: kind & STREAM_END != 0 })
    }

    /// Appends the frame to a record.
    pub fn put(&self, record: &mut BytesMut) {
        let mut numbers = |numbers: &[u64]| {
            for number in numbers {
                varint::put(record, *number);
            }
        };
        match self {
            Self::Stream { id, offset, data, end } => {
                let kind = STREAM | STREAM_OFFSET | STREAM_LENGTH | u64::from(*end);
                numbers(&[kind, *id, *offset, data.len() as u64]);
                record.put_slice(data);
            }
            Self::Reset { id, code, size } => numbers(&[RESET_STREAM, *id, *code, *size]),
            Self::Stop { id, code } => numbers(&[STOP_SENDING, *id, *code]),
            Self::MaxData(max) => numbers(&[MAX_DATA, *max]),
            Self::MaxStreamData { id, max } => numbers(&[MAX_STREAM_DATA, *id, *max]),
            Self::MaxStreams(max) => numbers(&[MAX_STREAMS, *max]),
            Self::Datagram(data) => {
                numbers(&[DATAGRAM_LENGTH, data.len() as u64]);
                record.put_slice(data);
            }
            Self::Parameters(parameters) => {
                let body = parameters.encode();
                numbers(&[PARAMETERS, body.len() as u64]);
                record.put_slice(&body);
            }
            Self::Ping(number) => numbers(&[PING, *number]),
            Self::Pong(number) => numbers(&[PONG, *number]),
            Self::Close { code, reason, application } => {
                if *application {
                    numbers(&[CLOSE_APPLICATION, *code]);
                } else {
                    numbers(&[CLOSE_TRANSPORT, *code, 0]);
                }
                varint::put(record, reason.len() as u64);
                record.put_slice(reason);
            }
            Self::Ignored => record.put_u8(0),
        }
    }
}

/// Bytes after their number.
fn take_counted(record: &mut Bytes) -> Result<Bytes, Violation> {
    let length = usize::try_from(varint::take(record)?).map_err(|_| Violation::FrameEncoding)?;
    if record.remaining() < length {
        return Err(Violation::FrameEncoding);
    }
    Ok(record.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Frame> {
        let reason = Bytes::from_static(b"why");
        vec![
            Frame::Stream { id: 4, offset: 70, data: Bytes::from_static(b"abc"), end: true },
            Frame::Reset { id: 8, code: 5, size: 1 << 20 },
            Frame::Stop { id: 8, code: 7 },
            Frame::MaxData(1 << 22),
            Frame::MaxStreamData { id: 4, max: 1 << 21 },
            Frame::MaxStreams(16),
            Frame::Datagram(Bytes::from_static(b"voice")),
            Frame::Datagram(Bytes::new()),
            Frame::Parameters(Parameters { data: 5, streams: 4, ..Parameters::default() }),
            Frame::Ping(3),
            Frame::Pong(3),
            Frame::Close { code: 2, reason: reason.clone(), application: true },
            Frame::Close { code: 0x0a, reason, application: false },
            Frame::Ignored,
        ]
    }

    #[test]
    fn what_is_put_is_taken() {
        let mut record = BytesMut::new();
        for frame in all() {
            frame.put(&mut record);
        }
        let mut record = record.freeze();
        for frame in all() {
            assert_eq!(Frame::take(&mut record), Ok(frame));
        }
        assert!(record.is_empty());
    }

    #[test]
    fn what_is_cut_is_refused() {
        for frame in all() {
            let mut whole = BytesMut::new();
            frame.put(&mut whole);
            for length in 0..whole.len() {
                let mut cut = Bytes::copy_from_slice(&whole[..length]);
                assert!(Frame::take(&mut cut).is_err(), "{frame:?} cut to {length}");
            }
        }
    }

    #[test]
    fn bytes_on_the_wire() {
        for (frame, bytes) in [
            (
                Frame::Stream { id: 0, offset: 0, data: Bytes::from_static(b"hi"), end: false },
                &[0x0e, 0, 0, 2, b'h', b'i'][..],
            ),
            (Frame::Stop { id: 4, code: 6 }, &[0x05, 4, 6]),
            (Frame::MaxStreams(16), &[0x12, 16]),
            (Frame::Datagram(Bytes::from_static(b"hi")), &[0x31, 2, b'h', b'i']),
            (Frame::Ping(1), &[0xf4, 0x8c, 0x67, 0x52, 0x9e, 0xf8, 0xc7, 0xbd, 1]),
        ] {
            let mut record = BytesMut::new();
            frame.put(&mut record);
            assert_eq!(&record[..], bytes);
        }
        // Without offset and length: the rest of the record.
        let mut bare = Bytes::from_static(&[0x09, 4, b'x', b'y']);
        let data = Bytes::from_static(b"xy");
        assert_eq!(Frame::take(&mut bare), Ok(Frame::Stream { id: 4, offset: 0, data, end: true }));
        let mut bare = Bytes::from_static(&[0x30, b'h', b'i']);
        assert_eq!(Frame::take(&mut bare), Ok(Frame::Datagram(Bytes::from_static(b"hi"))));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in
            [&[0x01][..], &[0x32, 1], &[0x31, 2, 1], &[0x40], &[0x0e, 0, 0, 0x80, 0xff, 0xff, 0xff]]
        {
            let mut record = Bytes::copy_from_slice(bytes);
            assert_eq!(Frame::take(&mut record), Err(Violation::FrameEncoding), "{bytes:?}");
        }
    }
}
