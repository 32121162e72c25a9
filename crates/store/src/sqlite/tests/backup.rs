//! Copies that are taken while the store is in use.

use std::sync::Arc;

use skein_core::id::{BlobId, LogId, Seq};
use tokio::task::JoinSet;

use super::{super::Sqlite, failed, in_folder, open, with_writer_held};
use crate::{
    Store,
    contract::scene::{NOW, ROOMY, bytes, friends, person, spec, uploaded, words},
    instance::Instance,
    log::Logs,
};

#[tokio::test]
async fn a_copy_holds_what_was_acknowledged_before_it_and_nothing_by_halves() {
    let (sqlite, folder) = in_folder();
    let store: Arc<dyn Store> = Arc::clone(&sqlite) as _;
    let (a, _, conversation) = friends(&store).await;
    for number in 100..150 {
        store.append(a, words(conversation, number, "before"), NOW).await.unwrap();
    }
    let mut meanwhile = JoinSet::new();
    for number in 200..300 {
        let (store, draft) = (Arc::clone(&store), words(conversation, number, "meanwhile"));
        meanwhile.spawn(async move { store.append(a, draft, NOW).await.unwrap() });
    }
    let copy = folder.path().join("copy.db");
    sqlite.backup(&copy).await.unwrap();
    meanwhile.join_all().await;

    let copied = Sqlite::open(&copy).unwrap();
    let log = LogId::Conversation(conversation);
    let page = copied.read_after(log, Seq::ZERO, 1000).await.unwrap();
    assert!((50..=150).contains(&page.entries.len()), "{} entries", page.entries.len());
    let dense = (1..).map(Seq).zip(&page.entries).all(|(seq, entry)| entry.seq == seq);
    assert!(dense && page.head.0 == page.entries.len() as u64);
    let all = store.read_after(log, Seq::ZERO, 1000).await.unwrap();
    assert_eq!(page.entries, all.entries[..page.entries.len()]);
    assert_eq!(all.entries.len(), 150, "the store itself went on");

    // The copy goes on by itself, with its numbers.
    let copied: Arc<dyn Store> = Arc::new(copied);
    assert_eq!(person(&copied, "carol").await.id.0, 3);
    let again = copied.append(a, words(conversation, 100, "before"), NOW).await.unwrap();
    assert!(again.repeated);
}

#[tokio::test]
async fn a_copy_does_not_wait_for_the_writer() {
    let (sqlite, folder) = in_folder();
    let store: Arc<dyn Store> = Arc::clone(&sqlite) as _;
    let alice = person(&store, "alice").await;
    let copy = folder.path().join("copy.db");
    with_writer_held(&sqlite, async |_| sqlite.backup(&copy).await.unwrap()).await;
    let copied: Arc<dyn Store> = Arc::new(Sqlite::open(&copy).unwrap());
    assert_eq!(copied.account(alice.id).await.unwrap(), Some(alice));
}

#[tokio::test]
async fn a_copy_is_private_and_overwrites_nothing() {
    let (sqlite, folder) = in_folder();
    let copy = folder.path().join("copy.db");
    std::fs::write(&copy, "something precious").unwrap();
    failed(sqlite.backup(&copy).await);
    assert_eq!(std::fs::read(&copy).unwrap(), b"something precious");
    failed(sqlite.backup(&folder.path().join("missing/copy.db")).await);
    std::fs::remove_file(&copy).unwrap();
    sqlite.backup(&copy).await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = copy.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_restored_copy_is_told_apart() {
    let (sqlite, folder) = in_folder();
    let id = sqlite.instance().await.unwrap();
    let copy = folder.path().join("copy.db");
    sqlite.backup(&copy).await.unwrap();
    let copied = Sqlite::open(&copy).unwrap();
    assert_eq!(copied.instance().await.unwrap(), id);
    let renewed = copied.renew_instance().await.unwrap();
    assert_ne!(renewed, id);
    assert_eq!(copied.instance().await.unwrap(), renewed);
    copied.close().await;
    drop(copied);
    assert_eq!(Sqlite::open(&copy).unwrap().instance().await.unwrap(), renewed);
    assert_eq!(open(folder.path()).instance().await.unwrap(), id, "the first keeps its own");
}

#[tokio::test]
async fn complete_blobs_are_listed_page_by_page() {
    let (sqlite, _folder) = in_folder();
    let store: Arc<dyn Store> = Arc::clone(&sqlite) as _;
    assert!(sqlite.complete_blobs(None, 10).await.unwrap().is_empty());
    let a = person(&store, "alice").await.id;
    let mut all = Vec::new();
    for number in 1..=5 {
        all.push(uploaded(&store, a, number, None).await.id);
    }
    store.open_upload(a, spec(9, 7), BlobId(bytes(9)), ROOMY, NOW).await.unwrap();
    all.sort_unstable();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = sqlite.complete_blobs(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(*last);
        listed.extend(page);
    }
    assert_eq!(listed, all);
}
