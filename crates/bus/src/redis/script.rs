//! The scripts that Redis runs, each one atomic step. They take the time from Redis, whose clock is
//! the one that all nodes share.

use std::sync::OnceLock;

use fred::{
    clients::Client,
    error::Error,
    interfaces::LuaInterface,
    types::{FromValue, Value},
    util::sha1_hash,
};

/// What Redis answers when it does not know the hash of a script.
const UNKNOWN: &str = "NOSCRIPT";

/// A script, and the hash by which Redis knows it once it has seen it.
pub(super) struct Script {
    pub(super) name: &'static str,
    text: &'static str,
    hash: OnceLock<String>,
}

pub(super) static ACQUIRE: Script = Script::new("acquire", include_str!("script/acquire.lua"));
pub(super) static RENEW: Script = Script::new("renew", include_str!("script/renew.lua"));
pub(super) static RELEASE: Script = Script::new("release", include_str!("script/release.lua"));
pub(super) static HELD: Script = Script::new("held", include_str!("script/held.lua"));
pub(super) static INCREMENT: Script =
    Script::new("increment", include_str!("script/increment.lua"));
pub(super) static STAY: Script = Script::new("stay", include_str!("script/stay.lua"));
pub(super) static PRESENT: Script = Script::new("present", include_str!("script/present.lua"));

impl Script {
    pub(super) const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, hash: OnceLock::new() }
    }

    /// Runs it by its hash, or sends all of it to a server that does not know it: one that was
    /// started anew, or another one of a cluster.
    pub(super) async fn run<R: FromValue>(
        &self,
        client: &Client,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, Error> {
        let hash = self.hash.get_or_init(|| sha1_hash(self.text)).as_str();
        match client.evalsha(hash, keys.clone(), arguments.clone()).await {
            Err(error) if error.details().starts_with(UNKNOWN) => {
                client.eval(self.text, keys, arguments).await
            }
            result => result,
        }
    }
}
