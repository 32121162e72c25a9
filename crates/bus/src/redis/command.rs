//! Commands with a deadline, on a connection that may be away.

use std::{sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, FromValue, InfoKind, Value},
};
use tokio::time::{Instant, timeout};

use super::{
    ConnectError,
    address::{COMMAND_MAX, Recipe},
    link::{Link, Purpose},
    script::Script,
    words::words,
};
use crate::{Unavailable, metric};

/// The oldest major version that has sharded channels.
const VERSION_MIN: u64 = 7;

/// Runs commands.
pub(super) struct Commands {
    link: Link,
    prefix: Arc<str>,
}

impl Commands {
    pub(super) async fn connect(
        recipe: Arc<Recipe>,
        prefix: Arc<str>,
    ) -> Result<Self, ConnectError> {
        let commands = Self { link: Link::connect(recipe, Purpose::Commands).await?, prefix };
        let version = commands.server_version().await;
        let version = version.map_err(|error| ConnectError::Unreachable(error.0))?;
        let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
        if major.is_some_and(|major| major >= VERSION_MIN) {
            return Ok(commands);
        }
        Err(ConnectError::TooOld(version))
    }

    /// A key of this bus.
    pub(super) fn key(&self, rest: std::fmt::Arguments<'_>) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Does the work with the connection, within the time that a command may take.
    pub(super) async fn run<T>(
        &self,
        name: &'static str,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        let started = Instant::now();
        let result = match self.link.client() {
            None => Err("there is no connection to Redis".to_owned()),
            Some(client) => match timeout(COMMAND_MAX, work(&client)).await {
                Ok(result) => result.map_err(|error| words(&error)),
                Err(_) => Err("Redis does not answer in time".to_owned()),
            },
        };
        metric::commanded(name, started.elapsed(), result.is_ok());
        result.map_err(Unavailable)
    }

    /// Runs a script.
    pub(super) async fn script<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, Unavailable> {
        self.run(script.name, async |client| script.run(client, keys, arguments).await).await
    }

    pub(super) async fn ping(&self) -> Result<Duration, Unavailable> {
        let started = Instant::now();
        self.run("ping", async |client| client.ping::<()>(None).await).await?;
        Ok(started.elapsed())
    }

    pub(super) async fn server_version(&self) -> Result<String, Unavailable> {
        let info: String =
            self.run("info", async |client| client.info(Some(InfoKind::Server)).await).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        version
            .map(|version| version.trim().to_owned())
            .ok_or_else(|| Unavailable("Redis does not say which version it is of".into()))
    }

    /// Milliseconds since 1970 by the server's clock.
    pub(super) async fn time_ms(&self) -> Result<i64, Unavailable> {
        let command = CustomCommand::new_static("TIME", ClusterHash::Random, false);
        let time = async |client: &Client| client.custom(command, Vec::<Value>::new()).await;
        let (seconds, microseconds): (i64, i64) = self.run("time", time).await?;
        Ok(seconds.saturating_mul(1_000).saturating_add(microseconds / 1_000))
    }
}

/// Milliseconds of a lifetime, as Redis takes it: at least one.
pub(super) fn millis(lifetime: Duration) -> i64 {
    let millis = lifetime.min(crate::size::LIFETIME_MAX).as_millis().max(1);
    i64::try_from(millis).unwrap_or(i64::MAX)
}
