//! Files on their way: what a client keeps in mind while it sends or fetches one.
//!
//! [`Upload`] sends from the offset that the server names, as far ahead of what is received as its
//! [`Pace`] says, and never further than
//! [`UPLOAD_AHEAD_BYTES_MAX`](crate::limit::UPLOAD_AHEAD_BYTES_MAX). [`Download`] appends to what is
//! on disk and knows at the end whether it is the file that was promised; [`Ranges`] says what it asks
//! for, and when. [`Patience`] says when an interrupted transfer is tried again, [`Meter`] how fast it
//! goes. [`Queue`] decides which of many are under way.

mod download;
mod meter;
mod pace;
mod path;
mod patience;
mod queue;
mod ranges;
mod upload;

pub use download::{BadDownload, Download};
pub use meter::Meter;
pub use pace::{AGAIN_BYTES_WANTED, PIECE_BYTES_MAX, Pace};
pub use path::Path;
pub use patience::{FAILURES_IN_A_ROW_MAX, Next, Patience};
pub use queue::{Ended, Queue, QueueEffect, RUNNING_MAX, TransferState};
pub use ranges::Ranges;
pub use upload::{BadReport, Upload};
