//! What every handler works with.

use std::{future::Future, sync::Arc};

use skein_bus::{
    hint::{EndReason, Hint, Hints, Topic},
    key::Keys,
};
use skein_core::{
    id::AccountId,
    port::{directory::Directory, verifier::Verifier},
    refusal::Refusal,
    time::Clock,
};
use skein_ops::health::Health;
use skein_store::{account::Accounts, instance::Instance, token::Tokens};

use crate::{config::GateConfig, limits::Tries, password::Hasher};

/// What the gate works with.
#[derive(Clone)]
pub struct Parts {
    /// Tells this server from others.
    pub instance: Arc<dyn Instance>,
    /// Keeps accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Keeps tokens.
    pub tokens: Arc<dyn Tokens>,
    /// Mails and checks codes.
    pub verifier: Arc<dyn Verifier>,
    /// Gives logins their chat node.
    pub directory: Arc<dyn Directory>,
    /// Tells the chat nodes whose sessions end.
    pub hints: Arc<dyn Hints>,
    /// Counts attempts.
    pub keys: Arc<dyn Keys>,
    /// Says when tokens expire.
    pub clock: Arc<dyn Clock>,
    /// Says whether the process can do its work.
    pub health: Health,
}

/// The state of the router.
pub(crate) struct Gate {
    pub(crate) config: GateConfig,
    pub(crate) instance: Arc<dyn Instance>,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) hints: Arc<dyn Hints>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Health,
    pub(crate) tries: Tries,
    pub(crate) hasher: Hasher,
}

impl Gate {
    pub(crate) fn new(config: GateConfig, parts: Parts) -> Self {
        Self {
            tries: Tries::new(config.limits, parts.keys),
            hasher: Hasher::new(),
            config,
            instance: parts.instance,
            accounts: parts.accounts,
            tokens: parts.tokens,
            verifier: parts.verifier,
            directory: parts.directory,
            hints: parts.hints,
            clock: parts.clock,
            health: parts.health,
        }
    }

    /// Tells the chat nodes that sessions have lost their tokens.
    pub(crate) async fn end_sessions(&self, account: AccountId, reason: EndReason) {
        let hint = Hint::SessionsEnded { account, reason };
        self.hints.publish(Topic::Account(account), hint).await;
    }
}

/// Runs a change together with what has to follow it, to their end: a handler's own future is
/// dropped when its client goes away, which must not keep revoked sessions alive.
pub(crate) async fn see_through<T, E>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Refusal> + Send + 'static,
{
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(error.cause = %error, "a change did not run to its end");
            Err(Refusal::internal().into())
        }
    }
}
