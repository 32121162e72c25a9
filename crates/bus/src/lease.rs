//! Leases: who holds a name for now. The epoch grows with each owner, so that the late write of a
//! former one can be told apart.

use std::time::Duration;

use async_trait::async_trait;

use crate::Unavailable;

/// Grows each time a name gets a new owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A name that is held now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The name.
    pub name: String,
    /// What its owner says.
    pub value: Vec<u8>,
}

/// Keeps leases.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the name, unless someone holds it.
    async fn acquire(
        &self,
        name: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<Option<Epoch>, Unavailable>;

    /// Holds the name for longer with a new value. False if the lease was lost.
    async fn renew(
        &self,
        name: &str,
        epoch: Epoch,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, Unavailable>;

    /// Gives the name up. False if the lease was lost before.
    async fn release(&self, name: &str, epoch: Epoch) -> Result<bool, Unavailable>;

    /// The names that begin with `prefix` and are held now, by name. Names are kept in groups by
    /// what comes up to and including their first `/`, and a prefix looks into one group only: one
    /// without a `/` finds names without a `/`.
    async fn held(&self, prefix: &str) -> Result<Vec<Held>, Unavailable>;
}

/// The group that a name or a prefix belongs to.
pub(crate) fn group(name: &str) -> &str {
    name.find('/').map_or("", |slash| &name[..=slash])
}
