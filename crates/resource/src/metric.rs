//! What is measured of the resource role. The names are public: dashboards use them.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// Bytes of uploads that were taken in.
pub const RECEIVED_BYTES: &str = "skein_resource_received_bytes_total";
/// Bytes of downloads that were handed out.
pub const SENT_BYTES: &str = "skein_resource_sent_bytes_total";
/// Parts that went to the object store.
pub const PARTS: &str = "skein_resource_parts_total";
/// Uploads that became blobs.
pub const BLOBS: &str = "skein_resource_blobs_total";
/// Uploads that are open in this process.
pub const UPLOADS_OPEN: &str = "skein_resource_uploads_open";
/// Time from the last byte to the visible blob.
pub const FINISH_SECONDS: &str = "skein_resource_finish_seconds";
/// What was thrown away or completed by the sweeper; by `kind`.
pub const SWEPT: &str = "skein_resource_swept_total";
/// Rounds of the sweeper that were cut short.
pub const SWEEP_ERRORS: &str = "skein_resource_sweep_errors_total";

/// Tells the recorder what they are.
pub fn describe() {
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Bytes of uploads that were taken in");
    describe_counter!(SENT_BYTES, Unit::Bytes, "Bytes of downloads that were handed out");
    describe_counter!(PARTS, Unit::Count, "Parts of uploads that went to the object store");
    describe_counter!(BLOBS, Unit::Count, "Uploads that became blobs");
    describe_gauge!(UPLOADS_OPEN, Unit::Count, "Uploads that are open in this process");
    describe_histogram!(
        FINISH_SECONDS,
        Unit::Seconds,
        "Time from the end of an upload's bytes to the visible blob"
    );
    describe_counter!(SWEPT, Unit::Count, "Uploads, blobs and files that the sweeper dealt with");
    describe_counter!(SWEEP_ERRORS, Unit::Count, "Rounds of the sweeper that were cut short");
    // What has not happened yet is told as 0, so that its first time is seen as an increase.
    for counter in [RECEIVED_BYTES, SENT_BYTES, PARTS, BLOBS, SWEEP_ERRORS] {
        counter!(counter).increment(0);
    }
}
