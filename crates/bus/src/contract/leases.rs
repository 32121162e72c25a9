//! Stories about leases.

use super::{HOUR, SLACK, Stage};
use crate::lease::Epoch;

impl Stage {
    async fn acquired(&self, name: &str) -> Option<Epoch> {
        self.bus.acquire(name, b"fresh", HOUR).await.unwrap()
    }

    async fn held(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let held = self.bus.held(prefix).await.unwrap();
        held.into_iter().map(|held| (held.name, held.value)).collect()
    }
}

pub(crate) async fn have_one_holder(stage: Stage) {
    let (first, second) = tokio::join!(stage.acquired("node/a"), stage.acquired("node/a"));
    assert!(first.is_some() ^ second.is_some());
    let epoch = first.or(second).unwrap();
    assert!(stage.acquired("node/b").await.is_some());
    assert!(!stage.bus.release("node/a", Epoch(epoch.0 + 100)).await.unwrap());
    assert!(stage.bus.release("node/a", epoch).await.unwrap());
    assert!(!stage.bus.release("node/a", epoch).await.unwrap());
    assert!(stage.acquired("node/a").await.is_some());
}

pub(crate) async fn end_when_they_are_not_renewed(stage: Stage) {
    let epoch = stage.acquired("node").await.unwrap();
    stage.pass(HOUR / 2).await;
    assert!(stage.bus.renew("node", epoch, b"\0re newed\xff", HOUR).await.unwrap());
    stage.pass(HOUR - SLACK).await;
    assert_eq!(stage.held("node").await, [("node".into(), b"\0re newed\xff".to_vec())]);
    assert_eq!(stage.acquired("node").await, None);
    stage.pass(SLACK).await;
    assert!(stage.held("node").await.is_empty());
    assert!(!stage.bus.renew("node", epoch, b"late", HOUR).await.unwrap());
    assert!(!stage.bus.release("node", epoch).await.unwrap());
    assert!(stage.acquired("node").await.is_some());
}

pub(crate) async fn grow_in_epoch(stage: Stage) {
    let first = stage.acquired("name").await.unwrap();
    stage.bus.release("name", first).await.unwrap();
    let second = stage.acquired("name").await.unwrap();
    assert!(second > first, "after a release");
    assert!(!stage.bus.renew("name", first, b"", HOUR).await.unwrap(), "the former owner is late");
    assert!(!stage.bus.release("name", first).await.unwrap());
    assert!(stage.bus.renew("name", second, b"", HOUR).await.unwrap());
    stage.pass(HOUR).await;
    let third = stage.acquired("name").await.unwrap();
    assert!(third > second, "after it has expired");
    assert!(!stage.bus.renew("name", second, b"", HOUR).await.unwrap());
}

pub(crate) async fn are_listed_by_prefix(stage: Stage) {
    for name in ["node/b", "node/a", "node/a/b", "node", "nodes", "other/a"] {
        stage.bus.acquire(name, name.as_bytes(), HOUR).await.unwrap().unwrap();
    }
    stage.bus.acquire("node/c", b"", HOUR / 2).await.unwrap().unwrap();
    stage.pass(HOUR / 2).await;
    for (prefix, expected) in [
        ("node/", &["node/a", "node/a/b", "node/b"][..]),
        ("node/a", &["node/a", "node/a/b"]),
        ("node", &["node", "nodes"]),
        ("", &["node", "nodes"]),
        ("nobody", &[]),
        ("nobody/", &[]),
    ] {
        let pair = |name: &&str| ((*name).to_owned(), name.as_bytes().to_vec());
        let expected: Vec<_> = expected.iter().map(pair).collect();
        assert_eq!(stage.held(prefix).await, expected, "{prefix}");
    }
}
