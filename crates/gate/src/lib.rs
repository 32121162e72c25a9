//! The gate role: Skein's HTTP API. Verification codes, registration, password reset, login and
//! logout, and where to chat; all of it under `/v1`, described at `/v1/openapi.json`.
//!
//! Passwords are hashed with argon2id off the async threads, and an unknown name costs the same as
//! a wrong password. Tokens are random and leave the gate once; the store keeps their hash.
//! Whatever goes wrong is told as JSON with one of the stable codes of
//! [`Code`](skein_core::refusal::Code).
//!
//! This crate refuses to hold state of its own, to speak plain HTTP to a network unless it is told
//! to in so many words, and to believe a header about where a request comes from. Start at
//! [`bind`]; `route.rs` lists the endpoints and says how to add one; `answer.rs` is the one place
//! where a reason becomes an HTTP status.

mod answer;
pub mod config;
mod extract;
mod gate;
mod limits;
mod listen;
pub mod metric;
mod openapi;
mod password;
mod route;
mod router;
#[cfg(test)]
mod testing;

pub use config::{GateConfig, Limits, Registration, Sessions};
pub use gate::Parts;
pub use listen::{BindError, Running, bind};
