//! Stories about how two people become contacts, and stop being so.

use std::sync::Arc;

use skein_core::{
    contact::Relation,
    entry::{Body, ContactStep, ContactStepKind},
    id::{AccountId, LogId, Seq},
    policy::Membership,
    refusal::Code,
    time::Timestamp,
};

use super::scene::{NOW, befriend, entry, friends, note, person, refused, words};
use crate::{Store, contact::Step};

/// The last step in someone's personal log.
async fn last_step(store: &Arc<dyn Store>, of: AccountId) -> ContactStep {
    let page = store.read_before(LogId::Personal(of), Seq(u64::MAX), 1).await.unwrap();
    match page.entries.into_iter().next().unwrap().body {
        Body::Contact(step) => step,
        other => panic!("expected a step, got {other:?}"),
    }
}

pub(crate) async fn begins_with_a_request_and_its_acceptance(store: Arc<dyn Store>) {
    let alice = person(&store, "Alice").await;
    let bob = person(&store, "bob").await;
    let (a, b) = (alice.id, bob.id);
    let step = store.request_contact(a, b, note("it is me"), entry(1), NOW).await.unwrap();
    assert_eq!((step.committed.len(), step.conversation), (2, None));
    assert_eq!(store.relation(a, b).await.unwrap(), Relation::AskedThem);
    assert_eq!(store.relation(b, a).await.unwrap(), Relation::AskedByThem);
    let mine = last_step(&store, a).await;
    assert_eq!((mine.kind, mine.peer, mine.by_me), (ContactStepKind::Requested, b, true));
    let theirs = last_step(&store, b).await;
    assert_eq!((theirs.peer, theirs.by_me, theirs.note), (a, false, note("it is me")));
    assert_eq!(theirs.peer_name, alice.name);
    for (of, peer, incoming) in [(a, &bob, false), (b, &alice, true)] {
        let waiting = store.contact_requests(of).await.unwrap();
        let [request] = waiting.as_slice() else { panic!("expected one, got {waiting:?}") };
        assert_eq!((&request.profile, request.incoming), (peer, incoming));
        assert_eq!((&request.greeting, request.at), (&note("it is me"), NOW));
    }

    let later = Timestamp(NOW.0 + 5);
    let step = store.accept_contact(b, a, note("my neighbour"), entry(2), later).await.unwrap();
    let conversation = step.conversation.unwrap();
    let logs: Vec<_> = step.committed.iter().map(|c| (c.log, c.entry.seq)).collect();
    assert_eq!(logs, [(LogId::Personal(b), Seq(2)), (LogId::Personal(a), Seq(2))]);
    assert_ne!(step.committed[0].entry.id, step.committed[1].entry.id);
    // A remark is for the eyes of the one who made it.
    assert_eq!(last_step(&store, b).await.note, note("my neighbour"));
    let told = last_step(&store, a).await;
    assert_eq!((told.kind, told.by_me), (ContactStepKind::Accepted, false));
    assert_eq!((told.note, told.conversation), (note(""), Some(conversation)));
    for (of, peer, remark) in [(a, &bob, ""), (b, &alice, "my neighbour")] {
        assert_eq!(store.relation(of, peer.id).await.unwrap(), Relation::Contact);
        assert!(store.contact_requests(of).await.unwrap().is_empty());
        let contacts = store.contacts(of).await.unwrap();
        let [contact] = contacts.as_slice() else { panic!("expected one, got {contacts:?}") };
        assert_eq!((&contact.profile, &contact.remark), (peer, &note(remark)));
        assert_eq!((contact.conversation, contact.since), (conversation, later));
        let membership = store.membership(of, conversation).await.unwrap();
        assert_eq!(membership, Membership::Active);
    }
}

pub(crate) async fn begins_when_both_have_asked(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    store.request_contact(a, b, note("hi"), entry(1), NOW).await.unwrap();
    let step = store.request_contact(b, a, note("hi too"), entry(2), NOW).await.unwrap();
    assert!(step.conversation.is_some());
    assert_eq!(store.relation(a, b).await.unwrap(), Relation::Contact);
    assert!(store.contact_requests(a).await.unwrap().is_empty());
    let mine = last_step(&store, b).await;
    assert_eq!((mine.kind, mine.note, mine.by_me), (ContactStepKind::Accepted, note(""), true));
    assert!(!last_step(&store, a).await.by_me);
}

pub(crate) async fn is_declined(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    store.request_contact(a, b, note("hi"), entry(1), NOW).await.unwrap();
    let step = store.decline_contact(b, a, entry(2), NOW).await.unwrap();
    assert_eq!((step.committed.len(), step.conversation), (2, None));
    assert_eq!(store.relation(a, b).await.unwrap(), Relation::Stranger);
    assert!(store.contact_requests(b).await.unwrap().is_empty());
    assert_eq!(last_step(&store, a).await.kind, ContactStepKind::Declined);
    store.request_contact(a, b, note("please"), entry(3), NOW).await.unwrap();
    assert_eq!(store.relation(b, a).await.unwrap(), Relation::AskedByThem);
}

pub(crate) async fn is_removed_and_begins_again(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    store.append(a, words(conversation, 10, "before"), NOW).await.unwrap();
    let step = store.remove_contact(b, a, entry(2), NOW).await.unwrap();
    assert_eq!((step.committed.len(), step.conversation), (2, None));
    assert_eq!(last_step(&store, a).await.conversation, Some(conversation));
    for (of, other) in [(a, b), (b, a)] {
        assert!(store.contacts(of).await.unwrap().is_empty());
        assert_eq!(store.relation(of, other).await.unwrap(), Relation::Stranger);
        let membership = store.membership(of, conversation).await.unwrap();
        assert_eq!(membership, Membership::Dormant);
        assert_eq!(store.conversations(of).await.unwrap().len(), 1, "it stays readable");
        let append = store.append(of, words(conversation, 11, "after"), NOW).await;
        assert_eq!(refused(append), Code::NotContacts);
    }

    assert_eq!(befriend(&store, a, b, 3).await, conversation, "it is woken");
    let appended = store.append(b, words(conversation, 12, "again"), NOW).await.unwrap();
    assert_eq!(appended.entry.seq, Seq(2));
}

pub(crate) async fn is_refused_as_the_policy_says(store: Arc<dyn Store>) {
    let (a, b, _) = friends(&store).await;
    let c = person(&store, "carol").await.id;
    let request = async |from, to| {
        refused::<Step>(store.request_contact(from, to, note(""), entry(50), NOW).await)
    };
    assert_eq!(request(a, a).await, Code::Invalid);
    assert_eq!(request(a, b).await, Code::AlreadyContacts);
    assert_eq!(request(a, AccountId(99)).await, Code::NotFound);
    assert_eq!(request(a, AccountId(u64::MAX)).await, Code::NotFound);
    let accept = async |by, asker| {
        refused::<Step>(store.accept_contact(by, asker, note(""), entry(51), NOW).await)
    };
    assert_eq!(accept(a, c).await, Code::NotFound);
    assert_eq!(accept(a, b).await, Code::AlreadyContacts);
    let decline = store.decline_contact(a, c, entry(52), NOW).await;
    assert_eq!(refused(decline), Code::NotFound);
    let remove = store.remove_contact(a, c, entry(53), NOW).await;
    assert_eq!(refused(remove), Code::NotContacts);

    store.request_contact(a, c, note(""), entry(54), NOW).await.unwrap();
    assert_eq!(accept(a, c).await, Code::NotFound, "one cannot answer one's own request");
    let heads = store.heads(&[LogId::Personal(a), LogId::Personal(c)]).await.unwrap();
    assert_eq!(heads, [Seq(3), Seq(1)], "what was refused left nothing behind");
}
