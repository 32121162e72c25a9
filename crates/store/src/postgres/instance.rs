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
}
