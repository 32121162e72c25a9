//! Stories about accounts.

use std::sync::Arc;

use skein_core::{
    account::SessionPolicy,
    id::{AccountId, BlobId},
    limit::SEARCH_RESULTS_MAX,
    name::{Email, Username},
    refusal::Code,
    time::Timestamp,
};

use super::scene::{NOW, PASSWORD_HASH, ROOMY, bytes, person, refused, spec, token, uploaded};
use crate::{
    Store,
    account::{AccountRecord, NewAccount},
    token::NewToken,
    upload::FILE_BYTES_CHARGED_MIN,
};

pub(crate) async fn names_and_addresses_are_unique(store: Arc<dyn Store>) {
    let new = |name: &str, email: &str| NewAccount {
        name: Username::parse(name).unwrap(),
        email: Email::parse(email).unwrap(),
        password_hash: "hash".into(),
    };
    let alice = store.create_account(new("Alice", "Alice@Example.org"), NOW).await.unwrap();
    assert_eq!((alice.id, alice.name.as_str()), (AccountId(1), "Alice"));
    let same_name = store.create_account(new("aLICE", "other@example.org"), NOW).await;
    assert_eq!(refused(same_name), Code::NameTaken);
    let same_email = store.create_account(new("bob", "alice@example.ORG"), NOW).await;
    assert_eq!(refused(same_email), Code::EmailTaken);
    assert!(store.credentials(&Username::parse("bob").unwrap()).await.unwrap().is_none());
    let bob = store.create_account(new("李雷", "bob@example.org"), NOW).await.unwrap();
    assert!(bob.id > alice.id);
}

pub(crate) async fn is_found_by_name_address_and_id(store: Arc<dyn Store>) {
    let alice = person(&store, "Alice").await;
    let found = store.credentials(&Username::parse("aLiCe").unwrap()).await.unwrap().unwrap();
    assert_eq!((&found.profile, &*found.password_hash), (&alice, PASSWORD_HASH));
    let email = Email::parse("ALICE@example.org").unwrap();
    assert_eq!(store.account_by_email(&email).await.unwrap().as_ref(), Some(&alice));
    assert_eq!(store.account(alice.id).await.unwrap(), Some(alice));

    let nobody = Email::parse("nobody@example.org").unwrap();
    assert_eq!(store.account_by_email(&nobody).await.unwrap(), None);
    assert_eq!(store.account(AccountId(99)).await.unwrap(), None);
    assert_eq!(store.account(AccountId(u64::MAX)).await.unwrap(), None);
}

pub(crate) async fn is_searched_by_prefix(store: Arc<dyn Store>) {
    // With "a_b" a wildcard would also find "axb".
    let all = ["Anna", "ann", "annabel", "ANNE", "a_b", "axb", "李雷", "李雷雷", "b"];
    for (number, name) in all.iter().enumerate() {
        let new = NewAccount {
            name: Username::parse(*name).unwrap(),
            email: Email::parse(format!("{number}@example.org")).unwrap(),
            password_hash: "hash".into(),
        };
        store.create_account(new, NOW).await.unwrap();
    }
    for (prefix, limit, expected) in [
        ("ANN", 10, vec!["ann", "Anna", "annabel", "ANNE"]),
        ("ann", 2, vec!["ann", "Anna"]),
        ("anna", 10, vec!["Anna", "annabel"]),
        ("a_", 10, vec!["a_b"]),
        ("%", 10, vec![]),
        ("李", 10, vec!["李雷", "李雷雷"]),
        ("nobody", 10, vec![]),
    ] {
        let found = store.find_accounts(prefix, limit).await.unwrap();
        let names: Vec<_> = found.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, expected, "{prefix}");
    }
    for number in 0..=SEARCH_RESULTS_MAX {
        person(&store, &format!("many{number}")).await;
    }
    assert_eq!(store.find_accounts("many", 1000).await.unwrap().len(), SEARCH_RESULTS_MAX);
}

pub(crate) async fn a_new_password_ends_every_token(store: Arc<dyn Store>) {
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    for new in [
        token(alice.id, 1, 1, SessionPolicy::Many),
        token(alice.id, 2, 2, SessionPolicy::Many),
        token(bob.id, 1, 3, SessionPolicy::Many),
    ] {
        store.issue_token(new, NOW).await.unwrap();
    }
    store.set_password(alice.id, "another".into()).await.unwrap();
    let credentials = store.credentials(&alice.name).await.unwrap().unwrap();
    assert_eq!(credentials.password_hash, "another");
    for (hash, lives) in [(1, false), (2, false), (3, true)] {
        assert_eq!(store.identify(&[hash; 32], NOW).await.unwrap().is_some(), lives, "{hash}");
    }
    let nobody = store.set_password(AccountId(99), "another".into()).await;
    assert_eq!(refused(nobody), Code::NotFound);
}

pub(crate) async fn is_listed_in_pages(store: Arc<dyn Store>) {
    assert!(store.list_accounts(None, 10).await.unwrap().is_empty());
    let mut ids = Vec::new();
    for name in ["carol", "Alice", "bob"] {
        ids.push(person(&store, name).await.id);
    }
    let alice = ids[1];
    store.issue_token(token(alice, 1, 1, SessionPolicy::Many), NOW).await.unwrap();
    store.issue_token(token(alice, 2, 2, SessionPolicy::Many), NOW).await.unwrap();
    uploaded(&store, alice, 1, None).await;
    store.open_upload(alice, spec(2, 10), BlobId(bytes(2)), ROOMY, NOW).await.unwrap();

    let listed = async |after, limit| {
        let records = store.list_accounts(after, limit).await.unwrap();
        records.into_iter().map(|record| record.profile.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 10).await, ids);
    assert_eq!(listed(None, 2).await, ids[..2]);
    assert_eq!(listed(Some(ids[1]), 2).await, ids[2..]);
    assert!(listed(Some(ids[2]), 2).await.is_empty());
    assert!(listed(Some(AccountId(u64::MAX)), 2).await.is_empty());
    let records = store.list_accounts(Some(ids[0]), 1).await.unwrap();
    let expected = AccountRecord {
        profile: store.account(alice).await.unwrap().unwrap(),
        email: Email::parse("alice@example.org").unwrap(),
        created: NOW,
        disabled: None,
        storage_bytes: 2 * FILE_BYTES_CHARGED_MIN,
        logins: 2,
    };
    assert_eq!(records, [expected]);
}

pub(crate) async fn has_no_tokens_while_disabled(store: Arc<dyn Store>) {
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    for new in [
        token(alice.id, 1, 1, SessionPolicy::Many),
        token(alice.id, 2, 2, SessionPolicy::Many),
        token(bob.id, 1, 3, SessionPolicy::Many),
    ] {
        store.issue_token(new, NOW).await.unwrap();
    }
    let disabled = async || store.credentials(&alice.name).await.unwrap().unwrap().disabled;
    assert!(!disabled().await);
    let since = Timestamp(NOW.0 + 5);
    assert!(store.set_disabled(alice.id, Some(since)).await.unwrap());
    assert!(disabled().await);
    assert_eq!(store.list_accounts(None, 1).await.unwrap()[0].disabled, Some(since));
    for (hash, lives) in [(1, false), (2, false), (3, true)] {
        assert_eq!(store.identify(&[hash; 32], NOW).await.unwrap().is_some(), lives, "{hash}");
    }

    // A login that was under way, and one after a new password: neither gets in.
    let login = token(alice.id, 1, 4, SessionPolicy::Exclusive);
    assert_eq!(refused(store.issue_token(login.clone(), NOW).await), Code::Forbidden);
    store.set_password(alice.id, "another".into()).await.unwrap();
    assert_eq!(refused(store.issue_token(login.clone(), NOW).await), Code::BadCredentials);
    let login = NewToken { password_hash: "another".into(), ..login };
    assert_eq!(refused(store.issue_token(login.clone(), NOW).await), Code::Forbidden);
    assert!(store.logins(alice.id).await.unwrap().is_empty());
    assert_eq!(store.account(alice.id).await.unwrap(), Some(alice.clone()), "it is still there");

    assert!(store.set_disabled(alice.id, None).await.unwrap());
    assert!(!disabled().await);
    store.issue_token(login, NOW).await.unwrap();
    assert!(store.set_disabled(alice.id, None).await.unwrap(), "enabling twice changes nothing");
    assert!(store.identify(&[4; 32], NOW).await.unwrap().is_some());
    for since in [None, Some(NOW)] {
        assert!(!store.set_disabled(AccountId(99), since).await.unwrap());
    }
}
