//! What passes between nodes that nobody may depend on: hints that a log has grown, leases that say
//! who holds what for now, who is present, and keys that expire.
//!
//! **Architecture Invariant** (the bus is a hint): losing any message delays a delivery and never
//! loses an entry. A subscriber that is told [`Delivery::Missed`](hint::Delivery::Missed) compares
//! the heads of its live logs with the store.
//!
//! [`local`] implements all of them inside one process, [`redis`] between processes; the contract
//! suite in `contract` says what an implementation owes its callers.

#[cfg(test)]
pub mod contract;
mod exchange;
pub mod hint;
pub mod key;
pub mod lease;
pub mod local;
pub mod metric;
pub mod presence;
pub mod rate;
pub mod redis;
pub mod size;

use thiserror::Error;

/// The bus cannot be reached.
#[derive(Debug, Error)]
#[error("the bus is unavailable: {0}")]
pub struct Unavailable(pub String);

/// All parts of a bus. Roles take the traits that they need.
pub trait Bus: hint::Hints + key::Keys + lease::Leases + presence::Presence + 'static {}

impl<T> Bus for T where T: hint::Hints + key::Keys + lease::Leases + presence::Presence + 'static {}
