//! What a store counts. Names are stable; dashboards use them.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Writes in one transaction.
pub const BATCH_JOBS: &str = "skein_store_batch_jobs";
/// From the call of an append until it is durable.
pub const APPEND_SECONDS: &str = "skein_store_append_seconds";
/// Until an operation had a connection to the database.
pub const POOL_WAIT_SECONDS: &str = "skein_store_pool_wait_seconds";
/// Operations that were not done, or tried again, by `kind`: `failed`, `unavailable` or
/// `contention`.
pub const ERRORS: &str = "skein_store_errors_total";
/// Writes that wait to be gathered into a batch.
pub const QUEUE_JOBS: &str = "skein_store_queue_jobs";

/// Tells the recorder units and meanings. Call it once a recorder is installed.
pub fn describe() {
    describe_histogram!(BATCH_JOBS, Unit::Count, "Writes committed by one transaction");
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from the call of an append until the entry is durable"
    );
    describe_histogram!(
        POOL_WAIT_SECONDS,
        Unit::Seconds,
        "Time until an operation had a connection to the database"
    );
    describe_counter!(
        ERRORS,
        Unit::Count,
        "Store operations that failed, found the database away, or met another transaction, by kind"
    );
    describe_gauge!(QUEUE_JOBS, Unit::Count, "Writes that wait to be gathered into a batch");
}

pub(crate) fn batch(jobs: usize) {
    histogram!(BATCH_JOBS).record(exact(jobs));
}

pub(crate) fn append(took: Duration) {
    histogram!(APPEND_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn pool_wait(took: Duration) {
    histogram!(POOL_WAIT_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn error(kind: &'static str) {
    counter!(ERRORS, "kind" => kind).increment(1);
}

pub(crate) fn queue(jobs: usize) {
    gauge!(QUEUE_JOBS).set(exact(jobs));
}

/// Queues are bounded far below what a float holds exactly.
#[allow(clippy::cast_precision_loss)]
fn exact(count: usize) -> f64 {
    count as f64
}
