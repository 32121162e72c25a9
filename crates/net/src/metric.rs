//! What the transport counts. Names are stable; dashboards use them.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Handshakes of clients, by `transport`, which is `quic` or `websocket`, and by `outcome`: `done`,
/// `failed`, `timed_out`, `refused` or `challenged`; those in which the client spoke early also count
/// as `early`.
pub const HANDSHAKES: &str = "skein_net_handshakes_total";
/// Connections that were accepted and are open, by `transport`.
pub const CONNECTIONS: &str = "skein_net_connections";
/// Bytes in streams, without QUIC around them, by `direction`: `up` (from clients, at a server) or
/// `down`.
pub const STREAM_BYTES: &str = "skein_net_stream_bytes_total";
/// Moves of clients to other addresses, by `outcome`: `followed`, or `refused` when a connection
/// was closed because it moved too often.
pub const MIGRATIONS: &str = "skein_net_migrations_total";

pub(crate) const QUIC: &str = "quic";
pub(crate) const WEBSOCKET: &str = "websocket";

/// Tells the recorder units and meanings. Call it once a recorder is installed.
pub fn describe() {
    describe_counter!(HANDSHAKES, Unit::Count, "Handshakes of clients, by transport and outcome");
    describe_gauge!(
        CONNECTIONS,
        Unit::Count,
        "Connections that were accepted and are open, by transport"
    );
    describe_counter!(STREAM_BYTES, Unit::Bytes, "Bytes in streams, by direction");
    describe_counter!(MIGRATIONS, Unit::Count, "Moves of clients to other addresses, by outcome");
    // What has not happened yet is told as 0, so that its first time is seen as an increase.
    for direction in ["up", "down"] {
        counter!(STREAM_BYTES, "direction" => direction).increment(0);
    }
}

pub(crate) fn handshake(transport: &'static str, outcome: &'static str) {
    counter!(HANDSHAKES, "transport" => transport, "outcome" => outcome).increment(1);
}

pub(crate) fn migrations(outcome: &'static str, count: u32) {
    counter!(MIGRATIONS, "outcome" => outcome).increment(count.into());
}

pub(crate) fn received(bytes: usize) {
    counter!(STREAM_BYTES, "direction" => "up").increment(bytes as u64);
}

pub(crate) fn sent(bytes: usize) {
    counter!(STREAM_BYTES, "direction" => "down").increment(bytes as u64);
}

/// Counts a connection until its last clone is dropped.
#[derive(Debug)]
pub(crate) struct Open(&'static str);

impl Open {
    pub(crate) fn new(transport: &'static str) -> Self {
        gauge!(CONNECTIONS, "transport" => transport).increment(1.0);
        Self(transport)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(CONNECTIONS, "transport" => self.0).decrement(1.0);
    }
}
