//! Stories about tokens.

use std::sync::Arc;

use skein_core::{
    account::SessionPolicy::{Exclusive, Many},
    entry::{Body, SessionEnded},
    id::{DeviceId, LogId, Seq},
    name::DeviceName,
    refusal::Code,
    time::Timestamp,
};

use super::scene::{NOW, bytes, person, refused, token};
use crate::{Store, token::LoginRecord};

pub(crate) async fn speaks_for_its_owner_until_it_expires(store: Arc<dyn Store>) {
    let alice = person(&store, "Alice").await;
    let new = token(alice.id, 1, 1, Many);
    let expires = new.expires;
    store.issue_token(new, NOW).await.unwrap();
    let identity = store.identify(&[1; 32], NOW).await.unwrap().unwrap();
    assert_eq!(identity.account, alice);
    assert_eq!(identity.device, DeviceId(bytes(1)));
    assert_eq!(identity.device_name.as_str(), "device 1");
    assert_eq!(store.identify(&[2; 32], NOW).await.unwrap(), None);

    let last_moment = Timestamp(expires.0 - 1);
    assert!(store.identify(&[1; 32], last_moment).await.unwrap().is_some());
    assert_eq!(store.identify(&[1; 32], expires).await.unwrap(), None);
    assert_eq!(store.purge_tokens(last_moment).await.unwrap(), 0);
    assert_eq!(store.purge_tokens(expires).await.unwrap(), 1);
    assert_eq!(store.identify(&[1; 32], NOW).await.unwrap(), None);
}

pub(crate) async fn is_one_a_device(store: Arc<dyn Store>) {
    let alice = person(&store, "alice").await.id;
    let issued = store.issue_token(token(alice, 1, 1, Many), NOW).await.unwrap();
    assert!(!issued.replaced);
    let issued = store.issue_token(token(alice, 1, 2, Many), NOW).await.unwrap();
    assert_eq!((issued.replaced, issued.ended.len(), issued.committed.len()), (true, 0, 0));
    assert_eq!(store.identify(&[1; 32], NOW).await.unwrap(), None);
    assert!(store.identify(&[2; 32], NOW).await.unwrap().is_some());
    assert!(store.revoke_token(&[2; 32]).await.unwrap());
    assert!(!store.revoke_token(&[2; 32]).await.unwrap());
    assert_eq!(store.identify(&[2; 32], NOW).await.unwrap(), None);
}

pub(crate) async fn is_not_issued_for_a_former_password(store: Arc<dyn Store>) {
    let alice = person(&store, "alice").await.id;
    let login = token(alice, 1, 1, Exclusive);
    store.set_password(alice, "another".into()).await.unwrap();
    let mut again = token(alice, 2, 2, Many);
    again.password_hash = "another".into();
    store.issue_token(again, NOW).await.unwrap();
    assert_eq!(refused(store.issue_token(login, NOW).await), Code::BadCredentials);
    assert_eq!(store.identify(&[1; 32], NOW).await.unwrap(), None);
    assert!(store.identify(&[2; 32], NOW).await.unwrap().is_some(), "nothing else ended");
}

pub(crate) async fn stays_beside_others_under_many(store: Arc<dyn Store>) {
    let alice = person(&store, "alice").await.id;
    for device in 1..=3 {
        let issued = store.issue_token(token(alice, device, device as u8, Many), NOW).await;
        assert!(issued.unwrap().ended.is_empty());
    }
    for hash in 1..=3 {
        assert!(store.identify(&[hash; 32], NOW).await.unwrap().is_some());
    }
}

pub(crate) async fn ends_the_others_under_exclusive(store: Arc<dyn Store>) {
    let alice = person(&store, "alice").await.id;
    let bob = person(&store, "bob").await.id;
    store.issue_token(token(bob, 1, 9, Many), NOW).await.unwrap();
    for device in 1..=3 {
        store.issue_token(token(alice, device, device as u8, Many), NOW).await.unwrap();
    }
    let mut expired = token(alice, 4, 4, Many);
    expired.expires = NOW;
    store.issue_token(expired, NOW).await.unwrap();

    let issued = store.issue_token(token(alice, 3, 5, Exclusive), NOW).await.unwrap();
    assert!(issued.replaced, "device 3 logged in again");
    let mut ended = issued.ended;
    ended.sort();
    assert_eq!(ended, [1, 2, 4].map(|device| DeviceId(bytes(device))));
    for (hash, lives) in [(1, false), (2, false), (3, false), (4, false), (5, true), (9, true)] {
        assert_eq!(store.identify(&[hash; 32], NOW).await.unwrap().is_some(), lives, "{hash}");
    }

    // The expired one had ended by itself: only two entries, with ids of their own.
    let log = LogId::Personal(alice);
    let page = store.read_after(log, Seq::ZERO, 10).await.unwrap();
    assert_eq!(page.head, Seq(2));
    let committed: Vec<_> = issued.committed.into_iter().map(|c| (c.log, c.entry)).collect();
    assert_eq!(committed, page.entries.iter().map(|e| (log, e.clone())).collect::<Vec<_>>());
    assert_ne!(page.entries[0].id, page.entries[1].id);
    let name = |text| DeviceName::parse(text).unwrap();
    for (entry, device) in page.entries.iter().zip(["device 1", "device 2"]) {
        let ended = SessionEnded { device: name(device), by: name("device 3") };
        assert_eq!(entry.body, Body::SessionEnded(ended));
        assert_eq!(entry.author, alice);
    }
    let again = store.issue_token(token(alice, 3, 6, Exclusive), NOW).await.unwrap();
    assert!(again.ended.is_empty() && again.committed.is_empty());
}

pub(crate) async fn is_listed_and_ended_by_device(store: Arc<dyn Store>) {
    let alice = person(&store, "alice").await.id;
    let bob = person(&store, "bob").await.id;
    let later = |ms| Timestamp(NOW.0 + ms);
    assert!(store.logins(alice).await.unwrap().is_empty());
    for (device, issued) in [(1, 2), (2, 3), (3, 1)] {
        let new = token(alice, device, device as u8, Many);
        store.issue_token(new, later(issued)).await.unwrap();
    }
    store.issue_token(token(bob, 1, 9, Many), NOW).await.unwrap();
    let login = |device: u64, issued| LoginRecord {
        device: DeviceId(bytes(device)),
        device_name: DeviceName::parse(format!("device {device}")).unwrap(),
        issued: later(issued),
        expires: token(alice, device, 0, Many).expires,
    };
    let all = [login(2, 3), login(1, 2), login(3, 1)];
    assert_eq!(store.logins(alice).await.unwrap(), all, "the latest first");

    let device = |number| Some(DeviceId(bytes(number)));
    assert_eq!(store.revoke_logins(alice, device(1)).await.unwrap(), 1);
    assert_eq!(store.revoke_logins(alice, device(1)).await.unwrap(), 0);
    assert_eq!(store.logins(alice).await.unwrap(), [login(2, 3), login(3, 1)]);
    assert_eq!(store.identify(&[1; 32], NOW).await.unwrap(), None);
    assert_eq!(store.revoke_logins(alice, None).await.unwrap(), 2);
    assert_eq!(store.revoke_logins(alice, None).await.unwrap(), 0);
    assert!(store.logins(alice).await.unwrap().is_empty());
    assert_eq!(store.identify(&[2; 32], NOW).await.unwrap(), None);
    assert!(store.identify(&[9; 32], NOW).await.unwrap().is_some(), "nobody else's");
    let page = store.read_after(LogId::Personal(alice), Seq::ZERO, 10).await.unwrap();
    assert_eq!(page.head, Seq::ZERO, "whoever revoked them tells the sessions");
}
