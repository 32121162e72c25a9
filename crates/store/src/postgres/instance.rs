//! Which store this is, in PostgreSQL.

use async_trait::async_trait;

use super::{Postgres, column::bytes};
use crate::{
    StoreError,
    instance::{Instance, InstanceId},
};

#[async_trait]
impl Instance for Postgres {
    async fn instance(&self) -> Result<InstanceId, StoreError> {
        self.read("read its id", |db| async move {
            bytes(&db.query_one("SELECT id FROM instance", &[]).await?, 0)
        })
        .await
    }

    async fn usable(&self) -> Result<(), StoreError> {
        let obstacle = self.read("be asked whether it takes writes", |db| async move {
            let sql = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on' \
                       FROM instance";
            let row = db.query_one(sql, &[]).await?;
            Ok(match (row.try_get(0)?, row.try_get(1)?) {
                (true, _) => Some("the database is a standby"),
                (false, true) => Some("the database is read-only"),
                (false, false) => None,
            })
        });
        match obstacle.await? {
            // Not tried again, as an operation would be: whoever asks wants to know how it is now.
            Some(source) => Err(StoreError::Unavailable { doing: "write", source: source.into() }),
            None => Ok(()),
        }
    }
}
