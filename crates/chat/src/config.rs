//! What an operator may change about a chat node.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use skein_ops::config::positive;

/// What a node needs, of the time to stop, for sessions whose clients do not answer.
const END_TIME: Duration = Duration::from_secs(6);

/// A chat node's configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The node's name, unique in the cluster.
    pub name: String,
    /// `host:port` under which clients reach this node; the address it listens on if unset.
    pub advertise: Option<String>,
    /// A certificate chain in PEM that clients trust, issued for `server_name`; goes together with
    /// the other two. Without them the node makes its own, trusted by its fingerprint.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// The name in the certificate.
    pub server_name: Option<String>,
    /// Sessions at most; a further one is closed with `overloaded`.
    #[serde(deserialize_with = "positive")]
    pub sessions_max: usize,
    /// Sessions of one account at most.
    #[serde(deserialize_with = "positive")]
    pub account_sessions_max: usize,
    /// Connections of one address that have not logged in, at most.
    #[serde(deserialize_with = "positive")]
    pub unproven_per_address_max: usize,
    /// After this long without a packet a client is taken for dead, and cleaned up after.
    #[serde(deserialize_with = "positive")]
    pub idle_timeout_seconds: u64,
    /// How long a new connection may take to log in, and a new stream to say what it is for.
    #[serde(deserialize_with = "positive")]
    pub hello_timeout_seconds: u64,
    /// How long a stream may stand still while bytes are due.
    #[serde(deserialize_with = "positive")]
    pub stall_timeout_seconds: u64,
    /// Requests a second that an account may make in the long run.
    #[serde(deserialize_with = "positive")]
    pub requests_per_second: u32,
    /// Requests that an account may make at once.
    #[serde(deserialize_with = "positive")]
    pub requests_burst: u32,
    /// Over how long the node sends its sessions to others when it is stopped, if there are others.
    /// Of the time that the process has for stopping it leaves some to end what remains.
    pub drain_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "chat-1".into(),
            advertise: None,
            tls_cert: None,
            tls_key: None,
            server_name: None,
            sessions_max: 20_000,
            account_sessions_max: 16,
            unproven_per_address_max: 256,
            idle_timeout_seconds: 60,
            hello_timeout_seconds: 10,
            stall_timeout_seconds: 60,
            requests_per_second: 200,
            requests_burst: 1_000,
            drain_seconds: 10,
        }
    }
}

impl Config {
    pub(crate) const fn hello_timeout(&self) -> Duration {
        Duration::from_secs(self.hello_timeout_seconds)
    }

    /// How long the node may take from the soft stop to the end of its sessions, of the time that
    /// the process has: the rest is for what they have begun.
    pub(crate) fn stop_within(&self, deadline: Duration) -> Duration {
        let most = deadline.saturating_sub(END_TIME).max(deadline * 2 / 5);
        Duration::from_secs(self.drain_seconds).min(most)
    }

    pub(crate) const fn stall_timeout(&self) -> Duration {
        Duration::from_secs(self.stall_timeout_seconds)
    }
}
