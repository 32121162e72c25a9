//! A connection over a WebSocket and its streams, as the rest of the crate uses them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use skein_core::refusal::Code;

use super::{STREAM_SEND_BYTES_AFTER_LOGIN, STREAMS_AFTER_LOGIN, closed};
use crate::{
    connection::Closed,
    datagram::{self, DatagramError, Dropped},
    qmux::mux::{Bells, Broken, Mux, Opened, StreamBells},
    stream::StreamError,
    transport::BYTES_UP,
};

/// What its task and its users share.
#[derive(Debug)]
pub(super) struct Shared {
    mux: Mutex<Mux>,
    pub(super) bells: Arc<Bells>,
    /// Messages that came.
    heard: AtomicU64,
}

impl Shared {
    pub(super) fn new(mux: Mux) -> Arc<Self> {
        let bells = mux.bells();
        Arc::new(Self { mux: Mutex::new(mux), bells, heard: AtomicU64::new(0) })
    }

    /// The state, for a moment: nothing is awaited while it is held.
    pub(super) fn mux(&self) -> MutexGuard<'_, Mux> {
        // A panic elsewhere leaves no state half-way that matters more than the others'.
        self.mux.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Resolves once `ready` answers something. It is asked again after each change.
    pub(super) async fn until<T>(&self, mut ready: impl FnMut(&mut Mux) -> Option<T>) -> T {
        loop {
            // Made before the look, so that no change between them is missed.
            let change = self.bells.change.notified();
            if let Some(found) = ready(&mut self.mux()) {
                return found;
            }
            change.await;
        }
    }
}

/// A connection. Clones are the same one; with the last clone and the last stream it closes.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    end: Arc<CloseOnDrop>,
    peer: SocketAddr,
}

#[derive(Debug)]
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.mux().close(0, Bytes::new());
    }
}

impl Line {
    pub(super) fn new(shared: Arc<Shared>, peer: SocketAddr) -> Self {
        Self { end: Arc::new(CloseOnDrop(shared)), peer }
    }

    pub(crate) async fn open(&self) -> Result<(LineSender, LineReceiver), Closed> {
        self.next(Mux::open).await
    }

    pub(crate) async fn accept(&self) -> Result<(LineSender, LineReceiver), Closed> {
        self.next(Mux::accept).await
    }

    /// Asks the peer for a sign of life.
    pub(crate) fn probe(&self) {
        self.shared().mux().ping();
    }

    async fn next(
        &self,
        how: impl Fn(&mut Mux) -> Option<Opened>,
    ) -> Result<(LineSender, LineReceiver), Closed> {
        let next = self.shared().until(|mux| match mux.end() {
            Some(end) => Some(Err(closed(end))),
            None => how(mux).map(Ok),
        });
        let Opened { index, bells } = next.await?;
        let half = Half { line: self.clone(), index, bells };
        Ok((LineSender(half.clone()), LineReceiver(half)))
    }

    /// The peer has logged in.
    pub(crate) fn raise(&self) {
        let mut mux = self.shared().mux();
        mux.raise(STREAMS_AFTER_LOGIN, BYTES_UP.into());
        mux.enlarge_queues(STREAM_SEND_BYTES_AFTER_LOGIN);
    }

    pub(crate) fn close(&self, code: u64, reason: &[u8]) {
        self.shared().mux().close(code, Bytes::copy_from_slice(reason));
    }

    pub(crate) async fn closed(&self) -> Closed {
        self.shared().until(|mux| mux.end().map(closed)).await
    }

    pub(crate) fn datagram_bytes_max(&self) -> Option<usize> {
        self.shared().mux().datagram_bytes_max()
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> Result<(), DatagramError> {
        let mut mux = self.shared().mux();
        if let Some(end) = mux.end() {
            return Err(closed(end).into());
        }
        let max = mux.datagram_bytes_max().ok_or(DatagramError::Unsupported)?;
        datagram::check(datagram.len(), max)?;
        mux.send_datagram(datagram);
        Ok(())
    }

    /// The next that has come. What came before the end is still there after it.
    pub(crate) async fn receive_datagram(&self) -> Result<Bytes, Closed> {
        let bells = &self.shared().bells;
        loop {
            let (arrived, change) = (bells.datagram.notified(), bells.change.notified());
            {
                let mut mux = self.shared().mux();
                if let Some(datagram) = mux.take_datagram() {
                    return Ok(datagram);
                }
                if let Some(end) = mux.end() {
                    return Err(closed(end));
                }
            }
            tokio::select! {
                () = arrived => {}
                () = change => {}
            }
        }
    }

    pub(crate) fn datagrams_dropped(&self) -> Dropped {
        self.shared().mux().datagrams_dropped()
    }

    pub(crate) fn heard(&self) -> u64 {
        self.shared().heard.load(Ordering::Relaxed)
    }

    pub(crate) fn silent_for(&self) -> Duration {
        self.shared().mux().heard_at().elapsed()
    }

    pub(crate) fn pings(&self) -> u64 {
        self.shared().mux().pings()
    }

    pub(crate) fn round_trip(&self) -> Duration {
        self.shared().mux().round_trip()
    }

    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.end.0
    }
}

/// What both halves of a stream have.
#[derive(Debug, Clone)]
struct Half {
    line: Line,
    index: u64,
    bells: Arc<StreamBells>,
}

impl Half {
    fn mux(&self) -> MutexGuard<'_, Mux> {
        self.line.shared().mux()
    }

    fn error(&self, broken: Broken) -> StreamError {
        match broken {
            Broken::Abandoned(code) => StreamError::Abandoned(reason(code)),
            Broken::GivenUp => StreamError::Abandoned(None),
            Broken::Ended => match self.mux().end() {
                Some(end) => StreamError::Closed(closed(end)),
                None => StreamError::Abandoned(None),
            },
        }
    }
}

fn reason(code: u64) -> Option<Code> {
    u32::try_from(code).ok().and_then(Code::from_number)
}

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) struct LineSender(Half);

impl LineSender {
    pub(crate) fn prioritise(&self, priority: i32) {
        self.0.mux().prioritise(self.0.index, priority);
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let written = self.0.mux().write(self.0.index, &mut bytes);
            written.map_err(|broken| self.0.error(broken))?;
            if !bytes.is_empty() {
                self.0.bells.writable.notified().await;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) {
        self.0.mux().finish_stream(self.0.index);
    }

    pub(crate) async fn delivered(&mut self) {
        while !self.0.mux().is_delivered(self.0.index) {
            self.0.bells.writable.notified().await;
        }
    }

    pub(crate) fn reset(&mut self, code: u64) {
        self.0.mux().reset(self.0.index, code);
    }
}

impl Drop for LineSender {
    fn drop(&mut self) {
        self.0.mux().release_sender(self.0.index);
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct LineReceiver(Half);

impl LineReceiver {
    pub(crate) async fn read(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        loop {
            let read = self.0.mux().read(self.0.index, max);
            if let Some(read) = read.map_err(|broken| self.0.error(broken))? {
                return Ok(read);
            }
            self.0.bells.readable.notified().await;
        }
    }

    pub(crate) fn stop(&mut self, code: u64) {
        self.0.mux().stop(self.0.index, code);
    }
}

impl Drop for LineReceiver {
    fn drop(&mut self) {
        let mut mux = self.0.mux();
        // What has come whole needs no stop, and the multiplexer knows.
        mux.stop(self.0.index, 0);
        mux.release_receiver(self.0.index);
    }
}
