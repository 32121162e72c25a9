//! Presence on Redis: the stays of an account are fields of one hash, which goes when it was not
//! renewed. Accounts are spread over the servers of a cluster, so each is asked for by itself, many
//! at a time.

use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;
use futures::future::try_join_all;
use skein_core::{id::AccountId, port::directory::Term};

use super::{
    Redis,
    command::millis,
    script::{PRESENT, STAY, Script},
};
use crate::{
    Unavailable,
    presence::{Presence, TERM_MEMORY},
    size,
};

/// Accounts that are asked for at a time. Each batch has the time that a command may take.
const BATCH_ACCOUNTS: usize = 256;

impl Redis {
    /// Runs a script for each account.
    async fn each(
        &self,
        script: &Script,
        accounts: &[AccountId],
        arguments: &[Value],
    ) -> Result<Vec<bool>, Unavailable> {
        let mut answers = Vec::with_capacity(accounts.len());
        for batch in accounts.chunks(BATCH_ACCOUNTS) {
            let batch = async |client: &fred::clients::Client| {
                try_join_all(batch.iter().map(|account| {
                    let key = self.commands.key(format_args!("present/{account}"));
                    script.run::<bool>(client, vec![key], arguments.to_vec())
                }))
                .await
            };
            answers.extend(self.commands.run(script.name, batch).await?);
        }
        Ok(answers)
    }
}

#[async_trait]
impl Presence for Redis {
    async fn enter(
        &self,
        accounts: &[AccountId],
        node: &str,
        term: Term,
        lifetime: Duration,
    ) -> Result<bool, Unavailable> {
        size::check(node, &[])?;
        let arguments = stay(node, term, millis(lifetime));
        let entered = self.each(&STAY, accounts, &arguments).await?;
        Ok(entered.into_iter().all(|entered| entered))
    }

    async fn leave(&self, account: AccountId, node: &str, term: Term) -> Result<(), Unavailable> {
        size::check(node, &[])?;
        self.each(&STAY, &[account], &stay(node, term, 0)).await?;
        Ok(())
    }

    async fn present(&self, accounts: &[AccountId]) -> Result<Vec<bool>, Unavailable> {
        self.each(&PRESENT, accounts, &[]).await
    }
}

fn stay(node: &str, term: Term, for_ms: i64) -> Vec<Value> {
    // As many digits as the largest term has.
    let term = format!("{:020}", term.0);
    vec![node.into(), term.into(), for_ms.into(), millis(TERM_MEMORY).into()]
}
