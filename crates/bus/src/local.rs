//! The bus inside one process: plain maps behind locks that are held for a moment.
//!
//! Time is tokio's, so that a test which pauses the runtime's clock moves expiry with it.

mod expiring;
mod hints;
mod keys;
mod leases;

use tokio::time::Instant;

use self::{expiring::Full, hints::Exchange, keys::KeyTable, leases::LeaseTable};
use crate::{
    Unavailable,
    hint::{Hint, Hints, Subscription, Topic},
};

/// Keys that are kept at a time, such as verification codes. Whoever wants one more is answered
/// with "unavailable" and not with all the memory.
pub const KEYS_MAX: usize = 100_000;
/// Rate limits that are kept beside them. They make a handful a visitor; in a flood of visitors the
/// ones that would end soonest make room.
pub const RATES_MAX: usize = 100_000;
/// Leases that are held at a time.
pub const LEASES_MAX: usize = 100_000;
/// Bytes in a key or in the name of a lease.
pub const NAME_BYTES_MAX: usize = 512;
/// Bytes in the value of a key or of a lease.
pub const VALUE_BYTES_MAX: usize = 4 * 1024;

/// A bus for the roles of one process.
pub struct Local {
    exchange: Exchange,
    keys: KeyTable,
    leases: LeaseTable,
}

impl Local {
    /// A bus that carries nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            exchange: Exchange::default(),
            keys: KeyTable::new(KEYS_MAX, RATES_MAX),
            leases: LeaseTable::new(LEASES_MAX),
        }
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Hints for Local {
    async fn publish(&self, topic: Topic, hint: Hint) {
        self.exchange.publish(topic, &hint);
    }

    fn subscribe(&self, capacity: usize) -> Subscription {
        self.exchange.subscribe(capacity)
    }
}

fn check_sizes(name: &str, value: &[u8]) -> Result<(), Unavailable> {
    if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(Unavailable(format!(
            "a name takes at most {NAME_BYTES_MAX} bytes and a value {VALUE_BYTES_MAX}"
        )));
    }
    Ok(())
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
    use std::sync::Arc;

    use super::Local;
    use crate::Bus;

    fn empty() -> Arc<dyn Bus> {
        Arc::new(Local::new())
    }

    crate::contract::run_contract!(super::empty);
}
