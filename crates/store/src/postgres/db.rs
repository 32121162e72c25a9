//! A connection in the hands of one operation.

use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::Object;
use tokio_postgres::{Row, Statement, types::ToSql};

use super::fault::Fault;

/// The parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection, perhaps with an open transaction. Unless it was [released](Self::release), it is
/// closed when dropped, which ends its transaction too: whoever was interrupted in the middle of an
/// operation, or got no answer, leaves nothing behind for the next one.
pub(super) struct Db {
    /// Taken only on drop.
    client: Option<Object>,
    again: bool,
    released: AtomicBool,
}

impl Db {
    /// `again` says whether a former try of the same operation may have been committed.
    pub(super) fn new(client: Object, again: bool) -> Self {
        Self { client: Some(client), again, released: AtomicBool::new(false) }
    }

    /// Whether a former try of the same operation may have been committed. If it turns out that it
    /// was, the operation ends with [`Fault::TookEffect`].
    pub(super) fn again(&self) -> bool {
        self.again
    }

    /// The rows that a statement finds.
    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query(&statement, params).await?)
    }

    /// The row that a statement finds, if any; it finds one at most.
    pub(super) async fn query_opt(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Option<Row>, Fault> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query_opt(&statement, params).await?)
    }

    /// The one row that a statement finds.
    pub(super) async fn query_one(&self, sql: &str, params: Params<'_>) -> Result<Row, Fault> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query_one(&statement, params).await?)
    }

    /// Runs a statement; how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Fault> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().execute(&statement, params).await?)
    }

    /// Prepares a statement, once a connection.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Fault> {
        Ok(self.object().prepare_cached(sql).await?)
    }

    /// Runs a command without parameters or result.
    pub(super) async fn command(&self, sql: &'static str) -> Result<(), Fault> {
        Ok(self.client().batch_execute(sql).await?)
    }

    /// The connection itself, to send statements that do not wait for each other.
    pub(super) fn client(&self) -> &tokio_postgres::Client {
        self.object()
    }

    /// Lets the connection go back to the others when this is dropped. No transaction may be open.
    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    fn object(&self) -> &Object {
        self.client.as_ref().expect("only `drop` takes it")
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let client = self.client.take();
        if !self.released.load(Ordering::Relaxed) {
            // Out of the pool; dropping the connection closes it.
            drop(client.map(Object::take));
        }
    }
}
