//! Clients whose network changes, stalls and comes back: real servers behind a bad network.

mod away;
mod early;
mod handover;
mod scene;
