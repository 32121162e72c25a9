//! Calls between roles over real sockets and real certificates: what arrives, who may call, and what
//! a caller hears when a peer is away, frozen, expired or somebody else.

#![allow(clippy::unwrap_used)]

mod away;
mod double;
mod logs;
mod peer;
mod ports;
mod reflection;
mod transfers;
mod trust;
