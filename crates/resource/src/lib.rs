//! The resource role: takes uploads that resume at any byte, makes complete files visible, gives
//! their bytes back, makes thumbnails, and throws away what nobody needs.
//!
//! Read [`role`] first: [`ResourceRole`] is what the wiring starts and what the chat nodes call
//! through [`Resource`](skein_core::port::resource::Resource). The module `upload` has the order of
//! the steps by which a blob becomes visible, and why a crash between any two of them loses nothing
//! that was acknowledged.
//!
//! This crate refuses to decide who may do what: see [`skein_core::policy`]. It keeps nothing in
//! memory that a restart would miss; the store and the disk are the truth.

pub mod config;
mod download;
pub mod error;
#[cfg(test)]
mod ledger;
pub mod role;
pub mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod thumbnail;
mod upload;

pub use config::Config;
pub use error::ResourceError;
pub use role::{Records, ResourceRole};
