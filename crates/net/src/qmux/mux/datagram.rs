//! Datagrams: they take turns with bulk, behind whatever is more urgent, and wait for no credit.

use bytes::{Bytes, BytesMut};
use skein_wire::close::CloseCode;
use tokio::time::Instant;

use super::{
    super::{
        Violation,
        frame::{DATAGRAM_HEAD_BYTES_MAX, Frame},
    },
    Mux,
    schedule::RECORD_BYTES,
    stream::rank,
};
use crate::{
    datagram::{DATAGRAM_BYTES_MAX, Dropped, Inbox, Next, Outbox},
    priority::Priority,
};

/// What an end that takes datagrams has of them.
#[derive(Debug)]
pub(super) struct Datagrams {
    inbox: Inbox,
    outbox: Outbox,
    /// When some were sent last, as of a [stream](super::stream::Outgoing).
    turn: u64,
}

impl Datagrams {
    /// None has come. Some may, if it is `allowed`.
    pub(super) const fn new(allowed: bool, now: Instant) -> Self {
        Self { inbox: Inbox::new(allowed, now), outbox: Outbox::new(now), turn: 0 }
    }
}

/// Bytes of a frame that are announced (RFC 9221, section 3): 0 for no datagrams at all.
pub(super) const fn frame_bytes(datagrams: bool) -> u64 {
    if datagrams { (DATAGRAM_BYTES_MAX + DATAGRAM_HEAD_BYTES_MAX) as u64 } else { 0 }
}

/// The application's side of datagrams.
impl Mux {
    /// Bytes that a datagram may have, if both sides take them and the peer has told.
    #[must_use]
    pub fn datagram_bytes_max(&self) -> Option<usize> {
        self.datagrams.as_ref()?;
        let announced = usize::try_from(self.peer?.datagram_frame_bytes).unwrap_or(usize::MAX);
        let fits = announced.checked_sub(DATAGRAM_HEAD_BYTES_MAX)?;
        Some(fits.min(DATAGRAM_BYTES_MAX))
    }

    /// Sends a datagram that is [short enough](Self::datagram_bytes_max), when it is its turn. Where
    /// too many wait, the oldest is dropped.
    pub fn send_datagram(&mut self, datagram: Bytes) {
        if self.end.is_none()
            && let Some(datagrams) = &mut self.datagrams
        {
            datagrams.outbox.put(datagram);
            self.bells.output.notify_one();
        }
    }

    /// The next datagram that has come.
    pub fn take_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.as_mut()?.inbox.take()
    }

    /// Datagrams that were dropped on this side.
    #[must_use]
    pub fn datagrams_dropped(&self) -> Dropped {
        let dropped = |datagrams: &Datagrams| Dropped {
            received: datagrams.inbox.dropped(),
            sent: datagrams.outbox.dropped(),
        };
        self.datagrams.as_deref().map(dropped).unwrap_or_default()
    }

    /// When the next datagram may be sent, if one waits.
    #[must_use]
    pub fn datagrams_due(&self) -> Option<Instant> {
        self.datagrams.as_ref()?.outbox.opens()
    }
}

/// The wire's side of datagrams.
impl Mux {
    pub(super) fn allow_datagrams(&mut self) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.inbox.allow();
        }
    }

    /// Nothing will be sent any more.
    pub(super) fn drop_datagrams(&mut self) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.outbox.clear();
        }
    }

    pub(super) fn receive_datagram(
        &mut self,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Violation> {
        // Nobody has told the peer that it may (RFC 9221, section 3).
        let datagrams = self.datagrams.as_mut().ok_or(Violation::Protocol)?;
        match datagrams.inbox.put(datagram, now) {
            Ok(true) => self.bells.datagram.notify_one(),
            Ok(false) => {}
            // As over QUIC, it is the application that has had enough.
            Err(abuse) => {
                tracing::debug!(%abuse, "a peer is turned away");
                let code = u64::from(CloseCode::Protocol as u32);
                self.close(code, Bytes::from(abuse.to_string()));
            }
        }
        Ok(())
    }

    /// Whether datagrams go before this stream, the most urgent of those that can be sent of.
    pub(super) fn datagrams_before(&self, stream: Option<u64>, now: Instant) -> bool {
        let Some(datagrams) = &self.datagrams else { return false };
        if datagrams.outbox.ready(now).is_none() {
            return false;
        }
        let Some(stream) = stream.and_then(|index| self.streams.get(&index)) else { return true };
        rank(Priority::Bulk as i32, datagrams.turn) > stream.outgoing.rank()
    }

    /// Appends as many as the record and their pace have room for: one turn. Answers whether there was
    /// room for any.
    pub(super) fn put_datagrams(&mut self, out: &mut BytesMut, now: Instant) -> bool {
        let Some(datagrams) = &mut self.datagrams else { return false };
        let mut any = false;
        while let Some(length) = datagrams.outbox.ready(now)
            && out.len() + DATAGRAM_HEAD_BYTES_MAX + length <= RECORD_BYTES
            && let Next::Send(datagram) = datagrams.outbox.next(now, u64::MAX)
        {
            Frame::Datagram(datagram).put(out);
            any = true;
        }
        if any {
            self.turn += 1;
            datagrams.turn = self.turn;
        }
        any
    }
}
