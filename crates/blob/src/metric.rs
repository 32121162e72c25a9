//! What is measured of a remote object store. The names are public: dashboards use them.

use metrics::{Unit, describe_counter, describe_histogram};

/// How long requests take, with their repetitions; by `operation`.
pub const REQUEST_SECONDS: &str = "skein_blob_request_seconds";
/// Requests that were not answered, or with an error; by `operation`.
pub const REQUEST_ERRORS: &str = "skein_blob_request_errors_total";

/// Tells the recorder what they are.
pub fn describe() {
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time of requests to the object store, with their repetitions"
    );
    describe_counter!(
        REQUEST_ERRORS,
        Unit::Count,
        "Requests that the object store did not answer, or answered with an error"
    );
}
