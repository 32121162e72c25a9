//! Accounts in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use skein_core::{
    account::Profile,
    id::AccountId,
    limit::SEARCH_RESULTS_MAX,
    name::{Email, Username},
    refusal::{Code, Refusal},
    time::Timestamp,
};

use super::{
    Sqlite,
    column::{Id, Int, count, number, profile, text},
    fault::Fault,
    token,
};
use crate::{
    StoreError,
    account::{AccountRecord, Accounts, Credentials, NewAccount},
};

#[async_trait]
impl Accounts for Sqlite {
    async fn create_account(&self, new: NewAccount, now: Timestamp) -> Result<Profile, StoreError> {
        self.write("create an account", move |db| create(db, new, now)).await
    }

    async fn credentials(&self, name: &Username) -> Result<Option<Credentials>, StoreError> {
        let key = name.key();
        self.read("read credentials", move |db| {
            let sql = "SELECT id, name, password_hash, disabled_ms IS NOT NULL FROM accounts \
                       WHERE name_key = ?1";
            let found = db.prepare_cached(sql)?.query_row([key], |row| {
                Ok(Credentials {
                    profile: profile(row, 0)?,
                    password_hash: row.get(2)?,
                    disabled: row.get(3)?,
                })
            });
            Ok(found.optional()?)
        })
        .await
    }

    async fn account_by_email(&self, email: &Email) -> Result<Option<Profile>, StoreError> {
        let key = email.key();
        self.read("find an account by address", move |db| {
            let sql = "SELECT id, name FROM accounts WHERE email_key = ?1";
            let found = db.prepare_cached(sql)?.query_row([key], |row| profile(row, 0));
            Ok(found.optional()?)
        })
        .await
    }

    async fn find_accounts(&self, prefix: &str, limit: usize) -> Result<Vec<Profile>, StoreError> {
        let from = prefix.to_lowercase();
        let limit = limit.min(SEARCH_RESULTS_MAX);
        self.read("find accounts", move |db| {
            // What begins with the prefix lies between it and it with the last of all characters
            // behind it; names hold letters and digits, so none reaches that far. The exact match
            // is the shortest of them and sorts first.
            let to = format!("{from}{}", char::MAX);
            let sql = "SELECT id, name FROM accounts WHERE name_key >= ?1 AND name_key < ?2 \
                       ORDER BY name_key LIMIT ?3";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_map(params![from, to, count(limit)], |r| profile(r, 0))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn account(&self, id: AccountId) -> Result<Option<Profile>, StoreError> {
        self.read("read an account", move |db| Ok(find_profile(db, id)?)).await
    }

    async fn set_password(&self, id: AccountId, password_hash: String) -> Result<(), StoreError> {
        self.write("set a password", move |db| {
            let changed = db
                .prepare_cached("UPDATE accounts SET password_hash = ?2 WHERE id = ?1")?
                .execute(params![Id(id.0), password_hash])?;
            if changed == 0 {
                return Err(Refusal::not_found("account").into());
            }
            token::revoke_all(db, id)?;
            Ok(())
        })
        .await
    }

    async fn list_accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        self.read("list accounts", move |db| {
            let sql = "SELECT id, name, email, created_ms, disabled_ms, storage_bytes, \
                       (SELECT count(*) FROM tokens WHERE account = accounts.id) \
                       FROM accounts WHERE id > ?1 ORDER BY id LIMIT ?2";
            let after = after.map_or(0, |id| id.0);
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_map(params![Id(after), count(limit)], record)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn set_disabled(
        &self,
        id: AccountId,
        since: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        self.write("disable or enable an account", move |db| {
            let changed = db
                .prepare_cached("UPDATE accounts SET disabled_ms = ?2 WHERE id = ?1")?
                .execute(params![Id(id.0), since.map(|time| Int(time.0))])?;
            if since.is_some() {
                token::revoke_all(db, id)?;
            }
            Ok(changed > 0)
        })
        .await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<AccountRecord> {
    Ok(AccountRecord {
        profile: profile(row, 0)?,
        email: text(row, 2, Email::parse)?,
        created: Timestamp(number(row, 3)?),
        disabled: row.get::<_, Option<Int>>(4)?.map(|time| Timestamp(time.0)),
        storage_bytes: number(row, 5)?,
        logins: number(row, 6)?,
    })
}

/// The profile of an account, inside any transaction.
pub(super) fn find_profile(db: &Connection, id: AccountId) -> rusqlite::Result<Option<Profile>> {
    db.prepare_cached("SELECT id, name FROM accounts WHERE id = ?1")?
        .query_row([Id(id.0)], |row| profile(row, 0))
        .optional()
}

fn create(db: &Connection, new: NewAccount, now: Timestamp) -> Result<Profile, Fault> {
    let name_key = new.name.key();
    let email_key = new.email.key();
    if db.prepare_cached("SELECT 1 FROM accounts WHERE name_key = ?1")?.exists([&name_key])? {
        let message = format!("the name {} is taken; choose another one", new.name);
        return Err(Refusal::new(Code::NameTaken, message).into());
    }
    if db.prepare_cached("SELECT 1 FROM accounts WHERE email_key = ?1")?.exists([&email_key])? {
        let message = "this e-mail address has an account already; log in, or reset its password";
        return Err(Refusal::new(Code::EmailTaken, message).into());
    }
    let sql = "INSERT INTO accounts (name, name_key, email, email_key, password_hash, created_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id, name";
    let created = db.prepare_cached(sql)?.query_row(
        params![
            new.name.as_str(),
            name_key,
            new.email.as_str(),
            email_key,
            new.password_hash,
            Int(now.0)
        ],
        |row| profile(row, 0),
    )?;
    Ok(created)
}
