//! The sending side of an upload.

use std::ops::Range;

use thiserror::Error;

use crate::{limit::UPLOAD_AHEAD_BYTES_MAX, port::resource::Offsets};

/// One upload, over as many streams as it takes.
///
/// For each stream: [`handle_ready`](Self::handle_ready) with what the server names, then
/// [`poll_send`](Self::poll_send) for what to send and [`handle_progress`](Self::handle_progress)
/// for what comes back.
#[derive(Debug, Clone)]
pub struct Upload {
    size: u64,
    /// The next byte to send on this stream.
    sent: u64,
    offsets: Offsets,
}

/// The server's account of the upload cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the server reported offsets that cannot be: received {received}, durable {durable}")]
pub struct BadReport {
    /// What it said it had received.
    pub received: u64,
    /// What it said was durable.
    pub durable: u64,
}

impl Upload {
    /// An upload of `size` bytes, of which nothing is known to be there.
    #[must_use]
    pub const fn new(size: u64) -> Self {
        Self { size, sent: 0, offsets: Offsets { received: 0, durable: 0 } }
    }

    /// Bytes in the whole file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How far the server has come, as far as it has said.
    #[must_use]
    pub const fn offsets(&self) -> Offsets {
        self.offsets
    }

    /// The server has opened the upload on a new stream. Answers the offset to send from.
    ///
    /// What was durable before may be gone if the server gave the upload up and began it anew: that
    /// is its right, so `durable` may go back here, and only here.
    ///
    /// # Errors
    /// [`BadReport`] if the offsets are beyond the file or contradict each other.
    pub fn handle_ready(&mut self, offsets: Offsets) -> Result<u64, BadReport> {
        if offsets.durable > offsets.received || offsets.received > self.size {
            return Err(bad(offsets));
        }
        self.offsets = offsets;
        self.sent = offsets.received;
        Ok(self.sent)
    }

    /// The server has reported how far it is.
    ///
    /// # Errors
    /// [`BadReport`] if it goes back, or claims bytes that were not sent.
    pub fn handle_progress(&mut self, offsets: Offsets) -> Result<(), BadReport> {
        if offsets.durable > offsets.received
            || offsets.received > self.sent
            || offsets.received < self.offsets.received
            || offsets.durable < self.offsets.durable
        {
            return Err(bad(offsets));
        }
        self.offsets = offsets;
        Ok(())
    }

    /// The next bytes to send now, at most `piece` of them; `None` if it is time to wait for the
    /// server, or all are sent.
    pub fn poll_send(&mut self, piece: u64) -> Option<Range<u64>> {
        // Not ahead of what is durable: that may follow in large steps, and the server itself stops
        // taking in where it falls too far behind.
        let ahead_end = self.offsets.received.saturating_add(UPLOAD_AHEAD_BYTES_MAX);
        let end = self.sent.saturating_add(piece).min(ahead_end).min(self.size);
        if end <= self.sent {
            return None;
        }
        let range = self.sent..end;
        self.sent = end;
        Some(range)
    }

    /// Whether every byte has been sent on this stream, or was there before it.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.sent == self.size
    }
}

const fn bad(offsets: Offsets) -> BadReport {
    BadReport { received: offsets.received, durable: offsets.durable }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn at(received: u64, durable: u64) -> Offsets {
        Offsets { received, durable }
    }

    #[test]
    fn never_runs_further_ahead_than_allowed() {
        let mut upload = Upload::new(10 * MIB);
        assert_eq!(upload.handle_ready(at(0, 0)), Ok(0));
        assert_eq!(upload.poll_send(MIB), Some(0..MIB));
        assert_eq!(upload.poll_send(4 * MIB), Some(MIB..2 * MIB));
        assert_eq!(upload.poll_send(MIB), None);
        assert_eq!(upload.handle_progress(at(1, 0)), Ok(()));
        assert_eq!(upload.poll_send(MIB), Some(2 * MIB..2 * MIB + 1));
        assert_eq!(upload.poll_send(MIB), None);
    }

    #[test]
    fn does_not_wait_for_bytes_to_be_durable() {
        let mut upload = Upload::new(10 * MIB);
        assert_eq!(upload.handle_ready(at(0, 0)), Ok(0));
        for received in 1..=10 {
            assert_eq!(upload.poll_send(MIB), Some((received - 1) * MIB..received * MIB));
            assert_eq!(upload.handle_progress(at(received * MIB, 0)), Ok(()));
        }
        assert!(upload.is_sent());
        // The server's machine is gone, and with it all that was not durable.
        assert_eq!(upload.handle_ready(at(8 * MIB, 8 * MIB)), Ok(8 * MIB));
        assert_eq!(upload.poll_send(MIB), Some(8 * MIB..9 * MIB));
    }

    #[test]
    fn goes_on_where_the_server_says() {
        let mut upload = Upload::new(3 * MIB);
        assert_eq!(upload.handle_ready(at(MIB, MIB)), Ok(MIB));
        assert_eq!(upload.poll_send(9 * MIB), Some(MIB..3 * MIB));
        assert!(upload.is_sent());
        // The stream broke; one byte less was durable than had been sent.
        assert_eq!(upload.handle_ready(at(3 * MIB - 1, 3 * MIB - 1)), Ok(3 * MIB - 1));
        assert_eq!(upload.poll_send(MIB), Some(3 * MIB - 1..3 * MIB));
        assert_eq!(upload.handle_progress(at(3 * MIB, 3 * MIB)), Ok(()));
        assert_eq!(upload.poll_send(MIB), None);
    }

    #[test]
    fn refuses_reports_that_cannot_be() {
        let mut upload = Upload::new(100);
        assert!(upload.handle_ready(at(101, 0)).is_err());
        assert!(upload.handle_ready(at(1, 2)).is_err());
        assert_eq!(upload.handle_ready(at(10, 10)), Ok(10));
        assert_eq!(upload.poll_send(10), Some(10..20));
        for (received, durable) in [(21, 10), (9, 9), (20, 21), (20, 9)] {
            assert!(upload.handle_progress(at(received, durable)).is_err(), "{received} {durable}");
        }
        assert_eq!(upload.handle_progress(at(20, 15)), Ok(()));
    }

    #[test]
    fn an_empty_file_is_sent_at_once() {
        let mut upload = Upload::new(0);
        assert_eq!(upload.handle_ready(at(0, 0)), Ok(0));
        assert_eq!((upload.poll_send(1), upload.is_sent()), (None, true));
    }
}
