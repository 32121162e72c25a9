//! What an operator may change about a chat node.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use skein_net::{
    admission::AdmissionLimits,
    connection_id::{self, Form},
    listen::ListenConfig,
    migration::MigrationLimits,
    secret::Secret,
};
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
    /// A file with 32 random bytes or more. Chat nodes that have the same take one another's
    /// proofs of address; the node makes a secret of its own if unset.
    pub secret_file: Option<PathBuf>,
    /// What connection ids tell a load balancer; nothing if unset.
    pub routing: Option<Routing>,
    /// Sessions at most; a further one is closed with `overloaded`.
    #[serde(deserialize_with = "positive")]
    pub sessions_max: usize,
    /// Sessions of one account at most.
    #[serde(deserialize_with = "positive")]
    pub account_sessions_max: usize,
    /// Connections that have not logged in, at most.
    #[serde(deserialize_with = "positive")]
    pub unproven_max: usize,
    /// Connections of one address (IPv6: of one /64) that have not logged in, at most.
    #[serde(deserialize_with = "positive")]
    pub unproven_per_address_max: usize,
    /// Connections that have not logged in from which on a client must prove its address before
    /// the handshake; with 0 each must.
    pub unvalidated_max: usize,
    /// Handshakes a second from which on it must too.
    #[serde(deserialize_with = "positive")]
    pub unvalidated_per_second: u32,
    /// Handshakes a second that one address gets in the long run.
    #[serde(deserialize_with = "positive")]
    pub handshakes_per_address_per_second: u32,
    /// Handshakes that one address gets at once.
    #[serde(deserialize_with = "positive")]
    pub handshakes_per_address_burst: u32,
    /// How long a handshake may take.
    #[serde(deserialize_with = "positive")]
    pub handshake_timeout_seconds: u64,
    /// Changes of address a second that a connection may make in the long run.
    #[serde(deserialize_with = "positive")]
    pub migrations_per_second: u32,
    /// Changes of address that a connection may make at once.
    #[serde(deserialize_with = "positive")]
    pub migrations_burst: u32,
    /// Whether to take sessions over WebSocket, too, on TCP: for clients whose network drops UDP.
    pub websocket: bool,
    /// After this long without a packet a client is taken for dead, and cleaned up after. Until then
    /// its connection outlives whatever keeps it from being heard, so it is more than a minute. More
    /// than two would be longer than refused appends are remembered (`order`).
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

/// How a load balancer finds a node by the connection id (QUIC-LB).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// The node's number, unique among the nodes behind the load balancer.
    pub node: u16,
    /// Who can read it.
    #[serde(default)]
    pub form: RoutingForm,
    /// The number of the load balancer's configuration, 0 to 6.
    #[serde(default)]
    pub rotation: u8,
}

/// Who can read a node's number in a connection id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoutingForm {
    /// Only who has the key.
    #[default]
    Encrypted,
    /// Everybody.
    Plain,
}

impl From<Routing> for connection_id::Routing {
    fn from(Routing { node, form, rotation }: Routing) -> Self {
        let form = match form {
            RoutingForm::Encrypted => Form::Encrypted,
            RoutingForm::Plain => Form::Plain,
        };
        Self { node, form, rotation }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "chat-1".into(),
            advertise: None,
            tls_cert: None,
            tls_key: None,
            server_name: None,
            secret_file: None,
            routing: None,
            sessions_max: 20_000,
            account_sessions_max: 16,
            unproven_max: 2048,
            unproven_per_address_max: 256,
            unvalidated_max: 256,
            unvalidated_per_second: 300,
            handshakes_per_address_per_second: 200,
            handshakes_per_address_burst: 5_000,
            handshake_timeout_seconds: 10,
            migrations_per_second: 1,
            migrations_burst: 130,
            websocket: true,
            idle_timeout_seconds: 120,
            hello_timeout_seconds: 10,
            stall_timeout_seconds: 120,
            requests_per_second: 200,
            requests_burst: 1_000,
            drain_seconds: 10,
        }
    }
}

impl Config {
    /// How the node listens.
    pub(crate) fn listen(&self, secret: Secret) -> ListenConfig {
        ListenConfig {
            idle_timeout: Duration::from_secs(self.idle_timeout_seconds),
            handshake_timeout: Duration::from_secs(self.handshake_timeout_seconds),
            admission: AdmissionLimits {
                unproven_max: self.unproven_max,
                unvalidated_max: self.unvalidated_max,
                unvalidated_per_second: self.unvalidated_per_second,
                network_unproven_max: self.unproven_per_address_max,
                network_per_second: self.handshakes_per_address_per_second,
                network_burst: self.handshakes_per_address_burst,
            },
            migration: MigrationLimits {
                per_second: self.migrations_per_second,
                burst: self.migrations_burst,
            },
            secret,
            node: self.name.clone(),
            routing: self.routing.map(Into::into),
            websocket: self.websocket,
            // Nobody reads any before there are calls.
            datagrams: false,
        }
    }

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
