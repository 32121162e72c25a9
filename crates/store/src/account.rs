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
}
