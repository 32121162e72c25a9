//! Calls between the roles of a cluster: gRPC over TLS 1.3, where both sides show a certificate that
//! names their role, behind the ports of `skein-core`.
//!
//! A role that is called by others serves its port with [`server::bind`]; whoever calls it holds a
//! client that implements the same port ([`verifier::Client`], [`directory::Client`],
//! [`resource::Client`]). A refusal arrives as it was given; a peer that is away, frozen or not to be
//! trusted is `unavailable` within the deadline of the call (`call.rs`). Read [`config`] first, then
//! [`access`] for who may call what, `peers.rs` for what happens when a peer is away, and the
//! services in `proto/skein/cluster/v1`.
//!
//! **Architecture Invariant**: this is the only crate that names tonic, and it decides nothing but
//! which peer to ask and who may ask.

pub mod access;
mod call;
pub mod config;
pub mod credentials;
pub mod directory;
mod handshake;
pub mod health;
pub mod metric;
mod peer;
mod peers;
mod refusal;
pub mod resource;
pub mod server;
pub mod verifier;

pub use peer::BadPeer;

/// The generated messages and services, as in `proto/skein/cluster/v1`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod pb {
    tonic::include_proto!("skein.cluster.v1");
}

/// Describes the services to those who ask by reflection.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
