//! Presence: which accounts have a session somewhere, as far as one knows.
//!
//! A node enters its accounts and enters them again before their time is over; a node that dies
//! stops doing so. The term is the node's [stay in the
//! directory](skein_core::port::directory::Term): once a later one of the same node was seen, an
//! earlier one changes nothing any more.

use std::time::Duration;

use async_trait::async_trait;
use skein_core::{id::AccountId, port::directory::Term};

use crate::Unavailable;

/// How long a term is remembered after the stay that it belongs to has ended. A node that was away
/// for longer than this has long found out that it lost its place.
pub const TERM_MEMORY: Duration = Duration::from_secs(60 * 60);

/// Keeps presence.
#[async_trait]
pub trait Presence: Send + Sync {
    /// The accounts have a session at the node for this long. False if a later term of the node was
    /// seen for one of them: then nothing of that account was changed.
    async fn enter(
        &self,
        accounts: &[AccountId],
        node: &str,
        term: Term,
        lifetime: Duration,
    ) -> Result<bool, Unavailable>;

    /// The account has no session at the node any more. Ignored if a later term was seen.
    async fn leave(&self, account: AccountId, node: &str, term: Term) -> Result<(), Unavailable>;

    /// Whether each of these accounts has a session at any node, in the same order.
    async fn present(&self, accounts: &[AccountId]) -> Result<Vec<bool>, Unavailable>;
}
