//! Stories about contact steps that are taken twice, or too often.

use std::sync::Arc;

use skein_core::{
    contact::Relation,
    entry::Body,
    id::{AccountId, LogId, Seq},
    limit::PENDING_REQUESTS_MAX,
    refusal::Code,
    time::Timestamp,
};
use tokio::task::JoinSet;

use super::scene::{NOW, entry, note, person, refused};
use crate::Store;

/// People who ask at the same time.
const CROWD: usize = 16;

async fn heads(store: &Arc<dyn Store>, a: AccountId, b: AccountId) -> Vec<Seq> {
    store.heads(&[LogId::Personal(a), LogId::Personal(b)]).await.unwrap()
}

pub(crate) async fn changes_nothing(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    for round in 1..=2 {
        let step = store.request_contact(a, b, note("hi"), entry(1), NOW).await.unwrap();
        assert_eq!(step.committed.len(), if round == 1 { 2 } else { 0 });
    }
    let first = store.accept_contact(b, a, note("a"), entry(2), NOW).await.unwrap();
    let again = store.accept_contact(b, a, note("a"), entry(2), NOW).await.unwrap();
    assert_eq!((again.committed.len(), again.conversation), (0, first.conversation));
    // The request took effect, so its retry succeeds although it would be refused by now.
    let late = store.request_contact(a, b, note("hi"), entry(1), NOW).await.unwrap();
    assert_eq!((late.committed.len(), late.conversation), (0, first.conversation));
    for _ in 0..2 {
        store.remove_contact(a, b, entry(3), NOW).await.unwrap();
    }
    let late = store.accept_contact(b, a, note("a"), entry(2), NOW).await.unwrap();
    assert_eq!((late.committed.len(), late.conversation), (0, None), "it does not undo a removal");
    assert_eq!(store.relation(a, b).await.unwrap(), Relation::Stranger);
    assert_eq!(heads(&store, a, b).await, [Seq(3), Seq(3)]);
}

pub(crate) async fn is_told_from_another_step(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let c = person(&store, "carol").await.id;
    store.request_contact(a, b, note("hi"), entry(1), NOW).await.unwrap();
    let other_note = store.request_contact(a, b, note("hey"), entry(1), NOW).await;
    assert_eq!(refused(other_note), Code::EntryConflict);
    let other_peer = store.request_contact(a, c, note("hi"), entry(1), NOW).await;
    assert_eq!(refused(other_peer), Code::EntryConflict);
    let other_kind = store.remove_contact(a, b, entry(1), NOW).await;
    assert_eq!(refused(other_kind), Code::EntryConflict);
    // Ids are the business of whoever draws them: another person may draw the same.
    store.accept_contact(b, a, note(""), entry(1), NOW).await.unwrap();
}

pub(crate) async fn renews_a_greeting(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let later = Timestamp(NOW.0 + 1);
    store.request_contact(a, b, note("hi"), entry(1), NOW).await.unwrap();
    let same = store.request_contact(a, b, note("hi"), entry(2), later).await.unwrap();
    assert!(same.committed.is_empty(), "the same words are no news");
    let new = store.request_contact(a, b, note("hello?"), entry(3), later).await.unwrap();
    assert_eq!(new.committed.len(), 2);
    let waiting = store.contact_requests(b).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((&waiting[0].greeting, waiting[0].at), (&note("hello?"), later));
    let page = store.read_after(LogId::Personal(b), Seq(1), 10).await.unwrap();
    let Body::Contact(step) = &page.entries[0].body else { panic!("expected a step") };
    assert_eq!(step.note, note("hello?"));
}

pub(crate) async fn stops_at_the_limit_of_requests(store: Arc<dyn Store>) {
    let b = person(&store, "bob").await.id;
    let numbers: Vec<_> = (0..PENDING_REQUESTS_MAX).collect();
    // All at once would wait for one row for longer than a call may take on a slow machine.
    for crowd in numbers.chunks(CROWD) {
        let mut asking = JoinSet::new();
        for &number in crowd {
            let store = Arc::clone(&store);
            asking.spawn(async move {
                let from = person(&store, &format!("fan{number}")).await.id;
                store.request_contact(from, b, note(""), entry(1), NOW).await.unwrap();
            });
        }
        asking.join_all().await;
    }
    assert_eq!(store.contact_requests(b).await.unwrap().len(), PENDING_REQUESTS_MAX);
    let a = person(&store, "alice").await.id;
    let one_more = store.request_contact(a, b, note(""), entry(1), NOW).await;
    assert_eq!(refused(one_more), Code::TooMany);
    let head = store.heads(&[LogId::Personal(b)]).await.unwrap();
    assert_eq!(usize::try_from(head[0].0).unwrap(), PENDING_REQUESTS_MAX, "dense all the same");

    let fan = store.find_accounts("fan0", 1).await.unwrap()[0].id;
    store.decline_contact(b, fan, entry(2), NOW).await.unwrap();
    store.request_contact(a, b, note(""), entry(1), NOW).await.unwrap();
}
