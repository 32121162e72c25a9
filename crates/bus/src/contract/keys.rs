//! Stories about expiring keys.

use super::{HOUR, SLACK, Stage, is_about};
use crate::{key::Counter, rate::RateLimit};

impl Stage {
    async fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.bus.get(key).await.unwrap()
    }

    async fn incremented(&self, key: &str) -> Counter {
        self.bus.increment(key, HOUR).await.unwrap()
    }
}

pub(crate) async fn are_kept_until_they_expire(stage: Stage) {
    assert_eq!(stage.value("code").await, None);
    stage.bus.put("code", b"12\0\xff56", HOUR).await.unwrap();
    stage.bus.put("other", b"", 3 * HOUR).await.unwrap();
    assert_eq!(stage.value("code").await.as_deref(), Some(&b"12\0\xff56"[..]));
    stage.pass(HOUR / 2).await;
    stage.bus.put("code", b"654321", HOUR).await.unwrap();
    stage.pass(HOUR - SLACK).await;
    assert_eq!(stage.value("code").await.as_deref(), Some(&b"654321"[..]));
    stage.pass(SLACK).await;
    assert_eq!(stage.value("code").await, None);
    assert!(!stage.bus.delete("code").await.unwrap());
    assert_eq!(stage.value("other").await.as_deref(), Some(&b""[..]));
}

pub(crate) async fn are_deleted_by_one_caller_only(stage: Stage) {
    stage.bus.put("once", b"x", HOUR).await.unwrap();
    let (first, second) = tokio::join!(stage.bus.delete("once"), stage.bus.delete("once"));
    assert!(first.unwrap() ^ second.unwrap());
    assert_eq!(stage.value("once").await, None);
}

pub(crate) async fn count_within_a_window(stage: Stage) {
    let first = stage.incremented("tries").await;
    assert!(first.count == 1 && is_about(first.expires_in, HOUR), "{first:?}");
    stage.pass(HOUR / 4).await;
    let second = stage.incremented("tries").await;
    assert!(second.count == 2 && is_about(second.expires_in, 3 * HOUR / 4), "it is not extended");
    assert_eq!(stage.incremented("others").await.count, 1);
    assert_eq!(stage.value("tries").await.as_deref(), Some(&b"2"[..]), "its digits");
    stage.pass(3 * HOUR / 4).await;
    assert_eq!(stage.incremented("tries").await.count, 1);
    assert!(stage.bus.delete("tries").await.unwrap());
    assert_eq!(stage.incremented("tries").await.count, 1);
}

pub(crate) async fn refuse_to_count_what_is_no_number(stage: Stage) {
    stage.bus.put("code", b"no number", HOUR).await.unwrap();
    assert!(stage.bus.increment("code", HOUR).await.is_err());
    assert_eq!(stage.value("code").await.as_deref(), Some(&b"no number"[..]));
}

pub(crate) async fn limit_a_rate(stage: Stage) {
    let limit = RateLimit { name: "login", count: 2, window: HOUR };
    for _ in 0..2 {
        assert_eq!(limit.exceeded(&*stage.bus, "alice").await.unwrap(), None);
    }
    stage.pass(HOUR / 4).await;
    let wait = limit.exceeded(&*stage.bus, "alice").await.unwrap().unwrap();
    assert!(is_about(wait, 3 * HOUR / 4), "{wait:?}");
    assert_eq!(limit.exceeded(&*stage.bus, "bob").await.unwrap(), None);
    stage.pass(3 * HOUR / 4).await;
    assert_eq!(limit.exceeded(&*stage.bus, "alice").await.unwrap(), None);
}
