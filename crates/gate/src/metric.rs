//! What the gate counts.

use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

/// Requests that were answered, by route and status.
pub const REQUESTS: &str = "skein_http_requests_total";
/// How long they took, by route.
pub const REQUEST_SECONDS: &str = "skein_http_request_seconds";

/// Says what each of them means. Call it once the process collects metrics.
pub fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "HTTP requests answered, by route and status.");
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time from the head of an HTTP request to its answer, by route."
    );
}

/// Counts a request. The route is a template, so that there are as many labels as routes.
pub(crate) fn answered(route: &str, status: StatusCode, took: Duration) {
    let (route, status) = (route.to_owned(), status.as_str().to_owned());
    counter!(REQUESTS, "route" => route.clone(), "status" => status).increment(1);
    histogram!(REQUEST_SECONDS, "route" => route).record(took.as_secs_f64());
}
