//! The chat role: accepts connections, holds sessions, appends to logs and passes on what grew.
//!
//! A connection (`connection.rs`) says hello on its session stream, and then opens a stream for each
//! further piece of work. The [`hub`] knows who has a session here and which logs they live on; the
//! bus tells it what was appended anywhere, and it tells the sessions. A node that goes away sends
//! its sessions to others before it ends (`drain.rs`).
//!
//! **Architecture Invariants**: a node holds no truth, so killing it loses nothing. An append is
//! answered after its commit (invariant 1), and only then told to the bus (invariant 4). Every
//! queue of a session is bounded; one that is full makes the session *behind* (invariant 5).

mod answer;
pub mod config;
mod connection;
mod download;
mod drain;
mod following;
pub mod hub;
pub mod metric;
mod order;
mod queue;
mod report;
mod requests;
mod role;
mod session;
mod standing;
#[cfg(test)]
mod testing;
mod upload;

pub use self::{
    role::{BindError, Parts, Running, bind},
    standing::Standing,
};
