//! The verify role: makes, mails and checks verification codes.
//!
//! A code has six digits, is good for five minutes, five guesses and one use, and only for the
//! purpose and address that it was made for. It is kept sealed under expiring keys of the bus, so any
//! node can check what another one mailed, or mail it again. Mails leave through a bounded queue in the
//! background: the answer to a request never tells, not even by its timing, whether there is an
//! account behind an address.
//!
//! This crate refuses to know accounts: its caller says whether a mail is to be delivered. It never
//! logs a code or an address. Read [`role::Verify`] first, then `code.rs` for what is stored.

mod code;
pub mod config;
pub mod mail;
pub mod role;

pub use config::Config;
pub use role::{Parts, StartError, Verify};
