//! The state of one stream: what waits to be sent, what came and was not read yet.

use std::{cmp::Reverse, collections::VecDeque, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::sync::Notify;

use super::super::Violation;

/// Why a stream cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// The peer gave it up, or wants no more of it, with this code.
    #[error("the peer gave the stream up")]
    Abandoned(u64),
    /// This side gave it up before.
    #[error("this side gave the stream up")]
    GivenUp,
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
}

/// What is rung for a stream. Each half has one user.
#[derive(Debug, Default)]
pub struct StreamBells {
    /// Bytes came, or will never come.
    pub readable: Notify,
    /// There may be room to write, or what was written has arrived.
    pub writable: Notify,
}

impl StreamBells {
    pub(super) fn ring(&self) {
        self.readable.notify_one();
        self.writable.notify_one();
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    pub(super) bells: Arc<StreamBells>,
}

impl Stream {
    /// Whether nobody has anything to do with it any more.
    pub(super) const fn is_over(&self) -> bool {
        self.outgoing.is_over() && self.incoming.is_over()
    }
}

/// Where a sending half is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    /// The end comes after what is queued.
    Finishing,
    /// The end was sent, and this ping after it.
    Finished {
        ping: u64,
    },
    /// It is to be told that it was given up.
    Resetting(u64),
    Reset,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Bytes that were sent, and that may be.
    pub(super) sent: u64,
    pub(super) max: u64,
    state: Sending,
    /// The peer wants no more.
    stopped: Option<u64>,
    pub(super) priority: i32,
    /// When it was served last.
    pub(super) turn: u64,
    pub(super) released: bool,
}

impl Outgoing {
    pub(super) fn new(max: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            sent: 0,
            max,
            state: Sending::Open,
            stopped: None,
            priority: 0,
            turn: 0,
            released: false,
        }
    }

    /// Takes as much as fits into `room`.
    pub(super) fn write(&mut self, bytes: &mut Bytes, room: usize) -> Result<(), Broken> {
        if let Some(code) = self.stopped {
            return Err(Broken::Abandoned(code));
        }
        if self.state != Sending::Open {
            return Err(Broken::GivenUp);
        }
        let fits = bytes.len().min(room.saturating_sub(self.queued));
        if fits > 0 {
            self.queued += fits;
            self.queue.push_back(bytes.split_to(fits));
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) {
        if self.state == Sending::Open {
            // A peer that wants no more is told that there is none (RFC 9000, section 3.5).
            self.state = self.stopped.map_or(Sending::Finishing, Sending::Resetting);
        }
    }

    pub(super) fn reset(&mut self, code: u64) {
        if matches!(self.state, Sending::Open | Sending::Finishing) {
            self.state = Sending::Resetting(code);
            self.clear();
        }
    }

    /// The peer wants no more.
    pub(super) fn stop(&mut self, code: u64) {
        if self.stopped.is_none() {
            self.stopped = Some(code);
            self.clear();
            if self.state == Sending::Finishing {
                self.state = Sending::Resetting(code);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queued = 0;
    }

    /// The code of the reset that is to be told, once.
    pub(super) fn take_reset(&mut self) -> Option<u64> {
        let Sending::Resetting(code) = self.state else { return None };
        self.state = Sending::Reset;
        Some(code)
    }

    /// Bytes that could be sent now, as far as this stream is concerned.
    pub(super) fn ready(&self) -> u64 {
        (self.queued as u64).min(self.max.saturating_sub(self.sent))
    }

    /// Whether only the end is left to be sent.
    pub(super) fn ends(&self) -> bool {
        self.state == Sending::Finishing && self.queued == 0
    }

    /// Takes at most `max` bytes off the queue, from one of its pieces.
    pub(super) fn take(&mut self, max: usize) -> Bytes {
        let Some(front) = self.queue.front_mut() else { return Bytes::new() };
        let bytes = front.split_to(front.len().min(max));
        if !front.has_remaining() {
            self.queue.pop_front();
        }
        self.queued -= bytes.len();
        self.sent += bytes.len() as u64;
        bytes
    }

    /// The greatest is served first.
    pub(super) const fn rank(&self) -> (i32, Reverse<u64>) {
        rank(self.priority, self.turn)
    }

    /// The end was sent; the answer to this ping says that it has arrived.
    pub(super) fn ended(&mut self, ping: u64) {
        self.state = Sending::Finished { ping };
    }

    pub(super) const fn is_delivered(&self, answered: Option<u64>) -> bool {
        let arrived = match (self.state, answered) {
            (Sending::Finished { ping }, Some(answered)) => answered >= ping,
            (Sending::Resetting(_) | Sending::Reset, _) => true,
            _ => false,
        };
        arrived || self.stopped.is_some()
    }

    const fn is_over(&self) -> bool {
        self.released && matches!(self.state, Sending::Finished { .. } | Sending::Reset)
    }
}

/// The rank of something so urgent that was served at this turn: of equals, whoever waits longest.
pub(super) const fn rank(priority: i32, turn: u64) -> (i32, Reverse<u64>) {
    (priority, Reverse(turn))
}

#[derive(Debug)]
pub(super) struct Incoming {
    /// What came and was not read. Small frames are copied together, so that it takes no more memory
    /// than it has bytes.
    buffer: BytesMut,
    /// Bytes that may be unread.
    window: u64,
    pub(super) received: u64,
    consumed: u64,
    /// What the peer was told that it may send.
    pub(super) max: u64,
    /// The peer's end of it: it sends nothing more.
    ended: bool,
    reset: Option<u64>,
    /// This side wants no more.
    stopped: bool,
    /// It is still to be told.
    stop: Option<u64>,
    pub(super) released: bool,
}

impl Incoming {
    pub(super) fn new(window: u64) -> Self {
        Self {
            buffer: BytesMut::new(),
            window,
            received: 0,
            consumed: 0,
            max: window,
            ended: false,
            reset: None,
            stopped: false,
            stop: None,
            released: false,
        }
    }

    /// Takes in what came. Answers the bytes that nobody will read.
    pub(super) fn receive(
        &mut self,
        offset: u64,
        data: &[u8],
        end: bool,
    ) -> Result<u64, Violation> {
        if self.ended {
            return Err(Violation::StreamState);
        }
        if offset != self.received {
            return Err(Violation::Protocol);
        }
        self.advance(data.len() as u64)?;
        self.ended = end;
        if self.stopped {
            self.consumed = self.received;
            return Ok(data.len() as u64);
        }
        self.buffer.extend_from_slice(data);
        Ok(0)
    }

    /// The peer gave it up after `size` bytes. Answers the bytes that nobody will read, and those of
    /// them that had not come.
    pub(super) fn receive_reset(&mut self, code: u64, size: u64) -> Result<(u64, u64), Violation> {
        if self.ended {
            // It has ended, so nothing is given up (RFC 9000, section 3.2).
            return Ok((0, 0));
        }
        let missing = size.saturating_sub(self.received);
        self.advance(missing)?;
        self.ended = true;
        self.reset = Some(code);
        Ok((self.discard(), missing))
    }

    fn advance(&mut self, bytes: u64) -> Result<(), Violation> {
        let received = self.received.checked_add(bytes).ok_or(Violation::FlowControl)?;
        if received > self.max {
            return Err(Violation::FlowControl);
        }
        self.received = received;
        Ok(())
    }

    /// `None` while nothing came; `Some(None)` at the end.
    pub(super) fn read(&mut self, max: usize) -> Result<Option<Option<Bytes>>, Broken> {
        if let Some(code) = self.reset {
            return Err(Broken::Abandoned(code));
        }
        if self.stopped {
            return Err(Broken::GivenUp);
        }
        if self.buffer.is_empty() {
            return Ok(self.ended.then_some(None));
        }
        let bytes = self.buffer.split_to(self.buffer.len().min(max)).freeze();
        self.consumed += bytes.len() as u64;
        if self.buffer.is_empty() {
            // Nothing of what it has held at its fullest is kept.
            self.buffer = BytesMut::new();
        }
        Ok(Some(Some(bytes)))
    }

    /// Nothing more will be read. Answers the bytes that were thrown away.
    pub(super) fn stop(&mut self, code: u64) -> u64 {
        if self.stopped {
            return 0;
        }
        self.stopped = true;
        if !self.ended {
            self.stop = Some(code);
        }
        self.discard()
    }

    /// The code of the stop that is to be told, once.
    pub(super) fn take_stop(&mut self) -> Option<u64> {
        self.stop.take()
    }

    /// Whether the peer should be told of more room: half of what it knew of is used.
    pub(super) fn wants_credit(&self) -> bool {
        !self.ended && !self.stopped && self.max - self.received <= self.window / 2 && self.lags()
    }

    fn lags(&self) -> bool {
        self.consumed + self.window > self.max
    }

    /// What the peer may send from now on.
    pub(super) fn grant(&mut self) -> u64 {
        self.max = self.consumed + self.window;
        self.max
    }

    fn discard(&mut self) -> u64 {
        let dropped = self.received - self.consumed;
        self.consumed = self.received;
        self.buffer = BytesMut::new();
        dropped
    }

    const fn is_over(&self) -> bool {
        self.released && self.ended
    }
}
