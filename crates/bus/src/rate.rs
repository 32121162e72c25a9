//! Rate limits that hold across nodes: a counter a window, on expiring keys.

use std::time::Duration;

use crate::{Unavailable, key::Keys};

/// What the keys of all rate limits begin with.
pub(crate) const KEY_PREFIX: &str = "rate/";

/// So many events in a window, for each subject.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// What is limited: part of the key, so unique to the limit.
    pub name: &'static str,
    /// Events in a window.
    pub count: u64,
    /// The window. It begins with the first event.
    pub window: Duration,
}

impl RateLimit {
    /// Counts an event of `subject` (an account, an address). `Some` says how long to wait.
    ///
    /// # Errors
    /// If the bus is away.
    pub async fn exceeded(
        &self,
        keys: &dyn Keys,
        subject: &str,
    ) -> Result<Option<Duration>, Unavailable> {
        let key = format!("{KEY_PREFIX}{}/{subject}", self.name);
        let counter = keys.increment(&key, self.window).await?;
        Ok((counter.count > self.count).then_some(counter.expires_in))
    }
}
