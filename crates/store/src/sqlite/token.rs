//! Tokens in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use skein_core::{
    account::{Identity, SessionPolicy},
    entry::{Body, SessionEnded},
    id::{AccountId, DeviceId, LogId},
    name::DeviceName,
    refusal::{Code, Refusal},
    time::Timestamp,
};

use super::{
    Sqlite,
    column::{Id, Int, number, profile, text},
    fault::Fault,
    log,
};
use crate::{
    StoreError,
    token::{Issued, LoginRecord, NewToken, TokenHash, Tokens, account_disabled},
};

#[async_trait]
impl Tokens for Sqlite {
    async fn issue_token(&self, new: NewToken, now: Timestamp) -> Result<Issued, StoreError> {
        self.write("issue a token", move |db| issue(db, &new, now)).await
    }

    async fn identify(
        &self,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<Identity>, StoreError> {
        let hash = *hash;
        self.read("check a token", move |db| {
            let sql = "SELECT a.id, a.name, t.device, t.device_name \
                       FROM tokens t JOIN accounts a ON a.id = t.account \
                       WHERE t.hash = ?1 AND t.expires_ms > ?2";
            let found = db.prepare_cached(sql)?.query_row(params![hash, Int(now.0)], |row| {
                Ok(Identity {
                    account: profile(row, 0)?,
                    device: DeviceId(row.get(2)?),
                    device_name: text(row, 3, DeviceName::parse)?,
                })
            });
            Ok(found.optional()?)
        })
        .await
    }

    async fn revoke_token(&self, hash: &TokenHash) -> Result<bool, StoreError> {
        let hash = *hash;
        self.write("revoke a token", move |db| {
            let ended = db.prepare_cached("DELETE FROM tokens WHERE hash = ?1")?.execute([hash])?;
            Ok(ended > 0)
        })
        .await
    }

    async fn logins(&self, account: AccountId) -> Result<Vec<LoginRecord>, StoreError> {
        self.read("list logins", move |db| {
            let sql = "SELECT device, device_name, issued_ms, expires_ms FROM tokens \
                       WHERE account = ?1 ORDER BY issued_ms DESC, device";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_map([Id(account.0)], |row| {
                Ok(LoginRecord {
                    device: DeviceId(row.get(0)?),
                    device_name: text(row, 1, DeviceName::parse)?,
                    issued: Timestamp(number(row, 2)?),
                    expires: Timestamp(number(row, 3)?),
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn revoke_logins(
        &self,
        account: AccountId,
        device: Option<DeviceId>,
    ) -> Result<u64, StoreError> {
        self.write("revoke logins", move |db| {
            let Some(device) = device else { return Ok(revoke_all(db, account)?) };
            let ended = db
                .prepare_cached("DELETE FROM tokens WHERE account = ?1 AND device = ?2")?
                .execute(params![Id(account.0), device.0])?;
            Ok(rows(ended))
        })
        .await
    }

    async fn purge_tokens(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write("purge tokens", move |db| {
            let sql = "DELETE FROM tokens WHERE expires_ms <= ?1";
            let purged = db.prepare_cached(sql)?.execute([Int(now.0)])?;
            Ok(rows(purged))
        })
        .await
    }
}

/// Ends every token of an account, inside any transaction. How many there were.
pub(super) fn revoke_all(db: &Connection, account: AccountId) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM tokens WHERE account = ?1";
    Ok(rows(db.prepare_cached(sql)?.execute([Id(account.0)])?))
}

fn issue(db: &Connection, new: &NewToken, now: Timestamp) -> Result<Issued, Fault> {
    let known = "SELECT disabled_ms IS NOT NULL FROM accounts WHERE id = ?1 AND password_hash = ?2";
    let disabled = db
        .prepare_cached(known)?
        .query_row(params![Id(new.account.0), new.password_hash], |row| row.get(0))
        .optional()?;
    match disabled {
        Some(false) => {}
        Some(true) => return Err(account_disabled().into()),
        None => {
            let message = "the password was changed just now; log in with the new one";
            return Err(Refusal::new(Code::BadCredentials, message).into());
        }
    }
    let former = "DELETE FROM tokens WHERE account = ?1 AND device = ?2";
    let former = db.prepare_cached(former)?.execute(params![Id(new.account.0), new.device.0])?;
    let mut issued = Issued { replaced: former > 0, ..Issued::default() };
    if new.policy == SessionPolicy::Exclusive {
        let log = LogId::Personal(new.account);
        for other in all_tokens(db, new.account)? {
            // A session may outlive its token, so the device is named in any case; but a token that
            // has expired was not ended by this login.
            issued.ended.push(other.device);
            if other.expires > now {
                let number = u64::try_from(issued.committed.len()).unwrap_or(u64::MAX);
                let id = log::derived_id(new.entry_seed, log, number);
                let body = Body::SessionEnded(SessionEnded {
                    device: other.device_name,
                    by: new.device_name.clone(),
                });
                issued.committed.push(log::push(db, log, id, new.account, now, body)?);
            }
        }
        revoke_all(db, new.account)?;
    }
    let sql = "INSERT INTO tokens \
               (hash, account, device, device_name, issued_ms, expires_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    db.prepare_cached(sql)?.execute(params![
        new.hash,
        Id(new.account.0),
        new.device.0,
        new.device_name.as_str(),
        Int(now.0),
        Int(new.expires.0)
    ])?;
    Ok(issued)
}

struct OtherToken {
    device: DeviceId,
    device_name: DeviceName,
    expires: Timestamp,
}

fn all_tokens(db: &Connection, account: AccountId) -> rusqlite::Result<Vec<OtherToken>> {
    let sql = "SELECT device, device_name, expires_ms FROM tokens \
               WHERE account = ?1 ORDER BY issued_ms, device";
    let mut statement = db.prepare_cached(sql)?;
    let others = statement.query_map([Id(account.0)], |row| {
        Ok(OtherToken {
            device: DeviceId(row.get(0)?),
            device_name: text(row, 1, DeviceName::parse)?,
            expires: Timestamp(number(row, 2)?),
        })
    })?;
    others.collect()
}

fn rows(changed: usize) -> u64 {
    u64::try_from(changed).unwrap_or(u64::MAX)
}
