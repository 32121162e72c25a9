//! The bus between processes, on Redis 7 or later: one server, or a cluster.
//!
//! Start at [`Redis::connect`]. Three connections are kept, each by a `redis::link` that makes it
//! anew when it is lost: one for commands, one to publish and one to subscribe, so that none waits
//! behind another. While a connection is away, commands fail at once and are repeated by nobody:
//! callers are told [`Unavailable`](crate::Unavailable) and know best.
//!
//! Nothing here outlives the Redis that it is in. A Redis that comes back empty has lost codes,
//! rate limits, leases and presence: codes are asked for again, leases are taken again with higher
//! epochs, and presence is entered again. In a Redis cluster a failover may lose the newest writes,
//! so that a lease may have two holders for a moment; their epochs tell them apart.

mod address;
mod command;
mod feed;
mod keys;
mod leases;
mod link;
pub mod payload;
mod presence;
mod probe;
mod publisher;
mod script;
#[cfg(test)]
mod tests;
mod topic;
mod words;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

pub use self::probe::Memory;
use self::{address::Recipe, command::Commands, feed::Feed, publisher::Publisher};

/// Bytes of a prefix at most: it is a part of every key and channel.
const PREFIX_BYTES_MAX: usize = 64;

/// Where Redis is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `redis://[user:password@]host[:port][/database]` for one server,
    /// `redis-cluster://[user:password@]host:port[?node=host:port&node=…]` for a cluster, with
    /// `rediss` in place of `redis` for TLS. It is not printed: it may hold a password.
    #[serde(serialize_with = "hidden")]
    pub url: String,
    /// What all keys and channels begin with, so that others may use the same server.
    pub prefix: String,
    /// A file of certificates in PEM that are trusted in place of the system's, for `rediss`.
    pub tls_ca: Option<PathBuf>,
    /// Whether a server that is not on this machine may be talked to without TLS. Passwords and
    /// codes then cross the network in the clear.
    pub allow_plain: bool,
}

/// The bus cannot be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The configuration is wrong.
    #[error("the bus: {0}")]
    Config(String),
    /// The server cannot be reached or does not let us in.
    #[error("cannot reach Redis: {0}")]
    Unreachable(String),
    /// The server is too old.
    #[error("Redis is of version {0}, and it takes 7.0 or later: upgrade it")]
    TooOld(String),
}

/// A bus for the processes that share a Redis and a prefix.
pub struct Redis {
    commands: Commands,
    publisher: Publisher,
    feed: Arc<Feed>,
}

impl Redis {
    /// Connects. From then on lost connections are made anew for as long as the value lives.
    ///
    /// # Errors
    /// If the configuration is wrong, or the server is away or too old.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        check_prefix(&config.prefix)?;
        let recipe = Arc::new(Recipe::new(config)?);
        let prefix: Arc<str> = config.prefix.as_str().into();
        let commands = Commands::connect(Arc::clone(&recipe), Arc::clone(&prefix)).await?;
        let publisher = Publisher::connect(Arc::clone(&recipe), Arc::clone(&prefix)).await?;
        let feed = Feed::connect(recipe, prefix).await?;
        Ok(Self { commands, publisher, feed: Arc::new(feed) })
    }

    /// How long the server takes to answer.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<Duration, crate::Unavailable> {
        self.commands.ping().await
    }

    /// The server's version, such as `7.0.15`.
    ///
    /// # Errors
    /// If it is away.
    pub async fn server_version(&self) -> Result<String, crate::Unavailable> {
        self.commands.server_version().await
    }

    /// By how many milliseconds the server's clock is ahead of `now`; negative if it is behind. The
    /// answer takes a moment, so a few milliseconds mean nothing.
    ///
    /// # Errors
    /// If it is away.
    pub async fn clock_offset(
        &self,
        now: skein_core::time::Timestamp,
    ) -> Result<i64, crate::Unavailable> {
        let there = self.commands.time_ms().await?;
        Ok(there.saturating_sub(i64::try_from(now.0).unwrap_or(i64::MAX)))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".into(),
            prefix: "skein:".into(),
            tls_ca: None,
            allow_plain: false,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &address::without_secrets(&self.url))
            .field("prefix", &self.prefix)
            .field("tls_ca", &self.tls_ca)
            .field("allow_plain", &self.allow_plain)
            .finish()
    }
}

fn hidden<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&address::without_secrets(url))
}

/// A brace would decide where in a cluster a key goes.
fn check_prefix(prefix: &str) -> Result<(), ConnectError> {
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}');
    if prefix.len() <= PREFIX_BYTES_MAX && prefix.chars().all(good) {
        return Ok(());
    }
    let expected = format!("at most {PREFIX_BYTES_MAX} printable ASCII characters without braces");
    Err(ConnectError::Config(format!("`prefix` takes {expected}")))
}
