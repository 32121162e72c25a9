//! The traits by which the roles of the server call one another. Only the wiring in `skeind`
//! decides whether a call stays in the process or crosses the network, so a caller must expect
//! [`Code::Unavailable`](crate::refusal::Code::Unavailable) from each of them.
//!
//! **Architecture Invariant**: a role never imports another role; it is handed these.

pub mod directory;
pub mod resource;
pub mod verifier;
