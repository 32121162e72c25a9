//! How the gate is configured.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use skein_core::account::SessionPolicy;
use skein_ops::config::positive;

/// The `gate` part of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// Who may register. Whoever wires the services together decides if this does not: open on the
    /// embedded parts, by code once there is a mail server. Undecided, it takes a code.
    pub registration: Option<Registration>,
    /// How many devices of an account may hold a session at a time.
    pub session_policy: Sessions,
    /// Days after a login when its token expires.
    #[serde(deserialize_with = "positive")]
    pub token_lifetime_days: u32,
    /// Whether passwords and tokens may cross a network in the clear: for a gate behind a proxy
    /// that speaks TLS. On a loopback address it is allowed without.
    pub allow_plain_http: bool,
    /// The certificate chain for TLS, in PEM; goes together with the key.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// How often things may be tried.
    pub limits: Limits,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            registration: None,
            session_policy: Sessions::Many,
            token_lifetime_days: 30,
            allow_plain_http: false,
            tls_cert: None,
            tls_key: None,
            limits: Limits::default(),
        }
    }
}

impl GateConfig {
    /// How long a token is good for.
    #[must_use]
    pub fn token_lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.token_lifetime_days) * 24 * 60 * 60)
    }

    /// Who may register.
    #[must_use]
    pub fn registration(&self) -> Registration {
        self.registration.unwrap_or(Registration::Code)
    }
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Anyone, with any address.
    Open,
    /// Whoever has a code that was mailed to the address.
    Code,
}

/// How many devices of an account may hold a session at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sessions {
    /// Every device stays, and all receive.
    Many,
    /// A login on another device ends the sessions of the first.
    Exclusive,
}

impl From<Sessions> for SessionPolicy {
    fn from(sessions: Sessions) -> Self {
        match sessions {
            Sessions::Many => Self::Many,
            Sessions::Exclusive => Self::Exclusive,
        }
    }
}

/// How often things may be tried. A network is an IPv4 address or an IPv6 /64; behind a proxy all
/// requests come from the proxy's, so raise the limits by network there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections from one network at a time. The gate takes 512 in all.
    #[serde(deserialize_with = "positive")]
    pub connections_per_network: usize,
    /// Logins for one account name from one network in five minutes, right or wrong.
    #[serde(deserialize_with = "positive")]
    pub logins_per_name_and_network_per_5_minutes: u32,
    /// Logins for one account name from all networks in five minutes, right or wrong. It bounds
    /// guessing with many addresses, but whoever has that many can also lock the owner out.
    #[serde(deserialize_with = "positive")]
    pub logins_per_name_per_5_minutes: u32,
    /// Logins from one network in five minutes, right or wrong.
    #[serde(deserialize_with = "positive")]
    pub logins_per_network_per_5_minutes: u32,
    /// Registrations from one network in an hour, right or wrong.
    pub registrations_per_network_per_hour: u32,
    /// New passwords tried from one network in an hour, right or wrong.
    pub resets_per_network_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_network: 64,
            logins_per_name_and_network_per_5_minutes: 20,
            logins_per_name_per_5_minutes: 500,
            logins_per_network_per_5_minutes: 300,
            registrations_per_network_per_hour: 60,
            resets_per_network_per_hour: 60,
        }
    }
}
