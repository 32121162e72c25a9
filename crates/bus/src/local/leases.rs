//! Leases in memory. One counter gives the epochs of all names: it grows for each of them, and
//! nothing has to be remembered about a name that nobody holds.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{Local, expiring::Expiring, now};
use crate::{
    Unavailable,
    lease::{Epoch, Held, Leases, group},
    size,
};

/// The leases of a [`Local`] bus.
pub(super) struct LeaseTable(Mutex<State>);

struct State {
    held: Expiring<Lease>,
    last_epoch: Epoch,
}

struct Lease {
    epoch: Epoch,
    value: Vec<u8>,
}

impl LeaseTable {
    /// A table for at most `max` leases.
    pub(super) fn new(max: usize) -> Self {
        Self(Mutex::new(State { held: Expiring::new(max), last_epoch: Epoch(0) }))
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Leases for Local {
    async fn acquire(
        &self,
        name: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<Option<Epoch>, Unavailable> {
        size::check(name, value)?;
        self.leases.locked(|state| {
            let now = now();
            if state.held.get(name, now).is_some() {
                return Ok(None);
            }
            let epoch = Epoch(state.last_epoch.0 + 1);
            state.held.insert(name, Lease { epoch, value: value.to_vec() }, lifetime, now)?;
            state.last_epoch = epoch;
            Ok(Some(epoch))
        })
    }

    async fn renew(
        &self,
        name: &str,
        epoch: Epoch,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, Unavailable> {
        size::check(name, value)?;
        self.leases.locked(|state| {
            let now = now();
            if !state.is_held(name, epoch) {
                return Ok(false);
            }
            state.held.insert(name, Lease { epoch, value: value.to_vec() }, lifetime, now)?;
            Ok(true)
        })
    }

    async fn release(&self, name: &str, epoch: Epoch) -> Result<bool, Unavailable> {
        Ok(self
            .leases
            .locked(|state| state.is_held(name, epoch) && state.held.remove(name, now()).is_some()))
    }

    async fn held(&self, prefix: &str) -> Result<Vec<Held>, Unavailable> {
        Ok(self.leases.locked(|state| {
            let held = state.held.with_prefix(prefix, now());
            held.into_iter()
                .filter(|(name, _)| group(name) == group(prefix))
                .map(|(name, lease)| Held { name: name.into(), value: lease.value.clone() })
                .collect()
        }))
    }
}

impl State {
    fn is_held(&self, name: &str, epoch: Epoch) -> bool {
        self.held.get(name, now()).is_some_and(|(lease, _)| lease.epoch == epoch)
    }
}
