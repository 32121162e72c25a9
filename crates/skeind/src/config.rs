//! The whole server's configuration: a part for each role, and what they share.

mod blobs;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use skein_gate::Registration;
use skein_ops::{observe, telemetry};
use skein_store::postgres;

pub use self::blobs::Bucket;
use crate::{Role, folder::DataFolder};

/// What the server can be told. The defaults are the embedded form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder for everything that the server keeps.
    pub data: PathBuf,
    /// Where the gate listens for HTTP.
    pub http: SocketAddr,
    /// Where the chat role listens for QUIC.
    pub quic: SocketAddr,
    /// Logs.
    pub log: telemetry::Config,
    /// How the server ends.
    pub shutdown: Shutdown,
    /// How long a process waits at its start for the parts and the peers that it needs. Those of a
    /// cluster start in any order.
    pub start_patience_seconds: u64,
    /// The listener for operators.
    pub observe: observe::Config,
    /// The database; a file in the data folder if unset.
    pub store: Option<postgres::Config>,
    /// The bus; inside the process if unset.
    pub bus: Option<skein_bus::redis::Config>,
    /// The object store; a folder in the data folder if unset.
    pub blobs: Option<Bucket>,
    /// Calls between roles that are processes of their own.
    pub rpc: Option<skein_rpc::config::Config>,
    /// The gate role.
    pub gate: skein_gate::GateConfig,
    /// The verify role.
    pub verify: skein_verify::Config,
    /// The chat role.
    pub chat: skein_chat::config::Config,
    /// The resource role.
    pub resource: skein_resource::Config,
}

/// How the server ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long what is under way may take after the first signal.
    pub deadline_seconds: u64,
}

/// What flags can say; only what is set counts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Flags {
    /// See [`Config::data`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// See [`Config::http`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// See [`Config::quic`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quic: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "data".into(),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            quic: SocketAddr::from(([127, 0, 0, 1], 4433)),
            log: telemetry::Config::default(),
            shutdown: Shutdown::default(),
            start_patience_seconds: 60,
            observe: observe::Config::default(),
            store: None,
            bus: None,
            blobs: None,
            rpc: None,
            gate: skein_gate::GateConfig::default(),
            verify: skein_verify::Config::default(),
            chat: skein_chat::config::Config::default(),
            resource: skein_resource::Config::default(),
        }
    }
}

impl Config {
    /// How long a process waits at its start for what it needs.
    #[must_use]
    pub const fn start_patience(&self) -> Duration {
        Duration::from_secs(self.start_patience_seconds)
    }

    /// Decides what was left open: without a mail server nobody would get a code.
    pub(crate) fn settle(&mut self, role: Role) {
        let mailed = self.verify.smtp.is_some() || role != Role::All;
        let by_default = if mailed { Registration::Code } else { Registration::Open };
        self.gate.registration.get_or_insert(by_default);
    }

    /// Where files are kept.
    pub(crate) fn blobs(&self, folder: &DataFolder) -> skein_resource::Blobs {
        match &self.blobs {
            None => skein_resource::Blobs::Folder(folder.blobs()),
            Some(bucket) => {
                skein_resource::Blobs::S3 { config: bucket.config(), staging: folder.staging() }
            }
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { deadline_seconds: 10 }
    }
}

impl Shutdown {
    /// How long what is under way may take after the first signal.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_zero(key: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(&format!("{key} = 0"))
    }

    #[test]
    fn a_zero_that_would_serve_nobody_is_refused() {
        let chat = toml::Table::try_from(Config::default().chat).expect("a table");
        // A drain over no time lets all sessions go at once.
        // And a node that wants every address proved is busier, but serves.
        let may_be_zero = ["drain_seconds", "unvalidated_max"];
        let chat = chat
            .iter()
            .filter(|(key, value)| value.is_integer() && !may_be_zero.contains(&key.as_str()));
        let chat: Vec<_> = chat.map(|(key, _)| format!("chat.{key}")).collect();
        assert!(chat.contains(&"chat.idle_timeout_seconds".to_owned()), "{chat:?}");
        let others = [
            "gate.token_lifetime_days",
            "gate.limits.connections_per_network",
            "gate.limits.logins_per_name_per_5_minutes",
            "resource.blob_grace_seconds",
            "resource.upload_expiry_seconds",
            "resource.sweep_interval_seconds",
        ];
        for key in chat.iter().map(String::as_str).chain(others) {
            let error = with_zero(key).expect_err(key).to_string();
            assert!(error.contains("expected a number above zero"), "{error}");
        }
    }

    #[test]
    fn a_zero_that_means_none_is_taken() {
        for key in [
            "resource.file_bytes_max",
            "shutdown.deadline_seconds",
            "start_patience_seconds",
            "chat.drain_seconds",
            "chat.unvalidated_max",
        ] {
            with_zero(key).expect(key);
        }
    }

    #[test]
    fn the_file_of_the_compose_cluster_has_what_every_role_needs() {
        let config: Config =
            toml::from_str(include_str!("../../../deploy/skein.toml")).expect("a configuration");
        for role in [Role::Gate, Role::Verify, Role::Status, Role::Chat, Role::Resource] {
            role.check(&config).expect("complete");
        }
    }
}
