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
    logins_by_name_and_network: RateLimit,
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
            logins_by_name_and_network: limit(
                "logins-by-name-and-network",
                limits.logins_per_name_and_network_per_5_minutes,
                FIVE_MINUTES,
            ),
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
        // What one network may do comes first: over its limit, it must not lock the owner out.
        let (network, name) = (Subject::network(from), Subject::name(name));
        self.count(&self.logins_by_network, network.as_str()).await?;
        self.count(&self.logins_by_name_and_network, &format!("{name}/{network}")).await?;
        self.count(&self.logins_by_name, name.as_str()).await
    }

    /// Counts a registration.
    pub(crate) async fn registration(&self, from: IpAddr) -> Result<(), Refusal> {
        self.count(&self.registrations, Subject::network(from).as_str()).await
    }

    /// Counts an attempt at a new password.
    pub(crate) async fn reset(&self, from: IpAddr) -> Result<(), Refusal> {
        self.count(&self.resets, Subject::network(from).as_str()).await
    }

    async fn count(&self, limit: &RateLimit, subject: &str) -> Result<(), Refusal> {
        match limit.exceeded(&*self.keys, subject).await {
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

#[cfg(test)]
mod tests {
    use skein_bus::local::Local;

    use super::*;

    #[tokio::test]
    async fn one_network_does_not_lock_out_the_owner() {
        let limits = Limits::default();
        let tries = Tries::new(limits, Arc::new(Local::new()));
        let name = Username::parse("alice").expect("a name");
        let network = |last| IpAddr::from([192, 0, 2, last]);
        let mut let_through = 0;
        for _ in 0..limits.logins_per_name_per_5_minutes {
            let_through += u32::from(tries.login(&name, network(1)).await.is_ok());
        }
        assert_eq!(let_through, limits.logins_per_name_and_network_per_5_minutes);
        assert_eq!(tries.login(&name, network(2)).await, Ok(()));
    }

    #[tokio::test]
    async fn many_networks_share_a_bound_on_guesses() {
        let limits = Limits { logins_per_name_per_5_minutes: 3, ..Limits::default() };
        let tries = Tries::new(limits, Arc::new(Local::new()));
        let name = Username::parse("alice").expect("a name");
        for last in 1..=3 {
            assert_eq!(tries.login(&name, IpAddr::from([192, 0, 2, last])).await, Ok(()));
        }
        let refused = tries.login(&name, IpAddr::from([192, 0, 2, 4])).await;
        assert_eq!(refused.map_err(|refusal| refusal.code), Err(Code::RateLimited));
    }
}
