//! QUIC's integers of variable length (RFC 9000, section 16).

use bytes::{Buf, BufMut};

use super::Violation;

/// The largest one.
pub(super) const MAX: u64 = (1 << 62) - 1;

/// Takes one off the front.
pub(super) fn take(bytes: &mut impl Buf) -> Result<u64, Violation> {
    if !bytes.has_remaining() {
        return Err(Violation::FrameEncoding);
    }
    let length = 1_usize << (bytes.chunk()[0] >> 6);
    if bytes.remaining() < length {
        return Err(Violation::FrameEncoding);
    }
    let value = bytes.get_uint(length);
    // The two highest bits told the length.
    Ok(value & (u64::MAX >> (66 - 8 * length.min(8))))
}

/// Appends one. What is too large becomes the largest; nothing of ours is.
pub(super) fn put(out: &mut impl BufMut, value: u64) {
    let value = value.min(MAX);
    let length = length(value);
    let prefix = (length.trailing_zeros() as u64) << (8 * length - 2);
    out.put_uint(prefix | value, length);
}

/// Bytes that it takes.
pub(super) const fn length(value: u64) -> usize {
    match value {
        0..64 => 1,
        64..16_384 => 2,
        16_384..1_073_741_824 => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 9000, appendix A.1.
        for (value, bytes) in [
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
            (MAX, &[0xff; 8]),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(length(value), bytes.len());
            assert_eq!(take(&mut &bytes[..]), Ok(value));
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), Err(Violation::FrameEncoding));
        }
        // A longer form than needed is one, too.
        assert_eq!(take(&mut &[0x40, 0x25][..]), Ok(37));
    }
}
