//! How often things may be tried: counters on the bus, so that they hold across gates.

use std::{net::IpAddr, sync::Arc, time::Duration};

use skein_bus::{key::Keys, rate::RateLimit};
use skein_core::{
    name::Username,
    refusal::{Code, Refusal},
    subject::Subject,
};

use crate::config::Limits;

const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// When to try again while the counters cannot be reached.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Counts tries and says when there were too many.
pub(crate) struct Tries {
    keys: Arc<dyn Keys>,
    logins_by_name: RateLimit,
    logins_by_network: RateLimit,
    registrations: RateLimit,
    resets: RateLimit,
}

impl Tries {
    pub(crate) fn new(limits: Limits, keys: Arc<dyn Keys>) -> Self {
        let limit = |name, count: u32, window| RateLimit { name, count: count.into(), window };
        Self {
            keys,
            logins_by_name: limit(
                "logins-by-name",
                limits.logins_per_name_per_5_minutes,
                FIVE_MINUTES,
            ),
            logins_by_network: limit(
                "logins-by-network",
                limits.logins_per_network_per_5_minutes,
                FIVE_MINUTES,
            ),
            registrations: limit("registrations", limits.registrations_per_network_per_hour, HOUR),
            resets: limit("resets", limits.resets_per_network_per_hour, HOUR),
        }
    }

    /// Counts a login.
    pub(crate) async fn login(&self, name: &Username, from: IpAddr) -> Result<(), Refusal> {
        // The network first: one that is over its limit must not lock the name's owner out.
        self.count(&self.logins_by_network, &Subject::network(from)).await?;
        self.count(&self.logins_by_name, &Subject::name(name)).await
    }

    /// Counts a registration.
    pub(crate) async fn registration(&self, from: IpAddr) -> Result<(), Refusal> {
        self.count(&self.registrations, &Subject::network(from)).await
    }

    /// Counts an attempt at a new password.
    pub(crate) async fn reset(&self, from: IpAddr) -> Result<(), Refusal> {
        self.count(&self.resets, &Subject::network(from)).await
    }

    async fn count(&self, limit: &RateLimit, subject: &Subject) -> Result<(), Refusal> {
        match limit.exceeded(&*self.keys, subject.as_str()).await {
            Ok(None) => Ok(()),
            Ok(Some(wait)) => Err(Refusal::limited("too many attempts; try again later", wait)),
            Err(error) => {
                tracing::error!(error.cause = %error, "attempts cannot be counted");
                let message = "the server is not complete at the moment; try again shortly";
                Err(Refusal {
                    retry_after: Some(RETRY_AFTER),
                    ..Refusal::new(Code::Unavailable, message)
                })
            }
        }
    }
}
