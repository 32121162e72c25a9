//! What the bus counts.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Whether a connection to Redis stands: 1 or 0, by connection.
pub const CONNECTED: &str = "skein_bus_connected";
/// Times that a connection to Redis was made anew, by connection.
pub const RECONNECTS: &str = "skein_bus_reconnects_total";
/// Hints that Redis took.
pub const HINTS_PUBLISHED: &str = "skein_bus_hints_published_total";
/// Hints that were given up, so that subscribers are told that they missed some.
pub const HINTS_DROPPED: &str = "skein_bus_hints_dropped_total";
/// Hints that came in.
pub const HINTS_RECEIVED: &str = "skein_bus_hints_received_total";
/// Hints that came in and are of a kind that this version does not know.
pub const HINTS_UNKNOWN: &str = "skein_bus_hints_unknown_total";
/// Times that a subscriber was told that it missed hints.
pub const MISSED: &str = "skein_bus_missed_total";
/// Hints that wait to be published.
pub const PUBLISH_QUEUE: &str = "skein_bus_publish_queue_hints";
/// Topics that Redis sends to this process.
pub const TOPICS: &str = "skein_bus_topics";
/// How long commands took, by command.
pub const COMMAND_SECONDS: &str = "skein_bus_command_seconds";
/// Commands that failed, by command.
pub const COMMAND_ERRORS: &str = "skein_bus_command_errors_total";

/// Says what each of them means. Call it once the process collects metrics.
pub fn describe() {
    describe_gauge!(CONNECTED, Unit::Count, "Whether a connection to Redis stands, 1 or 0.");
    describe_counter!(RECONNECTS, Unit::Count, "Times a connection to Redis was made anew.");
    describe_counter!(HINTS_PUBLISHED, Unit::Count, "Hints that Redis took.");
    describe_counter!(HINTS_DROPPED, Unit::Count, "Hints given up before Redis took them.");
    describe_counter!(HINTS_RECEIVED, Unit::Count, "Hints that came in from Redis.");
    describe_counter!(HINTS_UNKNOWN, Unit::Count, "Hints of a kind of a later version.");
    describe_counter!(MISSED, Unit::Count, "Times a subscriber was told that it missed hints.");
    describe_gauge!(PUBLISH_QUEUE, Unit::Count, "Hints that wait to be published.");
    describe_gauge!(TOPICS, Unit::Count, "Topics that Redis sends to this process.");
    describe_histogram!(COMMAND_SECONDS, Unit::Seconds, "Time a bus command took, by command.");
    describe_counter!(COMMAND_ERRORS, Unit::Count, "Bus commands that failed, by command.");
    // What has not happened yet is told as 0, so that its first time is seen as an increase.
    for counter in [HINTS_PUBLISHED, HINTS_DROPPED, HINTS_RECEIVED, HINTS_UNKNOWN, MISSED] {
        counter!(counter).increment(0);
    }
}

pub(crate) fn connected(connection: &'static str, stands: bool) {
    gauge!(CONNECTED, "connection" => connection).set(if stands { 1.0 } else { 0.0 });
    counter!(RECONNECTS, "connection" => connection).increment(0);
}

pub(crate) fn reconnected(connection: &'static str) {
    counter!(RECONNECTS, "connection" => connection).increment(1);
}

pub(crate) fn published(hints: u64) {
    counter!(HINTS_PUBLISHED).increment(hints);
}

pub(crate) fn dropped(hints: u64) {
    counter!(HINTS_DROPPED).increment(hints);
}

pub(crate) fn received() {
    counter!(HINTS_RECEIVED).increment(1);
}

pub(crate) fn unknown() {
    counter!(HINTS_UNKNOWN).increment(1);
}

pub(crate) fn missed() {
    counter!(MISSED).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge may be off by one in a billion")]
pub(crate) fn waiting(hints: usize) {
    gauge!(PUBLISH_QUEUE).set(hints as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge may be off by one in a billion")]
pub(crate) fn topics(count: usize) {
    gauge!(TOPICS).set(count as f64);
}

pub(crate) fn commanded(command: &'static str, took: Duration, succeeded: bool) {
    histogram!(COMMAND_SECONDS, "command" => command).record(took.as_secs_f64());
    if !succeeded {
        counter!(COMMAND_ERRORS, "command" => command).increment(1);
    }
}
