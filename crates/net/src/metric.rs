//! What the listener counts. Names are stable; dashboards use them.

use metrics::{Unit, counter, describe_counter};

/// Handshakes, by `outcome`: `done`, `failed`, `challenged` or `refused`.
pub const HANDSHAKES: &str = "skein_net_handshakes_total";

/// Tells the recorder units and meanings. Call it once a recorder is installed.
pub fn describe() {
    describe_counter!(HANDSHAKES, Unit::Count, "Handshakes that clients began, by outcome");
}

pub(crate) fn handshake(outcome: &'static str) {
    counter!(HANDSHAKES, "outcome" => outcome).increment(1);
}
