//! What a chat node counts. Names are stable; dashboards use them.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use skein_core::time::Timestamp;

/// Sessions that are connected.
pub const SESSIONS: &str = "skein_chat_sessions";
/// Sessions that began, by `outcome`: `welcomed`, or the name of the close code.
pub const HELLOS: &str = "skein_chat_hellos_total";
/// Requests that were answered, by `kind` and `code` (`ok` or the name of the error).
pub const REQUESTS: &str = "skein_chat_requests_total";
/// How long requests took from their arrival to their answer, by `kind`.
pub const REQUEST_SECONDS: &str = "skein_chat_request_seconds";
/// From the commit of an entry to its place in the queues of the sessions that it concerns.
pub const DELIVERY_SECONDS: &str = "skein_chat_delivery_seconds";
/// Events that were queued for sessions.
pub const EVENTS: &str = "skein_chat_events_total";
/// Frames that wait on a session when an event is added.
pub const QUEUE_FRAMES: &str = "skein_chat_queue_frames";
/// Times that a session was marked as behind, by `why`: `full` or `missed`.
pub const BEHIND: &str = "skein_chat_behind_total";
/// Sessions that are behind: their clients have yet to be told what they missed.
pub const SESSIONS_BEHIND: &str = "skein_chat_sessions_behind";
/// Sessions that were told to move to another node.
pub const MOVED: &str = "skein_chat_moved_total";
/// Streams of transfers that are open, by `kind`: `upload` or `download`.
pub const TRANSFERS: &str = "skein_chat_transfers";
/// Bytes of files, by `direction`: `up` or `down`.
pub const TRANSFER_BYTES: &str = "skein_chat_transfer_bytes_total";

/// Beyond this the clocks of two nodes differ, and the time between them says nothing.
const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// Tells the recorder units and meanings. Call it once a recorder is installed.
pub fn describe() {
    describe_gauge!(SESSIONS, Unit::Count, "Sessions that are connected");
    describe_counter!(HELLOS, Unit::Count, "Hellos, by outcome");
    describe_counter!(REQUESTS, Unit::Count, "Requests that were answered, by kind and code");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time to answer a request, by kind");
    describe_histogram!(
        DELIVERY_SECONDS,
        Unit::Seconds,
        "Time from the commit of an entry to the queues of its sessions"
    );
    describe_counter!(EVENTS, Unit::Count, "Events that were queued for sessions");
    describe_histogram!(QUEUE_FRAMES, Unit::Count, "Frames that wait when an event is queued");
    describe_counter!(BEHIND, Unit::Count, "Times that a session was marked as behind, by why");
    describe_gauge!(
        SESSIONS_BEHIND,
        Unit::Count,
        "Sessions whose clients have to be told the heads"
    );
    describe_counter!(MOVED, Unit::Count, "Sessions that were told to move to another node");
    describe_gauge!(TRANSFERS, Unit::Count, "Streams of transfers that are open, by kind");
    describe_counter!(TRANSFER_BYTES, Unit::Bytes, "Bytes of files, by direction");
    // What has not happened yet is told as 0, so that its first time is seen as an increase.
    for counter in [EVENTS, MOVED] {
        counter!(counter).increment(0);
    }
    for why in ["full", "missed"] {
        counter!(BEHIND, "why" => why).increment(0);
    }
    gauge!(SESSIONS_BEHIND).increment(0.0);
}

pub(crate) fn sessions(count: usize) {
    // Far fewer sessions than a float holds exactly.
    #[allow(clippy::cast_precision_loss)]
    gauge!(SESSIONS).set(count as f64);
}

pub(crate) fn hello(outcome: &'static str) {
    counter!(HELLOS, "outcome" => outcome).increment(1);
}

pub(crate) fn request(kind: &'static str, code: &'static str, took: Duration) {
    counter!(REQUESTS, "kind" => kind, "code" => code).increment(1);
    histogram!(REQUEST_SECONDS, "kind" => kind).record(took);
}

pub(crate) fn delivered(committed: Timestamp, now: Timestamp) {
    let took = now.since(committed);
    if took <= DELIVERY_MAX {
        histogram!(DELIVERY_SECONDS).record(took);
    }
}

pub(crate) fn event(waiting: usize) {
    counter!(EVENTS).increment(1);
    // A queue has a few hundred places.
    #[allow(clippy::cast_precision_loss)]
    histogram!(QUEUE_FRAMES).record(waiting as f64);
}

pub(crate) fn behind(why: &'static str) {
    counter!(BEHIND, "why" => why).increment(1);
}

pub(crate) fn sessions_behind(one: bool) {
    let gauge = gauge!(SESSIONS_BEHIND);
    if one { gauge.increment(1.0) } else { gauge.decrement(1.0) }
}

pub(crate) fn moved() {
    counter!(MOVED).increment(1);
}

pub(crate) fn transferred(direction: &'static str, bytes: usize) {
    counter!(TRANSFER_BYTES, "direction" => direction).increment(bytes as u64);
}

/// Counts a stream of a transfer until it is dropped.
pub(crate) struct Transfer(&'static str);

impl Transfer {
    pub(crate) fn begin(kind: &'static str) -> Self {
        gauge!(TRANSFERS, "kind" => kind).increment(1.0);
        Self(kind)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        gauge!(TRANSFERS, "kind" => self.0).decrement(1.0);
    }
}
