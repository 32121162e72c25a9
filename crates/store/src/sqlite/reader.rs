//! The connections that read: a fixed number, each used by one blocking task at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task};
use tracing::Span;

use super::fault::{Fault, failed};
use crate::{StoreError, metric};

/// Read connections. Reads are short and mostly from memory; more would only share the processors.
const READERS: usize = 4;

/// A pool of connections that cannot write.
pub(super) struct Readers {
    /// As many permits as there are connections, so that whoever has one finds a connection.
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Opens the connections.
    pub(super) fn open(open: impl Fn() -> rusqlite::Result<Connection>) -> rusqlite::Result<Self> {
        let idle = (0..READERS).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { permits: Arc::new(Semaphore::new(READERS)), idle: Arc::new(Mutex::new(idle)) })
    }

    /// Runs `work` in a read transaction, so that all that it sees is of one moment.
    pub(super) async fn run<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let asked = Instant::now();
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|error| failed("reach its readers", error))?;
        metric::pool_wait(asked.elapsed());
        let idle = Arc::clone(&self.idle);
        let span = Span::current();
        let blocking = task::spawn_blocking(move || {
            let _in_span = span.enter();
            // The connection goes back before the permit, also when `work` panics.
            let _permit = permit;
            let borrowed = Borrowed::take(idle);
            let connection = borrowed.connection.as_ref().ok_or(rusqlite::Error::InvalidQuery)?;
            in_snapshot(connection, work)
        });
        let result = blocking.await.map_err(|error| failed(doing, error))?;
        result.map_err(|fault| fault.while_doing(doing))
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let snapshot = connection.unchecked_transaction()?;
    let result = work(&snapshot)?;
    snapshot.commit()?;
    Ok(result)
}

/// A connection that returns to the pool.
struct Borrowed {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Borrowed {
    fn take(idle: Arc<Mutex<Vec<Connection>>>) -> Self {
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { connection, idle }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
    }
}
