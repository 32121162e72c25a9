//! The status role: knows the chat nodes and their load, and gives each login its node.
//!
//! A node is known by a lease that it renews with every report; one that stops reporting is
//! forgotten when its lease runs out, and nothing has to notice its death. A login gets the less
//! loaded of two nodes drawn at random: nearly as even as always taking the least loaded, and
//! without the herd that follows a stale figure.
//!
//! This crate refuses to know sessions and accounts, and to keep anything but leases. Read
//! [`Status`] first, then `choice.rs` for the decision and `record.rs` for what a lease says.

mod choice;
mod record;
mod role;

pub use role::{LEASE_LIFETIME, Status};
