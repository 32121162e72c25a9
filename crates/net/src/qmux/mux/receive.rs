//! What records of the peer do.

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::{RECORD_BYTES_MAX, Violation, frame::Frame, parameters::Parameters},
    End, Mux,
};

impl Mux {
    /// Takes in a record. One that breaks the protocol ends the connection, and so does a close.
    pub fn receive(&mut self, record: Bytes, now: Instant) {
        if self.end.is_some() {
            return;
        }
        self.heard_at = now;
        if let Err(violation) = self.receive_frames(record, now) {
            self.finish(End::Fault(violation));
        }
    }

    fn receive_frames(&mut self, mut record: Bytes, now: Instant) -> Result<(), Violation> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(Violation::FrameEncoding);
        }
        while !record.is_empty() && self.end.is_none() {
            let frame = Frame::take(&mut record)?;
            let first = self.peer.is_none();
            match frame {
                Frame::Ignored => {}
                Frame::Parameters(parameters) if first => self.receive_parameters(parameters),
                Frame::Parameters(_) => return Err(Violation::Protocol),
                _ if first => return Err(Violation::Protocol),
                frame => self.receive_frame(frame, now)?,
            }
        }
        Ok(())
    }

    fn receive_parameters(&mut self, parameters: Parameters) {
        self.peer = Some(parameters);
        self.sent_max = self.sent_max.max(parameters.data);
        if self.config.client {
            self.streams_max = self.streams_max.max(parameters.streams);
        }
        self.bells.change.notify_waiters();
        self.bells.output.notify_one();
    }

    fn receive_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Violation> {
        match frame {
            Frame::Stream { id, offset, data, end } => {
                self.receive_stream(id, offset, &data, end)?;
            }
            Frame::Reset { id, code, size } => self.receive_reset(id, code, size)?,
            Frame::Stop { id, code } => {
                let index = self.index(id)?;
                if let Some(stream) = self.streams.get_mut(&index) {
                    stream.outgoing.stop(code);
                    stream.bells.writable.notify_one();
                    self.bells.output.notify_one();
                }
            }
            Frame::MaxData(max) => {
                self.sent_max = self.sent_max.max(max);
                self.bells.output.notify_one();
            }
            Frame::MaxStreamData { id, max } => {
                let index = self.index(id)?;
                if let Some(stream) = self.streams.get_mut(&index) {
                    stream.outgoing.max = stream.outgoing.max.max(max);
                    self.bells.output.notify_one();
                }
            }
            Frame::MaxStreams(max) => {
                // A server opens none, however many it may.
                if self.config.client {
                    self.streams_max = self.streams_max.max(max);
                    self.bells.change.notify_waiters();
                }
            }
            Frame::Datagram(datagram) => self.receive_datagram(&datagram, now)?,
            Frame::Ping(number) => {
                self.pings.receive_ping(number)?;
                self.bells.output.notify_one();
            }
            Frame::Pong(number) => {
                self.pings.receive_pong(number, now)?;
                if self.pings.is_due() {
                    self.bells.output.notify_one();
                }
                for stream in self.streams.values() {
                    stream.bells.writable.notify_one();
                }
            }
            Frame::Close { code, reason, application } => {
                let end = if application { End::Closed } else { End::Refused };
                self.finish(end(code, reason));
            }
            Frame::Parameters(_) | Frame::Ignored => {}
        }
        Ok(())
    }

    fn receive_stream(
        &mut self,
        id: u64,
        offset: u64,
        data: &[u8],
        end: bool,
    ) -> Result<(), Violation> {
        let index = self.index(id)?;
        // One that is forgotten has ended, so nothing of it may come.
        let stream = self.streams.get_mut(&index).ok_or(Violation::StreamState)?;
        let dropped = stream.incoming.receive(offset, data, end)?;
        stream.bells.readable.notify_one();
        self.advance(data.len() as u64)?;
        self.consume(dropped);
        self.retire(index);
        Ok(())
    }

    fn receive_reset(&mut self, id: u64, code: u64, size: u64) -> Result<(), Violation> {
        let index = self.index(id)?;
        // One that is forgotten has ended.
        let Some(stream) = self.streams.get_mut(&index) else { return Ok(()) };
        let (dropped, missing) = stream.incoming.receive_reset(code, size)?;
        stream.bells.readable.notify_one();
        self.advance(missing)?;
        self.consume(dropped);
        self.retire(index);
        Ok(())
    }

    /// The index of a stream that a frame names; opens it and those before it, if the client may.
    fn index(&mut self, id: u64) -> Result<u64, Violation> {
        // Opened by the client and with two directions (RFC 9000, section 2.1).
        if id & 0b11 != 0 {
            return Err(Violation::StreamLimit);
        }
        let index = id >> 2;
        if index >= self.opened {
            if self.config.client {
                return Err(Violation::StreamState);
            }
            if index >= self.streams_max {
                return Err(Violation::StreamLimit);
            }
            while self.opened <= index {
                self.begin();
            }
            self.bells.change.notify_waiters();
        }
        Ok(index)
    }

    fn advance(&mut self, bytes: u64) -> Result<(), Violation> {
        self.received = self.received.checked_add(bytes).ok_or(Violation::FlowControl)?;
        if self.received > self.received_max { Err(Violation::FlowControl) } else { Ok(()) }
    }

    /// Bytes that nobody will read make room, too.
    fn consume(&mut self, bytes: u64) {
        self.consumed += bytes;
        if bytes > 0 && self.wants_credit() {
            self.bells.output.notify_one();
        }
    }
}
