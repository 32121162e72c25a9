//! What an operator wants to know of Redis before something fails: whether this user may do what the
//! bus does, and whether Redis throws keys away.

use std::time::Duration;

use fred::{
    clients::Client,
    interfaces::{ClientLike, PubsubInterface},
    types::InfoKind,
};

use super::{Redis, command::millis, script::INCREMENT};
use crate::Unavailable;

/// How long a key that was made to try it stays.
const PROBE_LIFETIME: Duration = Duration::from_secs(1);

/// What Redis does when its memory is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that it may take; 0 for all that there are.
    pub bytes_max: u64,
    /// `maxmemory-policy`, such as `noeviction`.
    pub policy: String,
}

impl Memory {
    /// Whether it throws away keys that nobody deleted.
    #[must_use]
    pub fn evicts(&self) -> bool {
        self.bytes_max > 0 && self.policy != "noeviction"
    }

    fn of_info(info: &str) -> Option<Self> {
        let value = |key: &str| {
            info.lines().find_map(|line| line.trim_end().strip_prefix(key)?.strip_prefix(':'))
        };
        let bytes_max = value("maxmemory")?.parse().ok()?;
        Some(Self { bytes_max, policy: value("maxmemory_policy")?.to_owned() })
    }
}

impl Redis {
    /// Runs a script on a key that goes by itself.
    ///
    /// # Errors
    /// If Redis is away, or does not allow it.
    pub async fn try_script(&self) -> Result<(), Unavailable> {
        let key = self.commands.key(format_args!("probe/{:016x}", rand::random::<u64>()));
        let lifetime = vec![millis(PROBE_LIFETIME).into()];
        self.commands.script::<(u64, u64)>(&INCREMENT, vec![key], lifetime).await.map(drop)
    }

    /// Publishes on a channel that nobody listens to.
    ///
    /// # Errors
    /// If Redis is away, or does not allow it.
    pub async fn try_publish(&self) -> Result<(), Unavailable> {
        let channel = self.commands.key(format_args!("hint/probe"));
        let publish = async |client: &Client| client.spublish::<(), _, _>(channel, "").await;
        self.commands.run("spublish", publish).await
    }

    /// Subscribes to a channel on which nobody publishes, and leaves it.
    ///
    /// # Errors
    /// If Redis is away, or does not allow it.
    pub async fn try_subscribe(&self) -> Result<(), Unavailable> {
        let channel = self.commands.key(format_args!("hint/probe"));
        let subscribe = async |client: &Client| {
            client.ssubscribe(channel.clone()).await?;
            client.sunsubscribe(channel).await
        };
        self.commands.run("ssubscribe", subscribe).await
    }

    /// What it does when its memory is full.
    ///
    /// # Errors
    /// If Redis is away, or does not say.
    pub async fn memory(&self) -> Result<Memory, Unavailable> {
        let info = async |client: &Client| client.info::<String>(Some(InfoKind::Memory)).await;
        let info = self.commands.run("info", info).await?;
        let unsaid = || Unavailable("Redis does not say what it does when it is full".into());
        Memory::of_info(&info).ok_or_else(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use skein_testkit::redis::Redis as Server;

    use super::*;
    use crate::redis::Config;

    fn config(url: String) -> Config {
        Config { url, prefix: "probe:".to_owned(), ..Config::default() }
    }

    #[tokio::test]
    async fn tells_what_this_user_may_not() {
        let server = Server::start();
        for user in ["all", "-spublish", "-ssubscribe", "-@scripting"] {
            let rights: &[&str] = if user == "all" { &[] } else { &[user] };
            let set = ["ACL", "SETUSER", "doctor", "reset", "on", ">secret", "~*", "&*", "+@all"];
            assert_eq!(server.command(&[&set, rights].concat()), "OK");
            let url = server.url().replace("redis://", "redis://doctor:secret@");
            let redis = Redis::connect(&config(url)).await.unwrap();
            for (tried, right) in [
                (redis.try_script().await, "-@scripting"),
                (redis.try_publish().await, "-spublish"),
                (redis.try_subscribe().await, "-ssubscribe"),
            ] {
                let why = tried.err().map(|error| error.0);
                assert_eq!(why.is_some(), right == user, "{right} with {rights:?}: {why:?}");
                assert!(why.is_none_or(|why| why.contains("no permissions")));
            }
        }
    }

    #[tokio::test]
    async fn tells_whether_keys_are_thrown_away() {
        let server = Server::start();
        let redis = Redis::connect(&config(server.url())).await.unwrap();
        let memory = redis.memory().await.unwrap();
        assert_eq!(memory, Memory { bytes_max: 0, policy: "noeviction".to_owned() });
        for (bytes, policy, evicts) in [
            ("0", "allkeys-lru", false),
            ("100mb", "allkeys-lru", true),
            ("100mb", "volatile-ttl", true),
            ("100mb", "noeviction", false),
        ] {
            let set = ["CONFIG", "SET", "maxmemory", bytes, "maxmemory-policy", policy];
            assert_eq!(server.command(&set), "OK");
            assert_eq!(redis.memory().await.unwrap().evicts(), evicts, "{bytes} {policy}");
        }
    }
}
