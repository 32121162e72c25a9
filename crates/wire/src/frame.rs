//! Framing: each message is preceded by its length as a protobuf varint. Bulk bytes follow the last
//! frame of a stream as they are, so a decoder can be asked for what it has not consumed.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use skein_core::refusal::{Code, Refusal};
use thiserror::Error;

/// Bytes in one frame of a client, without its length: what a stranger can make a server hold. A
/// page of a log fits, too.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Bytes in one frame of a server, without its length. The longest lists that an account may have
/// are told in one, and a client trusts its server with that much.
pub const SERVER_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that the length may take: enough for any `u32`.
const LENGTH_BYTES_MAX: usize = 5;

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length says more than the limit. Nothing of the frame was taken in.
    #[error("a frame has at most {max} bytes here, not {claimed}")]
    TooLarge {
        /// What the length says.
        claimed: u64,
        /// What it may say.
        max: usize,
    },
    /// The length is no varint.
    #[error("a frame begins with its length as a varint of at most {LENGTH_BYTES_MAX} bytes")]
    BadLength,
    /// The bytes are not a message of the expected kind.
    #[error("the frame is not a {expected} message")]
    NotAMessage {
        /// The message's full name.
        expected: String,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Truncated,
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::TooLarge { .. } => Code::FrameTooLarge,
            FrameError::BadLength | FrameError::NotAMessage { .. } | FrameError::Truncated => {
                Code::Malformed
            }
        };
        Self::new(code, error.to_string())
    }
}

/// The message as one frame.
#[must_use]
pub fn encode(message: &impl Message) -> Bytes {
    message.encode_length_delimited_to_vec().into()
}

/// Takes in bytes as they come and gives out messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl Decoder {
    /// For frames of this many bytes at most: [`FRAME_BYTES_MAX`] of a client,
    /// [`SERVER_FRAME_BYTES_MAX`] of a server.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), frame_bytes_max }
    }

    /// Takes in the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// [`FrameError`]; the stream cannot be read on after one.
    pub fn message<M: Message + Default + prost::Name>(&mut self) -> Result<Option<M>, FrameError> {
        let Some((header, length)) = self.length()? else { return Ok(None) };
        if self.buffer.len() < header + length {
            self.buffer.reserve(header + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(header);
        let frame = self.buffer.split_to(length).freeze();
        let message =
            M::decode(frame).map_err(|_| FrameError::NotAMessage { expected: M::full_name() })?;
        Ok(Some(message))
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if it ended within a frame.
    pub fn end(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    /// What was fed and not consumed: the first raw bytes after the last frame.
    pub fn take_rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// Bytes that the length takes, and its value.
    fn length(&self) -> Result<Option<(usize, usize)>, FrameError> {
        let mut value = 0_u64;
        for (at, byte) in self.buffer.iter().take(LENGTH_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let max = self.frame_bytes_max;
                let length = usize::try_from(value).ok().filter(|length| *length <= max);
                return match length {
                    Some(length) => Ok(Some((at + 1, length))),
                    None => Err(FrameError::TooLarge { claimed: value, max }),
                };
            }
        }
        if self.buffer.len() >= LENGTH_BYTES_MAX { Err(FrameError::BadLength) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    fn presence(account: u64) -> pb::Presence {
        pb::Presence { account, online: true }
    }

    #[test]
    fn any_split_gives_the_same_messages() {
        let mut bytes = Vec::new();
        for account in [1, 300, u64::MAX] {
            bytes.extend_from_slice(&encode(&presence(account)));
        }
        bytes.extend_from_slice(b"raw");
        for split in 0..bytes.len() {
            let mut decoder = Decoder::new(FRAME_BYTES_MAX);
            let mut accounts = Vec::new();
            for part in [&bytes[..split], &bytes[split..]] {
                decoder.feed(part);
                while accounts.len() < 3 {
                    let Some(message) = decoder.message::<pb::Presence>().expect("good frames")
                    else {
                        break;
                    };
                    accounts.push(message.account);
                }
            }
            assert_eq!(accounts, [1, 300, u64::MAX]);
            assert_eq!(decoder.take_rest(), "raw");
            assert_eq!(decoder.end(), Ok(()));
        }
    }

    #[test]
    fn bad_bytes_have_names() {
        let too_large = |claimed| FrameError::TooLarge { claimed, max: FRAME_BYTES_MAX };
        let table: [(&[u8], FrameError); 4] = [
            (&[0x80, 0x80, 0x80, 0x80, 0x10], too_large(1 << 32)),
            (&[0x81, 0x80, 0x10], too_large(256 * 1024 + 1)),
            (&[0xff; 5], FrameError::BadLength),
            (&[1, 0xff], FrameError::NotAMessage { expected: "skein.v1.Presence".into() }),
        ];
        for (bytes, error) in table {
            let mut decoder = Decoder::new(FRAME_BYTES_MAX);
            decoder.feed(bytes);
            assert_eq!(decoder.message::<pb::Presence>(), Err(error), "{bytes:?}");
        }
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        decoder.feed(&encode(&presence(1))[..2]);
        assert_eq!(decoder.message::<pb::Presence>(), Ok(None));
        assert_eq!(decoder.end(), Err(FrameError::Truncated));
    }
}
