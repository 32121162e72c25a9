//! Stories about the order of a log: dense whatever happens around it, and read in pages.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use skein_core::{
    entry::{Body, Entry},
    id::{ConversationId, LogId, Seq},
    limit::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, TEXT_BYTES_MAX},
    refusal::Code,
};
use tokio::task::JoinSet;

use super::scene::{NOW, befriend, friends, person, refused, words};
use crate::Store;

/// Authors that append at the same time.
const TASKS: u64 = 16;
/// What each of them appends.
const ENTRIES_A_TASK: u64 = 24;

async fn whole(store: &Arc<dyn Store>, conversation: ConversationId) -> Vec<Entry> {
    let log = LogId::Conversation(conversation);
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(Seq::ZERO, |entry| entry.seq);
        let page = store.read_after(log, after, usize::MAX).await.unwrap();
        entries.extend(page.entries);
        if entries.last().map_or(Seq::ZERO, |entry| entry.seq) == page.head {
            return entries;
        }
    }
}

fn assert_dense(entries: &[Entry]) {
    for (expected, entry) in (1..).zip(entries) {
        assert_eq!(entry.seq, Seq(expected));
    }
}

pub(crate) async fn is_dense_under_concurrent_appends(store: Arc<dyn Store>) {
    let (a, b, first) = friends(&store).await;
    let c = person(&store, "carol").await.id;
    let second = befriend(&store, a, c, 2).await;
    let mut appending = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        appending.spawn(async move {
            for number in 0..ENTRIES_A_TASK {
                let (author, conversation) = match task % 4 {
                    0 => (a, first),
                    1 => (b, first),
                    2 => (a, second),
                    _ => (c, second),
                };
                let id = 1000 * (task + 1) + number;
                let draft = words(conversation, id, &format!("{task} {number}"));
                let appended = store.append(author, draft.clone(), NOW).await.unwrap();
                let again = store.append(author, draft, NOW).await.unwrap();
                assert_eq!((again.entry, again.repeated), (appended.entry, true));
            }
        });
    }
    appending.join_all().await;

    for conversation in [first, second] {
        let entries = whole(&store, conversation).await;
        assert_eq!(entries.len() as u64, TASKS / 2 * ENTRIES_A_TASK, "each once");
        assert_dense(&entries);
        let mut next = HashMap::new();
        for entry in entries {
            let Body::Text(text) = entry.body else { panic!("expected a text") };
            let (task, number) = text.as_str().split_once(' ').unwrap();
            let expected = next.entry(task.to_owned()).or_insert(0);
            assert_eq!(number.parse::<u64>().unwrap(), *expected, "in order for each task");
            *expected += 1;
        }
    }
}

pub(crate) async fn survives_refused_neighbours(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let stranger = person(&store, "mallory").await.id;
    store.append(b, words(conversation, 1, "first"), NOW).await.unwrap();
    let mut appending = JoinSet::new();
    for number in 0..60 {
        let store = Arc::clone(&store);
        appending.spawn(async move {
            match number % 3 {
                0 => {
                    let draft = words(conversation, 100 + number, "fine");
                    assert!(!store.append(a, draft, NOW).await.unwrap().repeated);
                }
                1 => {
                    let draft = words(conversation, 100 + number, "not a member");
                    assert_eq!(refused(store.append(stranger, draft, NOW).await), Code::NotFound);
                }
                _ => {
                    let draft = words(conversation, 1, "another text");
                    assert_eq!(refused(store.append(b, draft, NOW).await), Code::EntryConflict);
                }
            }
        });
    }
    appending.join_all().await;
    let entries = whole(&store, conversation).await;
    assert_dense(&entries);
    assert_eq!(entries.len(), 21);
}

pub(crate) async fn is_read_in_pages(store: Arc<dyn Store>) {
    let (a, _, conversation) = friends(&store).await;
    let log = LogId::Conversation(conversation);
    let count = PAGE_ENTRIES_MAX as u64 + 10;
    let mut appending = JoinSet::new();
    for number in 1..=count {
        let store = Arc::clone(&store);
        appending.spawn(async move {
            store.append(a, words(conversation, number, "text"), NOW).await.unwrap();
        });
    }
    appending.join_all().await;

    let seqs = |entries: &[Entry]| entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>();
    const NONE: RangeInclusive<u64> = RangeInclusive::new(1, 0);
    for (after, limit, expected) in [
        (0, 3, 1..=3),
        (2, 2, 3..=4),
        (0, 0, 1..=1),
        (0, usize::MAX, 1..=PAGE_ENTRIES_MAX as u64),
        (count - 1, 9, count..=count),
        (count, 9, NONE),
        (u64::MAX, 9, NONE),
    ] {
        let page = store.read_after(log, Seq(after), limit).await.unwrap();
        assert_eq!(seqs(&page.entries), expected.collect::<Vec<_>>(), "after {after}");
        assert_eq!(page.head, Seq(count));
    }
    for (before, limit, expected) in [
        (4, 2, 2..=3),
        (3, 9, 1..=2),
        (1, 9, NONE),
        (0, 9, NONE),
        (u64::MAX, 2, count - 1..=count),
        (u64::MAX, usize::MAX, 11..=count),
    ] {
        let page = store.read_before(log, Seq(before), limit).await.unwrap();
        assert_eq!(seqs(&page.entries), expected.collect::<Vec<_>>(), "before {before}");
        assert_eq!(page.head, Seq(count));
    }
    assert_dense(&whole(&store, conversation).await);
}

pub(crate) async fn bounds_pages_in_bytes(store: Arc<dyn Store>) {
    let (a, _, conversation) = friends(&store).await;
    let log = LogId::Conversation(conversation);
    let long = "x".repeat(TEXT_BYTES_MAX);
    let fitting = (PAGE_BYTES_MAX / TEXT_BYTES_MAX) as u64;
    for number in 1..=fitting + 1 {
        store.append(a, words(conversation, number, &long), NOW).await.unwrap();
    }
    let page = store.read_after(log, Seq::ZERO, 100).await.unwrap();
    let bytes: usize =
        page.entries.iter().map(|entry| skein_wire::body::encode(&entry.body).len()).sum();
    assert!(bytes <= PAGE_BYTES_MAX && page.entries.len() > 1);
    assert_eq!(page.entries[0].seq, Seq(1));
    let newest = store.read_before(log, Seq(u64::MAX), 100).await.unwrap();
    assert_eq!(newest.entries.last().unwrap().seq, newest.head, "the newest are kept");
    assert_eq!(newest.entries.len(), page.entries.len());
    assert_eq!(whole(&store, conversation).await.len() as u64, fitting + 1);
}
