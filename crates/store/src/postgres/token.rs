//! Tokens in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use skein_core::{
    account::{Identity, SessionPolicy},
    entry::{Body, SessionEnded},
    id::{AccountId, DeviceId, LogId},
    name::DeviceName,
    refusal::{Code, Refusal},
    time::Timestamp,
};
use tokio_postgres::Row;

use super::{
    Postgres,
    column::{bytes, get, id, int, number, profile, text},
    db::Db,
    fault::Fault,
    log,
};
use crate::{
    StoreError,
    token::{Issued, LoginRecord, NewToken, TokenHash, Tokens, account_disabled},
};

/// Tokens that one transaction purges.
const PURGE_ROWS_MAX: i64 = 1000;

#[async_trait]
impl Tokens for Postgres {
    async fn issue_token(&self, new: NewToken, now: Timestamp) -> Result<Issued, StoreError> {
        let new = &new;
        self.write("issue a token", |db| async move { issue(&db, new, now).await }).await
    }

    async fn identify(
        &self,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<Identity>, StoreError> {
        self.read("check a token", |db| async move {
            let sql = "SELECT a.id, a.name, t.device, t.device_name \
                       FROM tokens t JOIN accounts a ON a.id = t.account \
                       WHERE t.hash = $1 AND t.expires_ms > $2";
            let found = db.query_opt(sql, &[&hash.as_slice(), &int(now.0)?]).await?;
            let Some(row) = found else { return Ok(None) };
            Ok(Some(Identity {
                account: profile(&row, 0)?,
                device: DeviceId(bytes(&row, 2)?),
                device_name: text(&row, 3, DeviceName::parse)?,
            }))
        })
        .await
    }

    async fn revoke_token(&self, hash: &TokenHash) -> Result<bool, StoreError> {
        self.write("revoke a token", |db| async move {
            let sql = "DELETE FROM tokens WHERE hash = $1";
            let ended = db.execute(sql, &[&hash.as_slice()]).await?;
            Ok(not_undone(&db, ended)? > 0)
        })
        .await
    }

    async fn logins(&self, account: AccountId) -> Result<Vec<LoginRecord>, StoreError> {
        self.read("list logins", |db| async move {
            let sql = "SELECT device, device_name, issued_ms, expires_ms FROM tokens \
                       WHERE account = $1 ORDER BY issued_ms DESC, device";
            db.query(sql, &[&id(account.0)]).await?.iter().map(login).collect()
        })
        .await
    }

    async fn revoke_logins(
        &self,
        account: AccountId,
        device: Option<DeviceId>,
    ) -> Result<u64, StoreError> {
        self.write("revoke logins", |db| async move {
            let ended = match device {
                None => revoke_all(&db, account).await?,
                Some(device) => {
                    let sql = "DELETE FROM tokens WHERE account = $1 AND device = $2";
                    db.execute(sql, &[&id(account.0), &device.0.as_slice()]).await?
                }
            };
            not_undone(&db, ended)
        })
        .await
    }

    async fn purge_tokens(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            // A token that someone else has locked is left for the next purge, so that this one never
            // waits while it holds others. The array keeps the inner query from being run twice.
            let purge = |db: Arc<Db>| async move {
                let sql = "DELETE FROM tokens WHERE hash = ANY (ARRAY( \
                           SELECT hash FROM tokens WHERE expires_ms <= $1 \
                           ORDER BY expires_ms LIMIT $2 FOR UPDATE SKIP LOCKED))";
                let purged = db.execute(sql, &[&int(now.0)?, &PURGE_ROWS_MAX]).await?;
                not_undone(&db, purged)
            };
            let purged = self.write("purge tokens", purge).await?;
            all += purged;
            if purged < PURGE_ROWS_MAX.unsigned_abs() {
                return Ok(all);
            }
        }
    }
}

/// Ends every token of an account, inside any transaction. How many there were.
pub(super) async fn revoke_all(db: &Db, account: AccountId) -> Result<u64, Fault> {
    db.execute("DELETE FROM tokens WHERE account = $1", &[&id(account.0)]).await
}

/// How many rows are gone, unless a former try has taken them away.
pub(super) fn not_undone(db: &Db, gone: u64) -> Result<u64, Fault> {
    if gone == 0 && db.again() { Err(Fault::TookEffect) } else { Ok(gone) }
}

async fn issue(db: &Db, new: &NewToken, now: Timestamp) -> Result<Issued, Fault> {
    may_issue(db, new).await?;
    if db.again() {
        let sql = "SELECT 1 FROM tokens WHERE hash = $1";
        if db.query_opt(sql, &[&new.hash.as_slice()]).await?.is_some() {
            return Err(Fault::TookEffect);
        }
    }
    let (account, device) = (id(new.account.0), new.device.0.as_slice());
    let sql = "DELETE FROM tokens WHERE account = $1 AND device = $2";
    let former = db.execute(sql, &[&account, &device]).await?;
    let mut issued = Issued { replaced: former > 0, ..Issued::default() };
    if new.policy == SessionPolicy::Exclusive {
        end_others(db, new, now, &mut issued).await?;
    }
    let sql = "INSERT INTO tokens \
               (hash, account, device, device_name, issued_ms, expires_ms) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let (hash, name) = (new.hash.as_slice(), new.device_name.as_str());
    let (issued_ms, expires_ms) = (int(now.0)?, int(new.expires.0)?);
    db.execute(sql, &[&hash, &account, &device, &name, &issued_ms, &expires_ms]).await?;
    Ok(issued)
}

/// Checks the account and locks it: logins of one account happen one after the other, at whatever
/// node, and not while its password is changed.
async fn may_issue(db: &Db, new: &NewToken) -> Result<(), Fault> {
    let sql = "SELECT disabled_ms IS NOT NULL FROM accounts \
               WHERE id = $1 AND password_hash = $2 FOR NO KEY UPDATE";
    match db.query_opt(sql, &[&id(new.account.0), &new.password_hash]).await? {
        Some(row) if get(&row, 0)? => Err(account_disabled().into()),
        Some(_) => Ok(()),
        None => {
            let message = "the password was changed just now; log in with the new one";
            Err(Refusal::new(Code::BadCredentials, message).into())
        }
    }
}

async fn end_others(
    db: &Db,
    new: &NewToken,
    now: Timestamp,
    issued: &mut Issued,
) -> Result<(), Fault> {
    let log = LogId::Personal(new.account);
    let sql = "SELECT device, device_name, issued_ms, expires_ms FROM tokens \
               WHERE account = $1 ORDER BY issued_ms, device";
    for row in db.query(sql, &[&id(new.account.0)]).await? {
        let other = login(&row)?;
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
            issued.committed.push(log::push(db, log, id, new.account, now, body).await?);
        }
    }
    revoke_all(db, new.account).await?;
    Ok(())
}

fn login(row: &Row) -> Result<LoginRecord, Fault> {
    Ok(LoginRecord {
        device: DeviceId(bytes(row, 0)?),
        device_name: text(row, 1, DeviceName::parse)?,
        issued: Timestamp(number(row, 2)?),
        expires: Timestamp(number(row, 3)?),
    })
}
