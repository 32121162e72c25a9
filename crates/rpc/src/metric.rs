//! What the calls between roles are counted by. Names are stable; dashboards use them.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Calls made, by `service` (the role that was called), `method` and `code`: `ok`, the code of a
/// refusal, or `not_sent`, `lost` and `deadline` for what the transport did.
pub const CLIENT_CALLS: &str = "skein_rpc_client_calls_total";
/// How long calls took until their answer, by `service` and `method`.
pub const CLIENT_SECONDS: &str = "skein_rpc_client_call_seconds";
/// Calls served, by `method` (its path) and `code` (of gRPC, such as
/// `NotFound`).
pub const SERVER_CALLS: &str = "skein_rpc_server_calls_total";
/// How long calls took to serve until the answer began, by `method`.
pub const SERVER_SECONDS: &str = "skein_rpc_server_call_seconds";
/// Connections that were tried, by `service` and `outcome`: `ok` or `failed`. Beyond the first to
/// each peer these are reconnects.
pub const CONNECTS: &str = "skein_rpc_connects_total";
/// Calls that went to another peer because one was away, by `service`.
pub const FAILOVERS: &str = "skein_rpc_failovers_total";
/// Connections that the server turned away, by `why`: `handshake`, `timeout` or `full`.
pub const TURNED_AWAY: &str = "skein_rpc_turned_away_total";
/// Seconds until the certificate of this process ends; 0 once it has. As of the last connection,
/// which is an hour ago at most where there are peers.
pub const CERTIFICATE_SECONDS: &str = "skein_rpc_certificate_seconds";

/// Tells the recorder units and meanings. Call it once a recorder is installed.
pub fn describe() {
    describe_counter!(CLIENT_CALLS, Unit::Count, "Calls to other roles, by result");
    describe_histogram!(CLIENT_SECONDS, Unit::Seconds, "Time of a call until its answer");
    describe_counter!(SERVER_CALLS, Unit::Count, "Calls from other roles, by result");
    describe_histogram!(SERVER_SECONDS, Unit::Seconds, "Time until the answer to a call began");
    describe_counter!(CONNECTS, Unit::Count, "Connections to other roles that were tried");
    describe_counter!(FAILOVERS, Unit::Count, "Calls that went to another peer");
    describe_counter!(TURNED_AWAY, Unit::Count, "Connections of other roles turned away, by why");
    describe_gauge!(CERTIFICATE_SECONDS, Unit::Seconds, "Time until the certificate ends");
}

pub(crate) fn called(service: &'static str, method: &'static str, code: &'static str) {
    counter!(CLIENT_CALLS, "service" => service, "method" => method, "code" => code).increment(1);
}

pub(crate) fn call_took(service: &'static str, method: &'static str, took: Duration) {
    histogram!(CLIENT_SECONDS, "service" => service, "method" => method).record(took);
}

pub(crate) fn served(method: &'static str, code: tonic::Code, took: Duration) {
    counter!(SERVER_CALLS, "method" => method, "code" => format!("{code:?}")).increment(1);
    histogram!(SERVER_SECONDS, "method" => method).record(took);
}

pub(crate) fn connected(service: &'static str, ok: bool) {
    let outcome = if ok { "ok" } else { "failed" };
    counter!(CONNECTS, "service" => service, "outcome" => outcome).increment(1);
}

pub(crate) fn failed_over(service: &'static str) {
    counter!(FAILOVERS, "service" => service).increment(1);
}

pub(crate) fn turned_away(why: &'static str) {
    counter!(TURNED_AWAY, "why" => why).increment(1);
}

pub(crate) fn certificate(left: Duration) {
    gauge!(CERTIFICATE_SECONDS).set(left.as_secs_f64());
}
