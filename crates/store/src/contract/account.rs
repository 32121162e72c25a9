//! Stories about accounts.

use std::sync::Arc;

use skein_core::{
    account::SessionPolicy,
    id::AccountId,
    limit::SEARCH_RESULTS_MAX,
    name::{Email, Username},
    refusal::Code,
};

use super::scene::{NOW, PASSWORD_HASH, person, refused, token};
use crate::{Store, account::NewAccount};

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
