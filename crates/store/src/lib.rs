//! Skein's truth: accounts, contacts, logs, uploads and blobs.
//!
//! Each noun has a trait in a file of its own; [`Store`] is all of them. [`sqlite`] implements them
//! for the embedded form, [`postgres`] for a cluster. The contract suite in `contract` says what an implementation owes its
//! callers, and runs against every one.
//!
//! To add an operation: add a method to the noun's trait, a story to the contract suite, then the
//! implementations. An operation is one transaction; what it appended to logs it returns as
//! [`Committed`](log::Committed), and the caller tells the bus.
//!
//! This crate refuses to read clocks or draw random numbers (but for the id of a new store), to
//! publish anything, and to know who is connected. Rights are decided by [`skein_core::policy`] on
//! facts read in the same transaction.

pub mod account;
pub mod blob;
pub mod coming;
pub mod contact;
#[cfg(test)]
pub mod contract;
pub mod error;
pub mod instance;
pub mod log;
pub mod metric;
pub mod postgres;
pub mod sqlite;
pub mod token;
pub mod upload;

pub use error::StoreError;

/// Everything that a store keeps. Roles take the traits that they need.
pub trait Store:
    instance::Instance
    + account::Accounts
    + token::Tokens
    + contact::Contacts
    + log::Logs
    + upload::Uploads
    + blob::Blobs
    + coming::ComingFiles
    + 'static
{
}

impl<T> Store for T where
    T: instance::Instance
        + account::Accounts
        + token::Tokens
        + contact::Contacts
        + log::Logs
        + upload::Uploads
        + blob::Blobs
        + coming::ComingFiles
        + 'static
{
}
