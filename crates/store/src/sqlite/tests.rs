//! The contract suite on SQLite, and what only this implementation promises.

mod backup;
mod full_disk;
mod upgrade;

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use rusqlite::params;
use skein_core::{
    contact::Relation,
    id::{LogId, Seq},
    limit::CONTACTS_MAX,
    refusal::Code,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Sqlite, fault::Fault};
use crate::{
    Store, StoreError,
    account::Accounts,
    contract::scene::{NOW, entry, friends, note, person, refused, token, uploaded, words},
    instance::Instance,
};

/// An empty store in a folder that lives as long as the second value.
pub(crate) async fn empty() -> (Arc<dyn Store>, TempDir) {
    let (store, folder) = in_folder();
    (store, folder)
}

mod contract {
    crate::contract::run_contract!(crate::sqlite::tests::empty);
}

fn in_folder() -> (Arc<Sqlite>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(open(folder.path())), folder)
}

fn open(folder: &Path) -> Sqlite {
    Sqlite::open(&folder.join("skein.db")).unwrap()
}

fn failed<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Failed { source, .. }) => source.to_string(),
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Arc::new(open(folder.path()));
    let store: Arc<dyn Store> = Arc::clone(&sqlite) as _;
    let (a, b, conversation) = friends(&store).await;
    let draft = words(conversation, 10, "kept");
    let first = store.append(a, draft.clone(), NOW).await.unwrap().entry;
    let photo = uploaded(&store, a, 1, Some((8, 6))).await;
    let policy = skein_core::account::SessionPolicy::Many;
    store.issue_token(token(b, 1, 1, policy), NOW).await.unwrap();
    sqlite.close().await;
    assert!(failed(store.append(a, words(conversation, 11, "late"), NOW).await).contains("closed"));
    assert_eq!(store.account(a).await.unwrap().unwrap().id, a, "reads go on");
    drop((store, sqlite));
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["skein.db"], "the write-ahead log was moved into the file");

    let store: Arc<dyn Store> = Arc::new(open(folder.path()));
    let again = store.append(a, draft, NOW).await.unwrap();
    assert_eq!((again.entry, again.repeated), (first, true));
    assert_eq!(store.relation(a, b).await.unwrap(), Relation::Contact);
    assert_eq!(store.blob(photo.id).await.unwrap(), Some(photo));
    assert!(store.identify(&[1; 32], NOW).await.unwrap().is_some());
    let next = store.append(b, words(conversation, 12, "next"), NOW).await.unwrap();
    assert_eq!(next.entry.seq, Seq(2));
    assert_eq!(person(&store, "carol").await.id.0, 3, "numbers go on");
}

#[tokio::test]
async fn a_store_is_the_same_as_long_as_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let id = open(folder.path()).instance().await.unwrap();
    assert_eq!(open(folder.path()).instance().await.unwrap(), id);
    let (another, _folder) = in_folder();
    assert_ne!(another.instance().await.unwrap(), id);
}

#[tokio::test]
async fn what_was_acknowledged_is_in_a_copy_of_the_files() {
    let (store, folder) = in_folder();
    let shared: Arc<dyn Store> = Arc::clone(&store) as _;
    let alice = person(&shared, "alice").await;
    // What a kill would leave behind: the file and its log as they are now, nothing closed.
    let copy = tempfile::tempdir().unwrap();
    for name in ["skein.db", "skein.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(open(copy.path()).account(alice.id).await.unwrap(), Some(alice));
}

/// Blocks the writer, so that all that is submitted meanwhile ends up in one batch.
async fn with_writer_held<F: AsyncFnOnce(&mut JoinSet<()>)>(store: &Arc<Sqlite>, submit: F) {
    let (held, is_held) = tokio::sync::oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    let holding = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let work = move |_: &rusqlite::Connection| {
                held.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            };
            store.write("hold the writer", work).await.unwrap();
        })
    };
    is_held.await.unwrap();
    let mut submitted = JoinSet::new();
    submit(&mut submitted).await;
    // On the one thread of the test's runtime, each spawned task has submitted after a yield.
    tokio::task::yield_now().await;
    release.send(()).unwrap();
    holding.await.unwrap();
    submitted.join_all().await;
}

fn insert_account(db: &rusqlite::Connection, key: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO accounts (name, name_key, email, email_key, password_hash, created_ms) \
               VALUES (?1, ?1, ?1, ?1, '', 0)";
    db.execute(sql, params![key])?;
    Ok(())
}

#[tokio::test]
async fn a_job_that_fails_halfway_takes_back_only_itself() {
    let (store, _folder) = in_folder();
    with_writer_held(&store, async |jobs| {
        for number in 0..9 {
            let store = Arc::clone(&store);
            jobs.spawn(async move {
                let work = move |db: &rusqlite::Connection| {
                    insert_account(db, &format!("a{number}"))?;
                    match number % 3 {
                        0 => Ok(()),
                        // The same name again: the database refuses the second row.
                        1 => insert_account(db, &format!("a{number}")),
                        _ => Err(skein_core::refusal::Refusal::not_found("reason").into()),
                    }
                };
                let result = store.write("test", work).await;
                match number % 3 {
                    0 => result.unwrap(),
                    1 => assert!(failed(result).contains("UNIQUE")),
                    _ => assert_eq!(refused(result), Code::NotFound),
                }
            });
        }
    })
    .await;
    let found = store.find_accounts("a", 20).await.unwrap();
    let names: Vec<_> = found.iter().map(|profile| profile.name.as_str()).collect();
    assert_eq!(names, ["a0", "a3", "a6"]);
}

#[tokio::test]
async fn a_batch_that_cannot_be_committed_is_acknowledged_to_nobody() {
    let (store, _folder) = in_folder();
    with_writer_held(&store, async |jobs| {
        for number in 0..6 {
            let store = Arc::clone(&store);
            jobs.spawn(async move {
                let work = move |db: &rusqlite::Connection| {
                    insert_account(db, &format!("a{number}"))?;
                    if number == 3 {
                        // A reference into the void that is only checked at the commit.
                        db.pragma_update(None, "defer_foreign_keys", true)?;
                        let sql = "INSERT INTO contact_requests VALUES (98, 99, '', 0)";
                        db.execute(sql, [])?;
                    }
                    Ok(())
                };
                let cause = failed(store.write("test", work).await);
                assert!(cause.contains("FOREIGN KEY"), "{cause}");
            });
        }
    })
    .await;
    assert!(store.find_accounts("a", 20).await.unwrap().is_empty());
    store.write("go on", |db| insert_account(db, "after")).await.unwrap();
    assert_eq!(store.find_accounts("a", 20).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_job_that_panics_costs_its_batch_and_not_the_writer() {
    let (store, _folder) = in_folder();
    let work = |db: &rusqlite::Connection| -> Result<(), Fault> {
        insert_account(db, "before")?;
        panic!("on purpose: this test wants a panic inside the writer");
    };
    assert!(failed(store.write("test", work).await).contains("panicked"));
    store.write("go on", |db| insert_account(db, "after")).await.unwrap();
    assert!(store.find_accounts("before", 1).await.unwrap().is_empty());
    assert_eq!(store.find_accounts("after", 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn jobs_are_done_in_the_order_of_submission() {
    let (store, _folder) = in_folder();
    let (order, done) = mpsc::channel();
    with_writer_held(&store, async |jobs| {
        for number in 0..100 {
            let (store, order) = (Arc::clone(&store), order.clone());
            jobs.spawn(async move {
                let work = move |_: &rusqlite::Connection| {
                    order.send(number).unwrap();
                    Ok(())
                };
                store.write("test", work).await.unwrap();
            });
        }
    })
    .await;
    assert_eq!(done.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_caller_gave_up_waiting_for_is_still_done_on_drop() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    with_writer_held(&store, async |_| {
        let mut abandoned = Box::pin(store.write("test", |db| insert_account(db, "ghost")));
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(abandoned.as_mut().poll(&mut context).is_pending());
    })
    .await;
    drop(store);
    assert_eq!(open(folder.path()).find_accounts("ghost", 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn contact_lists_stop_at_their_limit() {
    let (store, _folder) = in_folder();
    let shared: Arc<dyn Store> = Arc::clone(&store) as _;
    let (a, b, conversation) = friends(&shared).await;
    let c = person(&shared, "carol").await.id;
    shared.request_contact(c, b, note(""), entry(1), NOW).await.unwrap();
    let fill = move |db: &rusqlite::Connection| {
        for number in 1..CONTACTS_MAX {
            insert_account(db, &format!("x{number}"))?;
            let sql = "INSERT INTO contacts VALUES (?1, last_insert_rowid(), '', ?2, 0)";
            db.prepare_cached(sql)?
                .execute(params![super::column::Id(b.0), super::column::Id(conversation.0)])?;
        }
        Ok(())
    };
    store.write("fill a list", fill).await.unwrap();
    assert_eq!(shared.contacts(b).await.unwrap().len(), CONTACTS_MAX);
    let accept = shared.accept_contact(b, c, note(""), entry(2), NOW).await;
    assert_eq!(refused(accept), Code::TooMany);
    let d = person(&shared, "dave").await.id;
    let request = shared.request_contact(b, d, note(""), entry(3), NOW).await;
    assert_eq!(refused(request), Code::TooMany);
    shared.remove_contact(b, a, entry(4), NOW).await.unwrap();
    shared.accept_contact(b, c, note(""), entry(2), NOW).await.unwrap();
    let head = shared.heads(&[LogId::Personal(c)]).await.unwrap();
    assert_eq!(head, [Seq(2)]);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(
        &path,
        "milk, eggs, bread; and a line that is longer than a header\n".repeat(50),
    )
    .unwrap();
    assert!(Sqlite::open(&path).is_err());
    assert!(Sqlite::open(&folder.path().join("missing/skein.db")).is_err());
}

#[cfg(unix)]
#[test]
fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (_store, folder) = in_folder();
    for name in ["skein.db", "skein.db-wal"] {
        let mode = folder.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
