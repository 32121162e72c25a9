//! Which store this is, in SQLite.

use async_trait::async_trait;

use super::Sqlite;
use crate::{
    StoreError,
    instance::{Instance, InstanceId},
};

#[async_trait]
impl Instance for Sqlite {
    async fn instance(&self) -> Result<InstanceId, StoreError> {
        self.read("read its id", |db| {
            Ok(db.prepare_cached("SELECT id FROM instance")?.query_row([], |row| row.get(0))?)
        })
        .await
    }
}
