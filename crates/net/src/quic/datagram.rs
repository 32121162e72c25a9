//! Datagrams over QUIC: a task for each connection that takes them.
//!
//! It empties quinn's queue as soon as something is in it, whether or not anybody reads, and hands to
//! quinn what is to be sent as late as it can: all that quinn has of datagrams goes ahead of all
//! streams. While what was handed over waits there, the path is full, and then the streams have
//! half of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn::SendDatagramError;
use skein_wire::close::CloseCode;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use super::closed;
use crate::{
    congestion,
    connection::Closed,
    datagram::{self, DATAGRAM_BYTES_MAX, DatagramError, Dropped, Inbox, Next, Outbox},
};

/// Bytes that quinn may hold until the task has its turn, and what it tells the peer that a datagram
/// may have. It counts 32 bytes for each besides its own.
pub(crate) const RECEIVE_BYTES: usize = 32 * 1024;
/// Bytes that quinn may hold unsent: what the task hands over while a packet is made.
pub(crate) const SEND_BYTES: usize = 4 * 1024;

/// What a connection has of datagrams. Its task ends with it.
#[derive(Debug)]
pub(crate) struct Channel {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
    /// Something has come.
    arrived: Notify,
    /// Something is to be sent.
    queued: Notify,
}

impl Channel {
    /// Begins to take and send datagrams. The peer may send some at once, or once it is
    /// [allowed](Self::allow) to.
    pub(crate) fn begin(quic: &quinn::Connection, allowed: bool) -> Arc<Self> {
        let now = Instant::now();
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Inbox::new(allowed, now)),
            outbox: Mutex::new(Outbox::new(now)),
            arrived: Notify::new(),
            queued: Notify::new(),
        });
        let (quic, carried) = (quic.clone(), Arc::clone(&shared));
        let task = tokio::spawn(async move {
            tokio::select! {
                () = carried.receive(&quic) => {}
                () = carried.send(&quic) => {}
            }
        });
        Arc::new(Self { shared, task: task.abort_handle() })
    }

    /// The peer may send from now on.
    pub(crate) fn allow(&self) {
        self.shared.inbox().allow();
    }

    pub(crate) fn send(
        &self,
        quic: &quinn::Connection,
        datagram: Bytes,
    ) -> Result<(), DatagramError> {
        if let Some(reason) = quic.close_reason() {
            return Err(closed(reason).into());
        }
        let max = bytes_max(quic).ok_or(DatagramError::Unsupported)?;
        datagram::check(datagram.len(), max)?;
        self.shared.outbox().put(datagram);
        self.shared.queued.notify_one();
        Ok(())
    }

    /// The next that has come. What came before the end is still there after it.
    pub(crate) async fn next(&self, quic: &quinn::Connection) -> Result<Bytes, Closed> {
        loop {
            let arrived = self.shared.arrived.notified();
            if let Some(datagram) = self.shared.inbox().take() {
                return Ok(datagram);
            }
            tokio::select! {
                biased;
                () = arrived => {}
                reason = quic.closed() => return Err(closed(reason)),
            }
        }
    }

    pub(crate) fn dropped(&self) -> Dropped {
        let (received, sent) = (self.shared.inbox().dropped(), self.shared.outbox().dropped());
        Dropped { received, sent }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // The task would keep the connection open.
        self.task.abort();
    }
}

/// Bytes that a datagram may have now, if the peer takes any.
pub(crate) fn bytes_max(quic: &quinn::Connection) -> Option<usize> {
    quic.max_datagram_size().map(|max| max.min(DATAGRAM_BYTES_MAX))
}

impl Shared {
    async fn receive(&self, quic: &quinn::Connection) {
        while let Ok(datagram) = quic.read_datagram().await {
            let taken = self.inbox().put(&datagram, Instant::now());
            match taken {
                Ok(true) => self.arrived.notify_one(),
                Ok(false) => {}
                Err(abuse) => {
                    tracing::debug!(%abuse, "a peer is turned away");
                    let reason = abuse.to_string();
                    return quic.close((CloseCode::Protocol as u32).into(), reason.as_bytes());
                }
            }
            // While there are more, reading does not wait, and others would.
            tokio::task::consume_budget().await;
        }
    }

    async fn send(&self, quic: &quinn::Connection) {
        let empty = quic.datagram_send_buffer_space();
        loop {
            let now = Instant::now();
            if quic.datagram_send_buffer_space() < empty {
                self.outbox().see_full(now);
            }
            let path = bytes_per_second(quic);
            let next = self.outbox().next(now, path);
            let sent = match next {
                Next::Send(datagram) => quic.send_datagram_wait(datagram).await,
                Next::At(at) => {
                    sleep_until(at).await;
                    continue;
                }
                Next::Nothing => {
                    self.queued.notified().await;
                    continue;
                }
            };
            match sent {
                Ok(()) => {}
                Err(SendDatagramError::ConnectionLost(_)) => return,
                // It fitted when it was taken in, and the path has become narrower.
                Err(_) => self.outbox().lose(),
            }
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // What a panic elsewhere leaves here is whole.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes a second that a path takes when it is full: a window each round trip.
fn bytes_per_second(quic: &quinn::Connection) -> u64 {
    let window = quic.congestion_state().metrics().congestion_window;
    let round_trip = congestion::round_trip(quic).unwrap_or_else(|| quic.rtt());
    let round_trip = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).max(1);
    window.saturating_mul(1_000_000) / round_trip
}
