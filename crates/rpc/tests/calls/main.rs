//! Calls between roles over real sockets and real certificates: what arrives, who may call, and what
//! a caller hears when a peer is away, frozen, expired or somebody else.

mod away;
mod double;
mod peer;
mod ports;
mod transfers;
mod trust;
