//! Presence in memory. A stay is remembered for a while after it ended, so that an earlier term of
//! the same node is still known to be one.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use skein_core::{id::AccountId, port::directory::Term};
use tokio::time::Instant;

use super::{Local, expiring::Expiring, now};
use crate::{
    Unavailable,
    presence::{Presence, TERM_MEMORY},
    size::{self, LIFETIME_MAX},
};

/// Stays of accounts at nodes that are kept at a time. Beyond that the one that would be forgotten
/// first makes room: somebody looks absent who is present.
const STAYS_MAX: usize = 500_000;

/// Who is present, as a [`Local`] bus knows it.
pub(super) struct PresenceTable(Mutex<Expiring<Stay>>);

/// An account at a node, kept under `account/node`.
#[derive(Clone, Copy)]
struct Stay {
    term: Term,
    /// `None` once the account has left.
    until: Option<Instant>,
}

impl PresenceTable {
    /// A table in which nobody is present.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Expiring::that_makes_room(STAYS_MAX)))
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Expiring<Stay>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Presence for Local {
    async fn enter(
        &self,
        accounts: &[AccountId],
        node: &str,
        term: Term,
        lifetime: Duration,
    ) -> Result<bool, Unavailable> {
        size::check(node, &[])?;
        let stay = Stay { term, until: Some(now() + lifetime.min(LIFETIME_MAX)) };
        let mut all = true;
        for &account in accounts {
            all &= self.set(account, node, stay, lifetime.saturating_add(TERM_MEMORY))?;
        }
        Ok(all)
    }

    async fn leave(&self, account: AccountId, node: &str, term: Term) -> Result<(), Unavailable> {
        self.set(account, node, Stay { term, until: None }, TERM_MEMORY)?;
        Ok(())
    }

    async fn present(&self, accounts: &[AccountId]) -> Result<Vec<bool>, Unavailable> {
        let now = now();
        Ok(self.presence.locked(|stays| {
            let is_present = |account: &AccountId| {
                let stays = stays.with_prefix(&key(*account, ""), now);
                stays.iter().any(|(_, stay)| stay.until.is_some_and(|until| until > now))
            };
            accounts.iter().map(is_present).collect()
        }))
    }
}

impl Local {
    /// False if a later term of the node was seen.
    fn set(
        &self,
        account: AccountId,
        node: &str,
        stay: Stay,
        memory: Duration,
    ) -> Result<bool, Unavailable> {
        let key = key(account, node);
        self.presence.locked(|stays| {
            let now = now();
            if stays.get(&key, now).is_some_and(|(seen, _)| seen.term > stay.term) {
                return Ok(false);
            }
            stays.insert(&key, stay, memory, now)?;
            Ok(true)
        })
    }
}

fn key(account: AccountId, node: &str) -> String {
    format!("{account}/{node}")
}
