//! Who is registered.

use async_trait::async_trait;
use skein_core::{
    account::Profile,
    id::AccountId,
    name::{Email, Username},
    time::Timestamp,
};

use crate::StoreError;

/// An account to be created.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name, unique without regard to case.
    pub name: Username,
    /// Its address, unique without regard to case.
    pub email: Email,
    /// The password's hash as a PHC string.
    pub password_hash: String,
}

/// What is needed to check a login.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Whose.
    pub profile: Profile,
    /// The password's hash as a PHC string.
    pub password_hash: String,
    /// Whether an operator has disabled the account.
    pub disabled: bool,
}

/// An account as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Id and name.
    pub profile: Profile,
    /// Its address.
    pub email: Email,
    /// When it was created.
    pub created: Timestamp,
    /// Since when an operator has disabled it.
    pub disabled: Option<Timestamp>,
    /// [Charged bytes](crate::upload::charged_bytes) of its blobs and open uploads.
    pub storage_bytes: u64,
    /// Logins that are good, expired ones included until they are purged.
    pub logins: u64,
}

/// Keeps accounts.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Creates an account.
    ///
    /// # Errors
    /// Refused with `name_taken` or `email_taken`.
    async fn create_account(&self, new: NewAccount, now: Timestamp) -> Result<Profile, StoreError>;

    /// The credentials of the account with this name.
    async fn credentials(&self, name: &Username) -> Result<Option<Credentials>, StoreError>;

    /// The account with this e-mail address.
    async fn account_by_email(&self, email: &Email) -> Result<Option<Profile>, StoreError>;

    /// Accounts whose name is, or begins with, `prefix`, without regard to case: the exact match
    /// first, then by name, at most `limit`.
    async fn find_accounts(&self, prefix: &str, limit: usize) -> Result<Vec<Profile>, StoreError>;

    /// The account with this id.
    async fn account(&self, id: AccountId) -> Result<Option<Profile>, StoreError>;

    /// Sets a new password and revokes every token of the account.
    async fn set_password(&self, id: AccountId, password_hash: String) -> Result<(), StoreError>;

    /// Accounts after `after`, by id, at most `limit`.
    async fn list_accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError>;

    /// Disables the account since a time, which revokes every token of it, or enables it again.
    /// Whether there is such an account.
    async fn set_disabled(
        &self,
        id: AccountId,
        since: Option<Timestamp>,
    ) -> Result<bool, StoreError>;
}
