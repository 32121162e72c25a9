//! What each side allows the other from the start (RFC 9000, section 18.2, and RFC 9221, section 3, as
//! QMux uses them).

use bytes::{Buf, Bytes, BytesMut};

use super::{RECORD_BYTES_MAX, Violation, varint};

const IDLE_TIMEOUT_MS: u64 = 0x01;
const DATA: u64 = 0x04;
const STREAM_DATA_LOCAL: u64 = 0x05;
const STREAM_DATA_REMOTE: u64 = 0x06;
const STREAMS: u64 = 0x08;
const DATAGRAM_FRAME_BYTES: u64 = 0x20;
const RECORD_BYTES: u64 = 0x0571_c594_29cd_0845;

/// Parameters that are looked at; a frame with more of them than this is refused.
const COUNT_MAX: usize = 32;

/// The limits that a side tells first. What is not told is 0, which means none; other than here, the
/// record size, which is never less than [`RECORD_BYTES_MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Milliseconds without a record after which it takes the other for gone; 0 for never.
    pub idle_timeout_ms: u64,
    /// Bytes of all streams.
    pub data: u64,
    /// Bytes of a stream that the teller opened.
    pub stream_data_local: u64,
    /// Bytes of a stream that the other opened.
    pub stream_data_remote: u64,
    /// Streams that the other may open, of those with two directions.
    pub streams: u64,
    /// Bytes of a `DATAGRAM` frame that the teller takes.
    pub datagram_frame_bytes: u64,
}

impl Parameters {
    pub(super) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        for (id, value) in [
            (IDLE_TIMEOUT_MS, self.idle_timeout_ms),
            (DATA, self.data),
            (STREAM_DATA_LOCAL, self.stream_data_local),
            (STREAM_DATA_REMOTE, self.stream_data_remote),
            (STREAMS, self.streams),
            (DATAGRAM_FRAME_BYTES, self.datagram_frame_bytes),
        ] {
            if value != 0 {
                varint::put(&mut out, id);
                varint::put(&mut out, varint::length(value) as u64);
                varint::put(&mut out, value);
            }
        }
        out
    }

    pub(super) fn parse(mut bytes: Bytes) -> Result<Self, Violation> {
        let mut parsed = Self::default();
        let mut seen = Vec::new();
        while bytes.has_remaining() {
            let id = number(&mut bytes)?;
            let length = usize::try_from(number(&mut bytes)?).map_err(|_| Violation::Parameters)?;
            if bytes.remaining() < length || seen.contains(&id) || seen.len() == COUNT_MAX {
                return Err(Violation::Parameters);
            }
            seen.push(id);
            let mut value = bytes.split_to(length);
            let field = match id {
                IDLE_TIMEOUT_MS => &mut parsed.idle_timeout_ms,
                DATA => &mut parsed.data,
                STREAM_DATA_LOCAL => &mut parsed.stream_data_local,
                STREAM_DATA_REMOTE => &mut parsed.stream_data_remote,
                STREAMS => &mut parsed.streams,
                DATAGRAM_FRAME_BYTES => &mut parsed.datagram_frame_bytes,
                RECORD_BYTES => {
                    if number(&mut value)? < RECORD_BYTES_MAX as u64 {
                        return Err(Violation::Parameters);
                    }
                    continue;
                }
                // Others are for extensions, and ignored as QUIC ignores them.
                _ => continue,
            };
            *field = number(&mut value)?;
            if value.has_remaining() {
                return Err(Violation::Parameters);
            }
        }
        Ok(parsed)
    }
}

fn number(bytes: &mut impl Buf) -> Result<u64, Violation> {
    varint::take(bytes).map_err(|_| Violation::Parameters)
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn put(pairs: &[(u64, &[u8])]) -> Bytes {
        let mut out = BytesMut::new();
        for (id, value) in pairs {
            varint::put(&mut out, *id);
            varint::put(&mut out, value.len() as u64);
            out.put_slice(value);
        }
        out.freeze()
    }

    #[test]
    fn what_is_not_known_is_ignored_and_what_is_wrong_refused() {
        let known = Parameters { data: 9, ..Parameters::default() };
        assert_eq!(Parameters::parse(put(&[(0x77, b"x"), (DATA, &[9])])), Ok(known));
        let many: Vec<_> =
            (0x1000..0x1000 + COUNT_MAX as u64 + 1).map(|id| (id, &[][..])).collect();
        for wrong in [
            put(&[(DATA, &[1]), (DATA, &[1])]),
            put(&[(DATA, &[])]),
            put(&[(DATA, &[1, 1])]),
            put(&[(RECORD_BYTES, &[0x40, 0x40])]),
            put(&many),
            Bytes::from_static(&[4, 9, 1]),
        ] {
            assert_eq!(Parameters::parse(wrong), Err(Violation::Parameters));
        }
    }
}
