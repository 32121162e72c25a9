//! The limits that are part of the protocol or of the domain. Limits that an operator may change
//! are configuration and live with the role that enforces them.

use std::time::Duration;

/// Bytes of text in one message. Longer texts are files.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes in a greeting or a remark.
pub const NOTE_BYTES_MAX: usize = 256;
/// Characters in an account's name.
pub const NAME_CHARS_MAX: usize = 32;
/// Bytes in an e-mail address (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Bytes in a file's name: what common file systems take.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bytes in a media type.
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;
/// Bytes in a password: far beyond any phrase, and a bound on what the hash has to read.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Characters in a password at least (NIST SP 800-63B, section 5.1.1.2).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Bytes in a device's name.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
/// Entries in one page of a log.
pub const PAGE_ENTRIES_MAX: usize = 256;
/// Bytes of encoded entries in one page, so that a page always fits a frame.
pub const PAGE_BYTES_MAX: usize = 192 * 1024;
/// Accounts that one search answers.
pub const SEARCH_RESULTS_MAX: usize = 20;
/// Contacts of one account.
pub const CONTACTS_MAX: usize = 5_000;
/// Contact requests that may wait for one account's answer.
pub const PENDING_REQUESTS_MAX: usize = 500;
/// Log cursors that a client may name when it opens a session.
pub const CURSORS_MAX: usize = CONTACTS_MAX + 1;
/// Appends that a client sends ahead of their acknowledgements.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Bytes that a client uploads ahead of what the server has taken in, hence the most that an
/// interruption of its network makes it send again, and that waits in a server's memory.
pub const UPLOAD_AHEAD_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Files on their way to one conversation that a list of them names; the latest count.
pub const COMING_MAX: usize = 64;
/// Files that one account takes from one node while they are still coming: each holds a file open
/// and a stream between nodes for as long as its sender may take.
pub const FOLLOWED_MAX: usize = 16;
/// How long a download that follows an upload waits for it to get on. Shorter than a client waits for
/// a sign of the server (60 seconds), so that the client hears why.
pub const FOLLOW_IDLE_TIMEOUT: Duration = Duration::from_secs(25);
/// Pixels on the longer edge of a thumbnail.
pub const THUMBNAIL_EDGE_PX: u32 = 320;
/// How long a verification code is good for.
pub const CODE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Wrong guesses after which a code is void.
pub const CODE_TRIES_MAX: u32 = 5;
