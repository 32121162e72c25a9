//! The status role: knows the chat nodes and their load, and gives each login its node.
//!
//! A node is known by a lease that it renews with every report; one that stops reporting is
//! forgotten when its lease runs out, and nothing has to notice its death. A login gets the less
//! loaded of two nodes drawn at random: nearly as even as always taking the least loaded, and
//! without the herd that follows a stale figure. A node that is to drain gets no login from the
//! moment of the order on, which is a lease too.
//!
//! This crate refuses to know sessions and accounts, and to keep anything but leases: two processes
//! on one bus are interchangeable, and either may die. Read [`Status`] first, then `choice.rs` for
//! the decision, `record.rs` for what a lease says and `order.rs` for drains.

mod choice;
pub mod metric;
mod order;
mod record;
mod role;

pub use role::{LEASE_LIFETIME, Status};
