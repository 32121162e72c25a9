//! Files on their way, a stream each: what a client keeps in mind while it sends or fetches one.
//!
//! [`Upload`] sends from the offset that the server names, and never further ahead of what is
//! received than [`UPLOAD_AHEAD_BYTES_MAX`](crate::limit::UPLOAD_AHEAD_BYTES_MAX). [`Download`]
//! appends to what is on disk and knows at the end whether it is the file that was promised.
//! [`Patience`] says when an interrupted transfer is tried again, [`Meter`] how fast it goes.

mod download;
mod meter;
mod patience;
mod upload;

pub use download::{BadDownload, Download};
pub use meter::Meter;
pub use patience::{FAILURES_IN_A_ROW_MAX, Next, Patience};
pub use upload::{BadReport, Upload};
