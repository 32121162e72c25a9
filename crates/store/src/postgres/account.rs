//! Accounts in PostgreSQL.

use async_trait::async_trait;
use skein_core::{
    account::Profile,
    id::AccountId,
    limit::SEARCH_RESULTS_MAX,
    name::{Email, Username},
    refusal::{Code, Refusal},
    time::Timestamp,
};
use tokio_postgres::Row;

use super::{
    Postgres,
    column::{count, get, id, int, number, profile, text},
    db::Db,
    fault::Fault,
    log, token,
};
use crate::{
    StoreError,
    account::{AccountRecord, Accounts, Credentials, NewAccount},
};

#[async_trait]
impl Accounts for Postgres {
    async fn create_account(&self, new: NewAccount, now: Timestamp) -> Result<Profile, StoreError> {
        let new = &new;
        self.write("create an account", |db| async move { create(&db, new, now).await }).await
    }

    async fn credentials(&self, name: &Username) -> Result<Option<Credentials>, StoreError> {
        self.read("read credentials", |db| async move {
            let sql = "SELECT id, name, password_hash, disabled_ms IS NOT NULL FROM accounts \
                       WHERE name_key = $1";
            let Some(row) = db.query_opt(sql, &[&name.key()]).await? else { return Ok(None) };
            Ok(Some(Credentials {
                profile: profile(&row, 0)?,
                password_hash: get(&row, 2)?,
                disabled: get(&row, 3)?,
            }))
        })
        .await
    }

    async fn account_by_email(&self, email: &Email) -> Result<Option<Profile>, StoreError> {
        self.read("find an account by address", |db| async move {
            let sql = "SELECT id, name FROM accounts WHERE email_key = $1";
            db.query_opt(sql, &[&email.key()]).await?.map(|row| profile(&row, 0)).transpose()
        })
        .await
    }

    async fn find_accounts(&self, prefix: &str, limit: usize) -> Result<Vec<Profile>, StoreError> {
        if prefix.contains('\0') {
            // PostgreSQL knows no such character, and neither does a name.
            return Ok(Vec::new());
        }
        let from = prefix.to_lowercase();
        // What begins with the prefix lies between it and it with the last of all characters behind
        // it; names hold letters and digits, so none reaches that far. The exact match is the
        // shortest of them and sorts first.
        let to = format!("{from}{}", char::MAX);
        let (from, to, limit) = (&from, &to, count(limit.min(SEARCH_RESULTS_MAX)));
        self.read("find accounts", |db| async move {
            let sql = "SELECT id, name FROM accounts WHERE name_key >= $1 AND name_key < $2 \
                       ORDER BY name_key LIMIT $3";
            let rows = db.query(sql, &[from, to, &limit]).await?;
            rows.iter().map(|row| profile(row, 0)).collect()
        })
        .await
    }

    async fn account(&self, id: AccountId) -> Result<Option<Profile>, StoreError> {
        self.read("read an account", |db| async move { find_profile(&db, id).await }).await
    }

    async fn set_password(
        &self,
        account: AccountId,
        password_hash: String,
    ) -> Result<(), StoreError> {
        let password_hash = &password_hash;
        self.write("set a password", |db| async move {
            let sql = "UPDATE accounts SET password_hash = $2 WHERE id = $1";
            if db.execute(sql, &[&id(account.0), password_hash]).await? == 0 {
                return Err(Refusal::not_found("account").into());
            }
            token::revoke_all(&db, account).await?;
            Ok(())
        })
        .await
    }

    async fn list_accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        self.read("list accounts", |db| async move {
            let sql = "SELECT id, name, email, created_ms, disabled_ms, storage_bytes, \
                       (SELECT count(*) FROM tokens WHERE account = accounts.id) \
                       FROM accounts WHERE id > $1 ORDER BY id LIMIT $2";
            let after = after.map_or(0, |account| id(account.0));
            let rows = db.query(sql, &[&after, &count(limit)]).await?;
            rows.iter().map(record).collect()
        })
        .await
    }

    async fn set_disabled(
        &self,
        account: AccountId,
        since: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        self.write("disable or enable an account", |db| async move {
            let since = since.map(|time| int(time.0)).transpose()?;
            let sql = "UPDATE accounts SET disabled_ms = $2 WHERE id = $1";
            let changed = db.execute(sql, &[&id(account.0), &since]).await?;
            if since.is_some() {
                token::revoke_all(&db, account).await?;
            }
            Ok(changed > 0)
        })
        .await
    }
}

/// The profile of an account, inside any transaction.
pub(super) async fn find_profile(db: &Db, account: AccountId) -> Result<Option<Profile>, Fault> {
    let sql = "SELECT id, name FROM accounts WHERE id = $1";
    db.query_opt(sql, &[&id(account.0)]).await?.map(|row| profile(&row, 0)).transpose()
}

async fn create(db: &Db, new: &NewAccount, now: Timestamp) -> Result<Profile, Fault> {
    let (name_key, email_key) = (new.name.key(), new.email.key());
    let sql = "SELECT email_key, password_hash FROM accounts WHERE name_key = $1";
    if let Some(row) = db.query_opt(sql, &[&name_key]).await? {
        // A hash is salted: the same one is this very call's.
        let is_mine = get::<&str>(&row, 0)? == email_key
            && get::<&str>(&row, 1)? == new.password_hash
            && db.again();
        if is_mine {
            return Err(Fault::TookEffect);
        }
        let message = format!("the name {} is taken; choose another one", new.name);
        return Err(Refusal::new(Code::NameTaken, message).into());
    }
    let sql = "SELECT 1 FROM accounts WHERE email_key = $1";
    if db.query_opt(sql, &[&email_key]).await?.is_some() {
        let message = "this e-mail address has an account already; log in, or reset its password";
        return Err(Refusal::new(Code::EmailTaken, message).into());
    }
    let sql = "INSERT INTO accounts (name, name_key, email, email_key, password_hash, created_ms) \
               VALUES ($1, $2, $3, $4, $5, $6) RETURNING id, name";
    let (name, email) = (new.name.as_str(), new.email.as_str());
    let created = int(now.0)?;
    let row = db
        .query_one(sql, &[&name, &name_key, &email, &email_key, &new.password_hash, &created])
        .await?;
    let profile = profile(&row, 0)?;
    log::make(db, skein_core::id::LogId::Personal(profile.id)).await?;
    Ok(profile)
}

fn record(row: &Row) -> Result<AccountRecord, Fault> {
    let disabled: Option<i64> = get(row, 4)?;
    let disabled = disabled.map(|_| number(row, 4)).transpose()?;
    Ok(AccountRecord {
        profile: profile(row, 0)?,
        email: text(row, 2, Email::parse)?,
        created: Timestamp(number(row, 3)?),
        disabled: disabled.map(Timestamp),
        storage_bytes: number(row, 5)?,
        logins: number(row, 6)?,
    })
}
