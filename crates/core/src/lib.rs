//! The words and rules of Skein, and the state machines of its clients.
//!
//! Everything here is **sans-IO**: no socket, no clock, no randomness, no async runtime. Time and
//! random numbers are arguments; side effects are values that a shell carries out. That is what
//! lets the simulation drive the same code as production, a thousand seeds at a time.
//!
//! Read [`entry`] first (what a log holds), then [`policy`] (who may do what), then [`port`] (how
//! the roles of the server call one another) and [`sync`] (how a client follows logs).
//!
//! This crate refuses to know the wire format, the database and the transport: those convert at
//! their own edge.

pub mod account;
pub mod backoff;
pub mod bucket;
pub mod coming;
pub mod contact;
pub mod entry;
pub mod id;
pub mod limit;
pub mod name;
pub mod policy;
pub mod port;
pub mod refusal;
pub mod subject;
pub mod sync;
pub mod time;
pub mod token;
pub mod transfer;
