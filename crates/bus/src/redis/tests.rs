//! Stories that are told to a real Redis: the contract, then what happens when it fails.

mod cluster;
mod faults;
mod secure;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fred::types::Value;
use skein_testkit::redis::Redis as Server;

use super::{Config, Redis, script::Script};
use crate::contract::{Passing, Stage};

/// Puts everything under a prefix as if so many milliseconds had passed: the clock of a real server
/// cannot be set, and nobody waits for an hour.
static PASS: Script = Script::new("pass", include_str!("tests/pass.lua"));

struct Aging {
    bus: Arc<Redis>,
    prefix: String,
}

#[async_trait]
impl Passing for Aging {
    async fn pass(&self, time: Duration) {
        let time_ms = i64::try_from(time.as_millis()).unwrap();
        let arguments: Vec<Value> = vec![self.prefix.as_str().into(), time_ms.into()];
        let _: () = self.bus.commands.script(&PASS, vec![], arguments).await.unwrap();
    }
}

/// A prefix that no other story has.
fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("story-{}-{}:", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn config(server: &Server) -> Config {
    Config { url: server.url(), prefix: prefix(), tls_ca: None, allow_plain: false }
}

async fn empty() -> Stage {
    let config = config(Server::shared());
    let bus = Arc::new(Redis::connect(&config).await.unwrap());
    Stage::new(Arc::clone(&bus) as _, Aging { bus, prefix: config.prefix })
}

crate::contract::run_contract!(super::empty);

#[tokio::test]
async fn an_operator_can_ask_for_what_there_is() {
    use skein_core::time::Timestamp;

    let bus = Redis::connect(&config(Server::shared())).await.unwrap();
    assert!(bus.ping().await.unwrap() < super::address::COMMAND_MAX);
    assert!(bus.server_version().await.unwrap().starts_with(|c: char| c.is_ascii_digit()));
    let since_1970_ms = bus.clock_offset(Timestamp(0)).await.unwrap();
    assert!(since_1970_ms > 1_700_000_000_000);
    let ahead = Timestamp(u64::try_from(since_1970_ms).unwrap() + 3_600_000);
    assert!(bus.clock_offset(ahead).await.unwrap() < 0);
}

#[tokio::test]
async fn two_prefixes_are_two_buses() {
    use crate::{key::Keys, lease::Leases};

    let minute = Duration::from_secs(60);
    let one = Redis::connect(&config(Server::shared())).await.unwrap();
    let other = Redis::connect(&config(Server::shared())).await.unwrap();
    one.put("key", b"value", minute).await.unwrap();
    assert_eq!(other.get("key").await.unwrap(), None);
    assert!(one.acquire("a/b", b"", minute).await.unwrap().is_some());
    assert!(other.acquire("a/b", b"", minute).await.unwrap().is_some());
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_apart() {
    use super::ConnectError;

    let good = config(Server::shared());
    for prefix in ["a{b}", "a b", &"x".repeat(65)] {
        let bad = Config { prefix: prefix.into(), ..good.clone() };
        let error = Redis::connect(&bad).await.err().unwrap();
        assert!(matches!(&error, ConnectError::Config(why) if why.contains("`prefix`")), "{error}");
    }
    let bad = Config { url: "redis://127.0.0.1:1".into(), ..good };
    let error = Redis::connect(&bad).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    let said = "cannot reach Redis: Connection refused (os error 111)";
    assert_eq!(error.to_string(), said);
}
