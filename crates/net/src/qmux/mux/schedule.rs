//! What goes into the next record: what is urgent first, and of equals whoever waited longest.

use bytes::BytesMut;
use tokio::time::Instant;

use super::{
    super::frame::{CONTROL_BYTES_MAX, Frame, STREAM_HEAD_BYTES_MAX},
    Mux, record,
};

/// Bytes of a record as this side makes them, about: what a message waits for at most, once it is
/// written, is one of these and what the kernel holds.
pub(super) const RECORD_BYTES: usize = 8 * 1024;

impl Mux {
    /// The next record to send; `None` while there is nothing to say.
    pub fn next_record(&mut self, now: Instant) -> Option<BytesMut> {
        let mut out = record();
        if !self.said_parameters {
            self.said_parameters = true;
            Frame::Parameters(self.parameters()).put(&mut out);
        }
        if self.end.is_some() {
            // After the farewell nothing follows.
            self.farewell.take()?.put(&mut out);
            return Some(out);
        }
        self.put_credit(&mut out);
        self.put_stream_control(&mut out);
        self.put_streams(&mut out, now);
        if let Some(number) = self.pings.take_pong() {
            Frame::Pong(number).put(&mut out);
        }
        // After the ends of streams, which its answer shows to have arrived.
        if let Some(number) = self.pings.take_ping(now) {
            Frame::Ping(number).put(&mut out);
        }
        if out.is_empty() {
            return None;
        }
        self.sent_at = now;
        Some(out)
    }

    /// Whether the peer should be told of more room for all streams together.
    pub(super) fn wants_credit(&self) -> bool {
        let window = self.config.receive_bytes;
        self.consumed + window > self.received_max
            && self.received_max - self.received.min(self.received_max) <= window / 2
    }

    fn put_credit(&mut self, out: &mut BytesMut) {
        if self.wants_credit() {
            self.received_max = self.consumed + self.config.receive_bytes;
            Frame::MaxData(self.received_max).put(out);
        }
        let streams_max = self.retired + self.config.streams;
        if !self.config.client && streams_max > self.streams_max {
            self.streams_max = streams_max;
            Frame::MaxStreams(streams_max).put(out);
        }
    }

    fn put_stream_control(&mut self, out: &mut BytesMut) {
        let mut over = Vec::new();
        for (&index, stream) in &mut self.streams {
            // What does not fit is said in the next record.
            if RECORD_BYTES - out.len().min(RECORD_BYTES) < 3 * CONTROL_BYTES_MAX {
                break;
            }
            let id = index << 2;
            if let Some(code) = stream.incoming.take_stop() {
                Frame::Stop { id, code }.put(out);
            }
            if stream.incoming.wants_credit() {
                Frame::MaxStreamData { id, max: stream.incoming.grant() }.put(out);
            }
            if let Some(code) = stream.outgoing.take_reset() {
                Frame::Reset { id, code, size: stream.outgoing.sent }.put(out);
                stream.bells.writable.notify_one();
                over.push(index);
            }
        }
        for index in over {
            self.retire(index);
        }
    }

    fn put_streams(&mut self, out: &mut BytesMut, now: Instant) {
        let mut any = false;
        while out.len() + STREAM_HEAD_BYTES_MAX < RECORD_BYTES {
            let allowed = self.sent_max.saturating_sub(self.sent);
            let next = self.most_urgent(allowed);
            if self.datagrams_before(next, now) {
                if !self.put_datagrams(out, now) {
                    // They are the first in the next record.
                    break;
                }
                any = true;
                continue;
            }
            let Some(index) = next else { break };
            self.turn += 1;
            let Some(stream) = self.streams.get_mut(&index) else { break };
            let room = RECORD_BYTES - STREAM_HEAD_BYTES_MAX - out.len();
            let most = stream.outgoing.ready().min(allowed);
            let offset = stream.outgoing.sent;
            let data = stream.outgoing.take(usize::try_from(most).unwrap_or(room).min(room));
            let end = stream.outgoing.ends();
            stream.outgoing.turn = self.turn;
            self.sent += data.len() as u64;
            any = true;
            if end {
                stream.outgoing.ended(self.pings.follow());
            }
            stream.bells.writable.notify_one();
            Frame::Stream { id: index << 2, offset, data, end }.put(out);
            self.retire(index);
        }
        if any {
            self.pings.accompany(now);
        }
    }

    /// The stream to send of next: of those that can, the most urgent, and of these the one that was
    /// served the longest time ago.
    fn most_urgent(&self, allowed: u64) -> Option<u64> {
        let can = |stream: &super::Stream| {
            let outgoing = &stream.outgoing;
            outgoing.ends() || (allowed > 0 && outgoing.ready() > 0)
        };
        let ready = self.streams.iter().filter(|(_, stream)| can(stream));
        ready.max_by_key(|(_, stream)| stream.outgoing.rank()).map(|(&index, _)| index)
    }
}
