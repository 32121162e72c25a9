//! Stories about leases.

use std::{sync::Arc, time::Duration};

use tokio::time::advance;

use crate::{Bus, lease::Epoch};

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn have_one_holder(bus: Arc<dyn Bus>) {
    let (first, second) =
        tokio::join!(bus.acquire("node/a", b"1", MINUTE), bus.acquire("node/a", b"2", MINUTE));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.is_some() ^ second.is_some());
    let epoch = first.or(second).unwrap();
    assert!(bus.acquire("node/b", b"", MINUTE).await.unwrap().is_some());
    assert!(!bus.release("node/a", Epoch(epoch.0 + 100)).await.unwrap());
    assert!(bus.release("node/a", epoch).await.unwrap());
    assert!(!bus.release("node/a", epoch).await.unwrap());
    assert!(bus.acquire("node/a", b"3", MINUTE).await.unwrap().is_some());
}

pub(crate) async fn end_when_they_are_not_renewed(bus: Arc<dyn Bus>) {
    let epoch = bus.acquire("node", b"fresh", MINUTE).await.unwrap().unwrap();
    advance(MINUTE / 2).await;
    assert!(bus.renew("node", epoch, b"renewed", MINUTE).await.unwrap());
    advance(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(bus.held("node").await.unwrap()[0].value, b"renewed");
    assert_eq!(bus.acquire("node", b"", MINUTE).await.unwrap(), None);
    advance(Duration::from_millis(1)).await;
    assert!(bus.held("node").await.unwrap().is_empty());
    assert!(!bus.renew("node", epoch, b"late", MINUTE).await.unwrap());
    assert!(!bus.release("node", epoch).await.unwrap());
    assert!(bus.acquire("node", b"", MINUTE).await.unwrap().is_some());
}

pub(crate) async fn grow_in_epoch(bus: Arc<dyn Bus>) {
    let first = bus.acquire("name", b"", MINUTE).await.unwrap().unwrap();
    bus.release("name", first).await.unwrap();
    let second = bus.acquire("name", b"", MINUTE).await.unwrap().unwrap();
    assert!(second > first, "after a release");
    assert!(!bus.renew("name", first, b"", MINUTE).await.unwrap(), "the former owner is late");
    assert!(!bus.release("name", first).await.unwrap());
    assert!(bus.renew("name", second, b"", MINUTE).await.unwrap());
    advance(MINUTE).await;
    let third = bus.acquire("name", b"", MINUTE).await.unwrap().unwrap();
    assert!(third > second, "after it has expired");
}

pub(crate) async fn are_listed_by_prefix(bus: Arc<dyn Bus>) {
    for (name, value) in [("node/b", "2"), ("node/a", "1"), ("node", "0"), ("nodes", "3")] {
        bus.acquire(name, value.as_bytes(), MINUTE).await.unwrap().unwrap();
    }
    bus.acquire("node/c", b"", MINUTE / 2).await.unwrap().unwrap();
    advance(MINUTE / 2).await;
    let held = bus.held("node/").await.unwrap();
    let held: Vec<_> = held.iter().map(|held| (held.name.as_str(), &*held.value)).collect();
    assert_eq!(held, [("node/a", &b"1"[..]), ("node/b", &b"2"[..])]);
    assert!(bus.held("nobody").await.unwrap().is_empty());
}
