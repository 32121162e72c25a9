//! Accounts, their devices and tokens.

use crate::{
    id::{AccountId, DeviceId},
    name::{DeviceName, Username},
};

/// What others may see of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The account.
    pub id: AccountId,
    /// Its name, as its owner writes it.
    pub name: Username,
}

/// Who a valid token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: Profile,
    /// The device that the token was issued to.
    pub device: DeviceId,
    /// What its owner calls that device.
    pub device_name: DeviceName,
}

/// How many devices of an account may hold a session at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionPolicy {
    /// Every device stays, and all receive.
    Many,
    /// A login on another device ends the sessions of the first.
    Exclusive,
}
