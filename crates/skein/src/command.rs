//! The commands, one a file.

pub(crate) mod accept;
pub(crate) mod add;
pub(crate) mod contacts;
pub(crate) mod decline;
pub(crate) mod find;
pub(crate) mod get;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod register;
pub(crate) mod remove;
pub(crate) mod requests;
pub(crate) mod reset_password;
pub(crate) mod send;
pub(crate) mod transfers;
pub(crate) mod watch;
pub(crate) mod whoami;
