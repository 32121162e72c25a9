//! The Skein server: it wires the roles together and starts them.
//!
//! Everything that the binary does is here as a library, so that tests and benches start the same
//! server: read a [`Config`], then [`Server::start`] one [`Role`] or all of them. `parts.rs` opens
//! what the roles stand on, `start.rs` starts them; `admin`, `doctor`, `migrate`, `routing` and `certs` are
//! the commands for operators, and `operator.rs` is what `admin` does, wherever it runs.
//!
//! **Architecture Invariant**: this is the only place that knows which implementation stands behind
//! a trait, and whether a call between roles stays in the process.

pub mod admin;
mod backup;
mod banner;
mod certificate;
pub mod certs;
mod config;
pub mod doctor;
mod folder;
mod metric;
mod migrate;
mod operator;
mod parts;
mod patience;
mod role;
pub mod routing;
mod sentence;
mod server;
mod start;

pub use banner::banner;
pub use config::{Bucket, Config, Flags, Shutdown as ShutdownConfig};
pub use migrate::migrate;
pub use role::{Missing, Role};
pub use sentence::sentence;
pub use server::{Server, StartError};
