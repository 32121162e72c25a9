//! Proof of a login: random, stored hashed, one a device, revocable, expiring.

use async_trait::async_trait;
use skein_core::{
    account::{Identity, SessionPolicy},
    id::{AccountId, DeviceId, EntryId},
    name::DeviceName,
    refusal::{Code, Refusal},
    time::Timestamp,
};

use crate::{StoreError, log::Committed};

/// SHA-256 or BLAKE3 of a token: the store never sees the token itself.
pub type TokenHash = [u8; 32];

/// A token to be issued.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its hash.
    pub hash: TokenHash,
    /// Whom it speaks for.
    pub account: AccountId,
    /// The hash of the password that was shown to be known, as the account had it then.
    pub password_hash: String,
    /// The device that it is for; an earlier token of this account and device ends.
    pub device: DeviceId,
    /// What its owner calls that device.
    pub device_name: DeviceName,
    /// When it stops being valid.
    pub expires: Timestamp,
    /// Under [`SessionPolicy::Exclusive`] the tokens of the account's other devices end, each with
    /// a `SessionEnded` entry in the personal log.
    pub policy: SessionPolicy,
    /// From which the ids of those entries are made, so that the store draws no random numbers.
    pub entry_seed: EntryId,
}

/// What issuing a token did to others.
#[derive(Debug, Clone, Default)]
pub struct Issued {
    /// Whether the device itself had a token, which ended.
    pub replaced: bool,
    /// Other devices whose tokens ended.
    pub ended: Vec<DeviceId>,
    /// What was appended to the account's personal log.
    pub committed: Vec<Committed>,
}

/// A login as its owner and operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRecord {
    /// The device.
    pub device: DeviceId,
    /// What its owner calls it.
    pub device_name: DeviceName,
    /// When it logged in.
    pub issued: Timestamp,
    /// Until when the login is good.
    pub expires: Timestamp,
}

/// What an account hears that an operator has disabled. For those only who know its password.
#[must_use]
pub fn account_disabled() -> Refusal {
    Refusal::new(Code::Forbidden, "this account is disabled; ask whoever runs this server")
}

/// Keeps tokens.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Issues a token.
    ///
    /// # Errors
    /// `bad_credentials` if the account has another password by now: a login that was under way
    /// does not survive a reset. `forbidden` if the account is disabled.
    async fn issue_token(&self, new: NewToken, now: Timestamp) -> Result<Issued, StoreError>;

    /// Whom a token speaks for, unless it is unknown, revoked or expired.
    async fn identify(
        &self,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<Identity>, StoreError>;

    /// Ends a token. Whether there was one.
    async fn revoke_token(&self, hash: &TokenHash) -> Result<bool, StoreError>;

    /// The account's logins, the latest first.
    async fn logins(&self, account: AccountId) -> Result<Vec<LoginRecord>, StoreError>;

    /// Ends the logins of one device, or of all devices, of an account. How many there were.
    async fn revoke_logins(
        &self,
        account: AccountId,
        device: Option<DeviceId>,
    ) -> Result<u64, StoreError>;

    /// Forgets tokens that have expired. How many there were.
    async fn purge_tokens(&self, now: Timestamp) -> Result<u64, StoreError>;
}
