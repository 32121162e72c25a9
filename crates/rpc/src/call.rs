//! The calls: their names for metrics, their deadlines, and what may be sent again.

use std::time::Duration;

/// One method of one service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// Its name in metrics and logs.
    pub(crate) name: &'static str,
    /// After this long the caller is answered, whatever happened, and the server need not go on.
    pub(crate) deadline: Duration,
    /// Whether it may be sent to another peer although one may have carried it out.
    pub(crate) repeatable: bool,
}

/// Mails a code. The mail is queued there, so only keys are waited for.
pub(crate) const REQUEST_CODE: Method = once("request", 4_000);
/// Uses up a code.
pub(crate) const CHECK_CODE: Method = once("check", 4_000);
/// Reads leases.
pub(crate) const ASSIGN: Method = any("assign", 3_000);
/// Renews a lease. Shorter than the interval of reports. What is carried out twice is renewed twice.
pub(crate) const REPORT: Method = any("report", 2_500);
/// Releases a lease; part of stopping, which should not take long.
pub(crate) const LEAVE: Method = any("leave", 2_000);
/// Reads leases.
pub(crate) const NODES: Method = any("nodes", 3_000);
/// Takes a lease; a second order to the same stay changes nothing.
pub(crate) const DRAIN: Method = any("drain", 3_000);
/// Opens an upload, which may read back up to one part of it. Opening again supersedes.
pub(crate) const OPEN_UPLOAD: Method = any("open_upload", 10_000);
/// Throws an upload away. What is gone is not there a second time.
pub(crate) const DISCARD_UPLOAD: Method = any("discard_upload", 10_000);
/// Opens a download.
pub(crate) const OPEN_DOWNLOAD: Method = any("open_download", 10_000);
/// Opens a download that follows an upload.
pub(crate) const FOLLOW_UPLOAD: Method = any("follow_upload", 10_000);
/// Whether a peer is well.
pub(crate) const HEALTH: Method = any("health", 3_000);

/// How long a resource process may take to store up to [`WRITE_BYTES_MAX`]: it may have to wait for
/// object storage to take an earlier part.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(40);
/// How long a resource process may take to complete a blob in object storage.
pub(crate) const FINISH_DEADLINE: Duration = Duration::from_secs(60);
/// How long the next piece of a download may take, or the sign that it is waited for.
pub(crate) const PIECE_DEADLINE: Duration = Duration::from_secs(30);
/// How often a process that follows an upload gives that sign: no byte may be due for long although the
/// upload gets on, as where its end is still being checked.
pub(crate) const SIGN_INTERVAL: Duration = Duration::from_secs(10);
// One that is late is not the last.
const _: () = assert!(2 * SIGN_INTERVAL.as_secs() < PIECE_DEADLINE.as_secs());

/// Bytes in one message of an upload or a download.
pub(crate) const PIECE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an upload that are stored at a time: what one stream can make the server hold.
pub(crate) const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes in any message: a piece with its frame, or the list of a thousand nodes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

const fn any(name: &'static str, deadline_ms: u64) -> Method {
    Method { name, deadline: Duration::from_millis(deadline_ms), repeatable: true }
}

const fn once(name: &'static str, deadline_ms: u64) -> Method {
    Method { repeatable: false, ..any(name, deadline_ms) }
}
