//! The bus inside one process: plain maps behind locks that are held for a moment.
//!
//! Time is tokio's, so that a test which pauses the runtime's clock moves expiry with it.

mod expiring;
mod hints;
mod keys;
mod leases;
mod presence;

use std::sync::Arc;

use tokio::time::Instant;

use self::{expiring::Full, keys::KeyTable, leases::LeaseTable, presence::PresenceTable};
use crate::{Unavailable, exchange::Exchange};

/// Keys that are kept at a time, such as verification codes. Whoever wants one more is answered
/// with "unavailable" and not with all the memory.
pub const KEYS_MAX: usize = 100_000;
/// Rate limits that are kept beside them. They make a handful a visitor; in a flood of visitors the
/// ones that would end soonest make room.
pub const RATES_MAX: usize = 100_000;
/// Leases that are held at a time.
pub const LEASES_MAX: usize = 100_000;

/// A bus for the roles of one process.
pub struct Local {
    exchange: Arc<Exchange>,
    keys: KeyTable,
    leases: LeaseTable,
    presence: PresenceTable,
}

impl Local {
    /// A bus that carries nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            exchange: Arc::default(),
            keys: KeyTable::new(KEYS_MAX, RATES_MAX),
            leases: LeaseTable::new(LEASES_MAX),
            presence: PresenceTable::new(),
        }
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Full> for Unavailable {
    fn from(Full { max }: Full) -> Self {
        Self(format!("it keeps {max} names already"))
    }
}

fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use async_trait::async_trait;

    use super::Local;
    use crate::contract::{Passing, Stage};

    /// The paused clock of the runtime.
    struct Paused;

    #[async_trait]
    impl Passing for Paused {
        async fn pass(&self, time: Duration) {
            tokio::time::advance(time).await;
        }
    }

    async fn empty() -> Stage {
        tokio::time::pause();
        Stage::new(Arc::new(Local::new()), Paused)
    }

    crate::contract::run_contract!(super::empty);
}
