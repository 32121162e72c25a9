//! One end of a connection, without I/O.
//!
//! Only the client opens streams, and all have two directions, as everywhere in Skein's wire.

mod datagram;
mod life;
mod ping;
mod receive;
mod schedule;
mod stream;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{sync::Notify, time::Instant};

use self::{
    datagram::Datagrams,
    ping::Pings,
    stream::{Incoming, Outgoing, Stream},
};
use super::{Violation, parameters::Parameters};

pub use self::stream::{Broken, StreamBells};

/// What an end allows and does.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Whether it is the client, which opens the streams.
    pub client: bool,
    /// Streams that the client may have open at a time, at a server.
    pub streams: u64,
    /// Bytes that all streams together may hold unread.
    pub receive_bytes: u64,
    /// Bytes that one stream may hold unread.
    pub stream_receive_bytes: u64,
    /// Bytes that one stream holds that were not sent yet; its writer waits then.
    pub stream_send_bytes: usize,
    /// After this long without a record the peer is taken for gone.
    pub idle_timeout: Duration,
    /// How often it asks an idle peer whether it is there; `None` for never.
    pub keep_alive: Option<Duration>,
    /// Whether it takes and sends datagrams. A server takes some only once it has [raised](Mux::raise)
    /// what it allows.
    pub datagrams: bool,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// This side closed it.
    Here,
    /// The peer's application closed it, with a code and a reason.
    Closed(u64, Bytes),
    /// The peer found fault with this side.
    Refused(u64, Bytes),
    /// This side found fault with the peer.
    Fault(Violation),
    /// The pipe broke, or nothing was heard for too long.
    Lost(String),
}

/// What is rung when something changes.
#[derive(Debug, Default)]
pub struct Bells {
    /// There may be a record to send.
    pub output: Notify,
    /// A stream may be opened or accepted, or the connection has ended.
    pub change: Notify,
    /// A datagram has come.
    pub datagram: Notify,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Mux {
    config: Config,
    bells: Arc<Bells>,
    streams: BTreeMap<u64, Stream>,
    /// Streams that were opened so far; the next one has this index.
    opened: u64,
    /// Streams that the application has accepted, at a server.
    accepted: u64,
    /// Streams that have ended on both sides and are forgotten.
    retired: u64,
    /// Streams that may be opened in all: as this side has told, or was told.
    streams_max: u64,
    /// Bytes that were sent, and that may be, in all.
    sent: u64,
    sent_max: u64,
    /// Bytes that came, that were taken by the application, and that may come, in all.
    received: u64,
    consumed: u64,
    received_max: u64,
    /// The peer's parameters, once they came.
    peer: Option<Parameters>,
    said_parameters: bool,
    pings: Pings,
    datagrams: Option<Box<Datagrams>>,
    /// Counts how often a stream was served, so that those of one priority take turns.
    turn: u64,
    end: Option<End>,
    /// What remains to be told of the end.
    farewell: Option<super::frame::Frame>,
    heard_at: Instant,
    sent_at: Instant,
}

impl Mux {
    /// A new one. `round_trip` is what is known of the path.
    #[must_use]
    pub fn new(config: Config, round_trip: Option<Duration>, now: Instant) -> Self {
        Self {
            config,
            bells: Arc::default(),
            streams: BTreeMap::new(),
            opened: 0,
            accepted: 0,
            retired: 0,
            streams_max: if config.client { 0 } else { config.streams },
            sent: 0,
            sent_max: 0,
            received: 0,
            consumed: 0,
            received_max: config.receive_bytes,
            peer: None,
            said_parameters: false,
            pings: Pings::new(round_trip),
            datagrams: config.datagrams.then(|| Box::new(Datagrams::new(config.client, now))),
            turn: 0,
            end: None,
            farewell: None,
            heard_at: now,
            sent_at: now,
        }
    }

    /// When something was last heard of the peer.
    #[must_use]
    pub const fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// What is rung when something changes.
    #[must_use]
    pub fn bells(&self) -> Arc<Bells> {
        Arc::clone(&self.bells)
    }

    /// Opens a stream, if the peer allows another one now.
    pub fn open(&mut self) -> Option<Opened> {
        if self.opened >= self.streams_max || self.end.is_some() {
            return None;
        }
        Some(self.begin())
    }

    /// The next stream that the client has opened.
    pub fn accept(&mut self) -> Option<Opened> {
        if self.accepted >= self.opened || self.end.is_some() {
            return None;
        }
        let index = self.accepted;
        self.accepted += 1;
        let stream = self.streams.get(&index)?;
        Some(Opened { index, bells: Arc::clone(&stream.bells) })
    }

    /// Makes the state of the next stream.
    fn begin(&mut self) -> Opened {
        let index = self.opened;
        self.opened += 1;
        let peer = self.peer.unwrap_or_default();
        let allowed =
            if self.config.client { peer.stream_data_remote } else { peer.stream_data_local };
        let stream = Stream {
            outgoing: Outgoing::new(allowed),
            incoming: Incoming::new(self.config.stream_receive_bytes),
            bells: Arc::default(),
        };
        let bells = Arc::clone(&stream.bells);
        self.streams.insert(index, stream);
        Opened { index, bells }
    }

    /// Allows the peer more from now on: streams at a time, bytes unread, and datagrams.
    pub fn raise(&mut self, streams: u64, receive_bytes: u64) {
        self.config.streams = self.config.streams.max(streams);
        self.config.receive_bytes = self.config.receive_bytes.max(receive_bytes);
        self.allow_datagrams();
        self.bells.output.notify_one();
    }

    /// Bytes that one stream may hold unsent from now on.
    pub fn enlarge_queues(&mut self, stream_send_bytes: usize) {
        self.config.stream_send_bytes = stream_send_bytes;
        for stream in self.streams.values() {
            stream.bells.writable.notify_one();
        }
    }

    /// Ends the connection; the peer is told why. What was not sent yet is lost.
    pub fn close(&mut self, code: u64, reason: Bytes) {
        let farewell = super::frame::Frame::Close { code, reason, application: true };
        if self.finish(End::Here) {
            self.farewell = Some(farewell);
        }
    }

    /// The connection has ended, unless it had before; the first reason counts.
    pub fn finish(&mut self, end: End) -> bool {
        if self.end.is_some() {
            return false;
        }
        if let End::Fault(violation) = &end {
            let reason = Bytes::from(violation.to_string());
            let code = violation.code();
            self.farewell = Some(super::frame::Frame::Close { code, reason, application: false });
        }
        self.end = Some(end);
        for stream in self.streams.values_mut() {
            stream.outgoing.clear();
            stream.bells.ring();
        }
        self.drop_datagrams();
        self.bells.change.notify_waiters();
        self.bells.output.notify_one();
        true
    }

    /// How it has ended, if it has.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn parameters(&self) -> Parameters {
        let stream = self.config.stream_receive_bytes;
        Parameters {
            idle_timeout_ms: u64::try_from(self.config.idle_timeout.as_millis())
                .unwrap_or(u64::MAX),
            data: self.received_max,
            stream_data_local: stream,
            stream_data_remote: stream,
            streams: if self.config.client { 0 } else { self.streams_max },
            datagram_frame_bytes: datagram::frame_bytes(self.config.datagrams),
        }
    }

    /// Forgets a stream that both sides and the application are done with, and so allows another.
    fn retire(&mut self, index: u64) {
        if self.streams.get(&index).is_some_and(Stream::is_over) {
            self.streams.remove(&index);
            self.retired += 1;
            self.bells.output.notify_one();
        }
    }
}

/// A stream for the application.
#[derive(Debug)]
pub struct Opened {
    /// Its number among the streams of the connection.
    pub index: u64,
    /// What is rung for it.
    pub bells: Arc<StreamBells>,
}

/// The application's side of a stream. An index is of a stream whose two halves the application has
/// not both [released](Mux::release_sender) yet.
impl Mux {
    /// Takes as many of `bytes` as there is room for.
    ///
    /// # Errors
    /// If the stream cannot be written on.
    pub fn write(&mut self, index: u64, bytes: &mut Bytes) -> Result<(), Broken> {
        let stream = self.stream(index)?;
        stream.outgoing.write(bytes, stream.room)?;
        self.bells.output.notify_one();
        Ok(())
    }

    /// Takes at most `max` bytes that came; `None` while there are none.
    ///
    /// # Errors
    /// If the stream cannot be read on.
    pub fn read(&mut self, index: u64, max: usize) -> Result<Option<Option<Bytes>>, Broken> {
        let ended = self.end.is_some();
        let stream = self.streams.get_mut(&index).ok_or(Broken::Ended)?;
        let read = stream.incoming.read(max)?;
        if let Some(Some(bytes)) = &read {
            self.consumed += bytes.len() as u64;
            if stream.incoming.wants_credit() || self.wants_credit() {
                self.bells.output.notify_one();
            }
        } else if read.is_none() && ended {
            return Err(Broken::Ended);
        }
        Ok(read)
    }

    /// Nothing more will be written.
    pub fn finish_stream(&mut self, index: u64) {
        self.change(index, |stream| stream.outgoing.finish());
    }

    /// Gives the sending half up.
    pub fn reset(&mut self, index: u64, code: u64) {
        self.change(index, |stream| stream.outgoing.reset(code));
    }

    /// Wants nothing more of the receiving half.
    pub fn stop(&mut self, index: u64, code: u64) {
        let mut dropped = 0;
        self.change(index, |stream| dropped = stream.incoming.stop(code));
        self.consumed += dropped;
    }

    /// Says how urgent a stream is.
    pub fn prioritise(&mut self, index: u64, priority: i32) {
        self.change(index, |stream| stream.outgoing.priority = priority);
    }

    /// Whether the peer has all that was written before the end, or wants no more.
    #[must_use]
    pub fn is_delivered(&self, index: u64) -> bool {
        let Some(stream) = self.streams.get(&index) else { return true };
        self.end.is_some() || stream.outgoing.is_delivered(self.pings.answered())
    }

    /// The application is done with the sending half.
    pub fn release_sender(&mut self, index: u64) {
        self.change(index, |stream| stream.outgoing.released = true);
        self.retire(index);
    }

    /// The application is done with the receiving half.
    pub fn release_receiver(&mut self, index: u64) {
        self.change(index, |stream| stream.incoming.released = true);
        self.retire(index);
    }

    fn stream(&mut self, index: u64) -> Result<Room<'_>, Broken> {
        if self.end.is_some() {
            return Err(Broken::Ended);
        }
        let room = self.config.stream_send_bytes;
        let stream = self.streams.get_mut(&index).ok_or(Broken::Ended)?;
        Ok(Room { outgoing: &mut stream.outgoing, room })
    }

    fn change(&mut self, index: u64, how: impl FnOnce(&mut Stream)) {
        if let Some(stream) = self.streams.get_mut(&index) {
            how(stream);
            self.bells.output.notify_one();
        }
    }
}

/// A sending half, and how much it may hold.
struct Room<'a> {
    outgoing: &'a mut Outgoing,
    room: usize,
}

/// An empty record with room for a usual one.
fn record() -> BytesMut {
    BytesMut::with_capacity(schedule::RECORD_BYTES)
}
