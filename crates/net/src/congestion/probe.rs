//! A packet that may leave although the window is full: one that only asks whether the path is back
//! (RFC 9002, section 7.5). quinn sends such packets by itself after timeouts that double, so on a
//! path that was away for half a minute it may look again only another half later.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Packets by which the window is wider than what is under way: quinn sends while one more leaves
/// room.
const PACKETS: u64 = 2;

/// Whether one packet may leave. Copies of a controller share it, so that who asks for a copy can
/// give it.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    given: Arc<AtomicBool>,
    packet: u64,
    /// Bytes under way, or somewhat more: acknowledgements count until something is acknowledged.
    in_flight: u64,
}

impl Permit {
    pub(super) fn new(packet: u16) -> Self {
        Self { given: Arc::default(), packet: packet.into(), in_flight: 0 }
    }

    /// The next packet may leave.
    pub(super) fn give(&self) {
        self.given.store(true, Ordering::Relaxed);
    }

    /// Something has left.
    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.in_flight += bytes;
        self.given.store(false, Ordering::Relaxed);
    }

    /// Something was acknowledged, and so much is still under way.
    pub(super) const fn on_acked(&mut self, in_flight: u64) {
        self.in_flight = in_flight;
    }

    pub(super) fn on_mtu(&mut self, packet: u16) {
        self.packet = packet.into();
    }

    /// The window that lets a packet leave, if one may.
    pub(super) fn widen(&self, window: u64) -> u64 {
        if self.given.load(Ordering::Relaxed) {
            window.max(self.in_flight.saturating_add(PACKETS * self.packet))
        } else {
            window
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_packet_leaves_and_the_next_waits() {
        let mut permit = Permit::new(1200);
        permit.on_acked(50_000);
        permit.on_sent(10_000);
        assert_eq!(permit.widen(40_000), 40_000);
        permit.clone().give();
        assert_eq!(permit.widen(40_000), 62_400);
        assert_eq!(permit.widen(90_000), 90_000);
        permit.on_sent(1_200);
        assert_eq!(permit.widen(40_000), 40_000);
    }
}
