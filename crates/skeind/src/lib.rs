//! The Skein server: it wires the roles together and starts them.
//!
//! Everything that the binary does is here as a library, so that tests and benches start the same
//! server: read a [`Config`], then [`Server::start`].
//!
//! **Architecture Invariant**: this is the only place that knows which implementation stands behind
//! a trait, and whether a call between roles stays in the process.

mod banner;
mod certificate;
pub mod certs;
mod config;
mod folder;
mod server;

pub use banner::banner;
pub use config::{Config, Flags, Shutdown as ShutdownConfig};
pub use server::{Server, StartError};
