//! Stories about expiring keys.

use std::{sync::Arc, time::Duration};

use tokio::time::advance;

use crate::{Bus, rate::RateLimit};

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn are_kept_until_they_expire(bus: Arc<dyn Bus>) {
    assert_eq!(bus.get("code").await.unwrap(), None);
    bus.put("code", b"123456", MINUTE).await.unwrap();
    bus.put("other", b"", 3 * MINUTE).await.unwrap();
    assert_eq!(bus.get("code").await.unwrap().as_deref(), Some(&b"123456"[..]));
    advance(MINUTE / 2).await;
    bus.put("code", b"654321", MINUTE).await.unwrap();
    advance(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(bus.get("code").await.unwrap().as_deref(), Some(&b"654321"[..]));
    advance(Duration::from_millis(1)).await;
    assert_eq!(bus.get("code").await.unwrap(), None);
    assert!(!bus.delete("code").await.unwrap());
    assert_eq!(bus.get("other").await.unwrap().as_deref(), Some(&b""[..]));
}

pub(crate) async fn are_deleted_by_one_caller_only(bus: Arc<dyn Bus>) {
    bus.put("once", b"x", MINUTE).await.unwrap();
    let (first, second) = tokio::join!(bus.delete("once"), bus.delete("once"));
    assert!(first.unwrap() ^ second.unwrap());
    assert_eq!(bus.get("once").await.unwrap(), None);
}

pub(crate) async fn count_within_a_window(bus: Arc<dyn Bus>) {
    let first = bus.increment("tries", MINUTE).await.unwrap();
    assert_eq!((first.count, first.expires_in), (1, MINUTE));
    advance(MINUTE / 4).await;
    let second = bus.increment("tries", MINUTE).await.unwrap();
    assert_eq!((second.count, second.expires_in), (2, 3 * MINUTE / 4), "it is not extended");
    assert_eq!(bus.increment("others", MINUTE).await.unwrap().count, 1);
    assert_eq!(bus.get("tries").await.unwrap().as_deref(), Some(&b"2"[..]), "its digits");
    advance(3 * MINUTE / 4).await;
    assert_eq!(bus.increment("tries", MINUTE).await.unwrap().count, 1);
    assert!(bus.delete("tries").await.unwrap());
    assert_eq!(bus.increment("tries", MINUTE).await.unwrap().count, 1);
}

pub(crate) async fn limit_a_rate(bus: Arc<dyn Bus>) {
    let limit = RateLimit { name: "login", count: 2, window: MINUTE };
    for _ in 0..2 {
        assert_eq!(limit.exceeded(&*bus, "alice").await.unwrap(), None);
    }
    advance(MINUTE / 4).await;
    assert_eq!(limit.exceeded(&*bus, "alice").await.unwrap(), Some(3 * MINUTE / 4));
    assert_eq!(limit.exceeded(&*bus, "bob").await.unwrap(), None);
    advance(3 * MINUTE / 4).await;
    assert_eq!(limit.exceeded(&*bus, "alice").await.unwrap(), None);
}
