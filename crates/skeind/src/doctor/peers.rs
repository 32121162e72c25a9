//! The mail server and the other roles: whether they can be reached and let this process in.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use skein_core::time::Clock;
use skein_rpc::{access::Role, credentials::Credentials, health::Probe};
use skein_verify::mail::smtp::Relay;
use tokio::time::timeout;

use super::Finding;
use crate::{Config, sentence};

/// How long the mail server may take.
const MAIL_TIMEOUT: Duration = Duration::from_secs(15);

/// The mail server: greeting, TLS and login as configured. No mail is sent.
pub(super) async fn mail(config: &Config) -> Vec<Finding> {
    let check = "verify.smtp";
    let Some(smtp) = &config.verify.smtp else {
        let found = "no mail server: mails become files in the data folder";
        return vec![Finding::ok(check, found)];
    };
    let mend = "look at verify.smtp, the server and its log";
    let relay = match Relay::new(smtp) {
        Ok(relay) => relay,
        Err(error) => return vec![Finding::fail(check, sentence(&error), mend)],
    };
    vec![match timeout(MAIL_TIMEOUT, relay.check()).await {
        Ok(Ok(())) => {
            let login = if smtp.username.is_some() { " and lets this server log in" } else { "" };
            Finding::ok(check, format!("{}:{} answers{login}", smtp.host, smtp.port()))
        }
        Ok(Err(error)) => Finding::fail(check, sentence(&error), mend),
        Err(_) => {
            let found = format!("no answer within {} s", MAIL_TIMEOUT.as_secs());
            Finding::fail(check, found, mend)
        }
    }]
}

/// Every process of another role that is named.
pub(super) async fn roles(config: &Config, clock: Arc<dyn Clock>) -> Vec<Finding> {
    let Some(rpc) = &config.rpc else { return Vec::new() };
    let credentials = match Credentials::load(rpc, clock) {
        Ok(credentials) => credentials,
        Err(error) => {
            let mend = "skeind certs DIR makes what is needed (see certs/README.md)";
            return vec![Finding::fail("rpc", sentence(&error), mend)];
        }
    };
    let peers =
        [(Role::Verify, &rpc.verify), (Role::Status, &rpc.status), (Role::Resource, &rpc.resource)];
    let each = peers
        .into_iter()
        .flat_map(|(role, addresses)| addresses.iter().map(move |address| (role, address)));
    let asked = each.map(|(role, address)| {
        let credentials = &credentials;
        async move {
            let check = format!("rpc.{role}");
            let mend = "see that it runs, and what it logs about certificates";
            let answer = match Probe::new(role, address, credentials) {
                Ok(probe) => probe.check().await.map_err(|refusal| refusal.message),
                Err(error) => Err(sentence(&error)),
            };
            match answer {
                Ok(()) => Finding::ok(check, format!("{address} is well")),
                Err(error) => Finding::fail(check, format!("{address}: {error}"), mend),
            }
        }
    });
    join_all(asked).await
}
