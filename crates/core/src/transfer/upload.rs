//! The sending side of an upload.

use std::ops::Range;

use thiserror::Error;

use super::{Pace, Path};
use crate::{port::resource::Offsets, time::Timestamp};

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
    /// The end of what was ever sent, on whatever stream.
    furthest: u64,
    /// Bytes that were sent on more than one stream.
    resent: u64,
    pace: Pace,
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
    pub fn new(size: u64) -> Self {
        let (offsets, pace) = (Offsets::default(), Pace::default());
        Self { size, sent: 0, offsets, furthest: 0, resent: 0, pace }
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

    /// Bytes that were handed over again, because a stream ended before the server had them.
    #[must_use]
    pub const fn resent(&self) -> u64 {
        self.resent
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
        self.pace.reopened();
        Ok(self.sent)
    }

    /// The server has reported how far it is, over a transport that knows this `path`.
    ///
    /// # Errors
    /// [`BadReport`] if it goes back, or claims bytes that were not sent.
    pub fn handle_progress(
        &mut self,
        offsets: Offsets,
        path: Path,
        now: Timestamp,
    ) -> Result<(), BadReport> {
        if offsets.durable > offsets.received
            || offsets.received > self.sent
            || offsets.received < self.offsets.received
            || offsets.durable < self.offsets.durable
        {
            return Err(bad(offsets));
        }
        self.offsets = offsets;
        self.pace.handle_received(offsets.received, self.sent, path, now);
        Ok(())
    }

    /// The next bytes to send now, as many at a time and as far ahead as the path takes; `None` if it
    /// is time to wait for the server, or all are sent.
    pub fn poll_send(&mut self, now: Timestamp) -> Option<Range<u64>> {
        // Not ahead of what is durable: that may follow in large steps, and the server itself stops
        // taking in where it falls too far behind.
        let ahead_end = self.offsets.received.saturating_add(self.pace.ahead());
        let end = self.sent.saturating_add(self.pace.piece()).min(ahead_end).min(self.size);
        if end <= self.sent {
            return None;
        }
        let range = self.sent..end;
        self.resent += end.min(self.furthest).saturating_sub(range.start);
        self.furthest = self.furthest.max(end);
        self.sent = end;
        self.pace.handle_sent(end, self.offsets.received, now);
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
    use std::time::Duration;

    use super::*;
    use crate::limit::UPLOAD_AHEAD_BYTES_MAX;

    const MIB: u64 = 1024 * 1024;
    const TRIP: Duration = Duration::from_millis(40);
    const PATH: Path = Path { round_trip: TRIP, lost: Some(0) };

    fn at(received: u64, durable: u64) -> Offsets {
        Offsets { received, durable }
    }

    /// Sends all that may be sent at once; gives the end of it.
    fn fill(upload: &mut Upload, now: Timestamp) -> u64 {
        let mut end = upload.sent;
        while let Some(range) = upload.poll_send(now) {
            assert_eq!(range.start, end);
            end = range.end;
        }
        end
    }

    #[test]
    fn runs_ahead_as_far_as_the_path_takes_and_no_further_than_allowed() {
        let mut upload = Upload::new(100 * MIB);
        assert_eq!(upload.handle_ready(at(0, 0)), Ok(0));
        assert_eq!(upload.poll_send(Timestamp(0)), Some(0..16 * 1024));
        let mut sent = fill(&mut upload, Timestamp(0));
        assert_eq!(sent, 64 * 1024);
        // A path without an end.
        for round in 1..20 {
            let report = upload.handle_progress(at(sent, 0), PATH, Timestamp(round * 40));
            assert_eq!(report, Ok(()));
            let end = fill(&mut upload, Timestamp(round * 40));
            assert!(end - sent <= UPLOAD_AHEAD_BYTES_MAX);
            sent = end;
        }
        assert_eq!(upload.sent - upload.offsets.received, UPLOAD_AHEAD_BYTES_MAX);
        assert_eq!(upload.resent(), 0);
    }

    #[test]
    fn goes_on_where_the_server_says_and_counts_what_it_sends_again() {
        let mut upload = Upload::new(200_000);
        assert_eq!(upload.handle_ready(at(150_000, 150_000)), Ok(150_000));
        assert_eq!(fill(&mut upload, Timestamp(0)), 200_000);
        assert!(upload.is_sent());
        // The stream broke; the server has only some of it.
        assert_eq!(upload.handle_ready(at(170_000, 170_000)), Ok(170_000));
        assert_eq!((upload.resent(), upload.is_sent()), (0, false));
        assert_eq!(upload.poll_send(Timestamp(0)), Some(170_000..186_384));
        assert_eq!(upload.resent(), 16_384);
        assert_eq!(fill(&mut upload, Timestamp(0)), 200_000);
        assert_eq!(upload.handle_progress(at(200_000, 200_000), PATH, Timestamp(50)), Ok(()));
        assert_eq!((upload.poll_send(Timestamp(50)), upload.resent()), (None, 30_000));
    }

    #[test]
    fn does_not_wait_for_bytes_to_be_durable() {
        let mut upload = Upload::new(10 * MIB);
        assert_eq!(upload.handle_ready(at(0, 0)), Ok(0));
        let (mut sent, mut now) = (0, Timestamp(0));
        while !upload.is_sent() {
            let end = fill(&mut upload, now);
            assert!(end > sent);
            sent = end;
            now = now + TRIP;
            assert_eq!(upload.handle_progress(at(sent, 0), PATH, now), Ok(()));
        }
        // The server's machine is gone, and with it all that was not durable.
        assert_eq!(upload.handle_ready(at(8 * MIB, 8 * MIB)), Ok(8 * MIB));
        assert_eq!(upload.poll_send(now).map(|range| range.start), Some(8 * MIB));
    }

    #[test]
    fn refuses_reports_that_cannot_be() {
        let mut upload = Upload::new(30_000);
        assert!(upload.handle_ready(at(30_001, 0)).is_err());
        assert!(upload.handle_ready(at(1, 2)).is_err());
        assert_eq!(upload.handle_ready(at(10_000, 10_000)), Ok(10_000));
        assert_eq!(upload.poll_send(Timestamp(0)), Some(10_000..26_384));
        for (received, durable) in
            [(26_385, 10_000), (9_999, 9_999), (20_000, 20_001), (20_000, 9_999)]
        {
            let report = upload.handle_progress(at(received, durable), PATH, Timestamp(1));
            assert!(report.is_err(), "{received} {durable}");
        }
        assert_eq!(upload.handle_progress(at(20_000, 15_000), PATH, Timestamp(1)), Ok(()));
    }

    #[test]
    fn an_empty_file_is_sent_at_once() {
        let mut upload = Upload::new(0);
        assert_eq!(upload.handle_ready(at(0, 0)), Ok(0));
        assert_eq!((upload.poll_send(Timestamp(0)), upload.is_sent()), (None, true));
    }
}
