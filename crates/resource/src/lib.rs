//! The resource role: takes uploads that resume at any byte, makes complete files visible, gives
//! their bytes back, makes thumbnails, and throws away what nobody needs.
//!
//! Read [`role`] first: [`ResourceRole`] is what the wiring starts and what the chat nodes call
//! through [`Resource`](skein_core::port::resource::Resource). The modules `upload::folder` and
//! `upload::spooled` have the order of the steps by which a blob becomes visible, and why a crash
//! between any two of them loses nothing that was acknowledged.
//!
//! This crate refuses to decide who may do what: see [`skein_core::policy`]. It keeps nothing in
//! memory that a restart would miss; the store and the disk are the truth. Where blobs are in an
//! object store, any number of these nodes share it and one store, and each may die at any moment:
//! every step may be repeated, by any of them.

pub mod config;
mod download;
pub mod error;
mod follow;
mod incoming;
mod kept;
#[cfg(test)]
mod ledger;
pub mod metric;
mod reach;
pub mod role;
pub mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod thumbnail;
mod upload;

pub use config::{Blobs, Config};
pub use error::ResourceError;
pub use role::{Records, ResourceRole};
