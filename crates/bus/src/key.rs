//! Keys that expire: codes and counters.

use std::time::Duration;

use async_trait::async_trait;

use crate::Unavailable;

/// A counter after it was incremented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Its value, this increment included.
    pub count: u64,
    /// When it starts from zero again.
    pub expires_in: Duration,
}

/// Keeps short values for a short time.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Sets a value that is forgotten after `lifetime`, in place of any earlier one.
    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), Unavailable>;

    /// The value, unless it has expired.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Forgets the value. Whether there was one: of two callers at once only one hears `true`.
    async fn delete(&self, key: &str) -> Result<bool, Unavailable>;

    /// Adds one. The first increment sets the lifetime; later ones do not extend it.
    async fn increment(&self, key: &str, lifetime: Duration) -> Result<Counter, Unavailable>;
}
