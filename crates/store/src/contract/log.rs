//! Stories about what goes into a log.

use std::sync::Arc;

use skein_core::{
    entry::{Attachment, Body, Picture},
    id::{AccountId, BlobId, ConversationId, LogId, Seq},
    name::{FileName, Text},
    policy::Membership,
    refusal::Code,
    time::Timestamp,
};

use super::scene::{
    NOW, befriend, bytes, entry, file, friends, person, picture, refused, uploaded, words,
};
use crate::Store;

pub(crate) async fn takes_entries_of_members_only(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let c = person(&store, "carol").await.id;
    for (number, author) in [(1, a), (2, b), (3, a)] {
        let draft = words(conversation, 100 + number, "hello");
        let appended = store.append(author, draft.clone(), NOW).await.unwrap();
        assert!(!appended.repeated);
        let entry = appended.entry;
        assert_eq!((entry.seq, entry.id, entry.author), (Seq(number), draft.id, author));
        assert_eq!((entry.at, entry.body), (NOW, Body::Text(Text::parse("hello").unwrap())));
    }
    let outsider = store.append(c, words(conversation, 1, "let me in"), NOW).await;
    assert_eq!(refused(outsider), Code::NotFound);
    for made_up in [ConversationId(99), ConversationId(u64::MAX)] {
        let append = store.append(a, words(made_up, 2, "anyone?"), NOW).await;
        assert_eq!(refused(append), Code::NotFound);
        assert_eq!(store.membership(a, made_up).await.unwrap(), Membership::Outsider);
        let page = store.read_after(LogId::Conversation(made_up), Seq::ZERO, 9).await.unwrap();
        assert_eq!((page.entries.len(), page.head), (0, Seq::ZERO));
    }
    assert_eq!(store.membership(c, conversation).await.unwrap(), Membership::Outsider);
    let heads = store.heads(&[LogId::Conversation(conversation)]).await.unwrap();
    assert_eq!(heads, [Seq(3)]);
}

pub(crate) async fn returns_the_first_result_to_a_retry(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let c = person(&store, "carol").await.id;
    let elsewhere = befriend(&store, a, c, 2).await;
    let draft = words(conversation, 10, "once");
    let first = store.append(a, draft.clone(), NOW).await.unwrap();
    let later = Timestamp(NOW.0 + 1);
    let again = store.append(a, draft.clone(), later).await.unwrap();
    assert_eq!((again.entry, again.repeated), (first.entry.clone(), true));

    for other in [words(conversation, 10, "twice"), words(elsewhere, 10, "once")] {
        assert_eq!(refused(store.append(a, other, NOW).await), Code::EntryConflict);
    }
    let of_another = store.append(b, draft.clone(), NOW).await.unwrap();
    assert!(!of_another.repeated, "the id is the author's own");
    assert_eq!(of_another.entry.seq, Seq(2));

    store.remove_contact(b, a, entry(3), NOW).await.unwrap();
    let after_the_end = store.append(a, draft, later).await.unwrap();
    assert_eq!((after_the_end.entry, after_the_end.repeated), (first.entry, true));
}

pub(crate) async fn describes_attachments_from_the_blob(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let c = person(&store, "carol").await.id;
    let with_carol = befriend(&store, b, c, 2).await;
    let photo = uploaded(&store, a, 1, Some((640, 480))).await;
    let report = uploaded(&store, a, 2, None).await;
    let attachment = |name: &str, blob| Attachment {
        blob,
        name: FileName::parse(name).unwrap(),
        size: photo.size,
        media_type: photo.media_type.clone(),
        hash: photo.hash,
    };

    let appended = store.append(a, picture(conversation, 10, photo.id), NOW).await.unwrap();
    let shown = Picture { attachment: attachment("photo.jpg", photo.id), width: 640, height: 480 };
    assert_eq!(appended.entry.body, Body::Picture(shown));
    let not_shown = store.append(a, picture(conversation, 11, report.id), NOW).await;
    assert_eq!(refused(not_shown), Code::BadPicture);
    let appended = store.append(a, file(conversation, 12, photo.id), NOW).await.unwrap();
    assert_eq!(appended.entry.body, Body::File(attachment("report.pdf", photo.id)));

    for blob in [report.id, BlobId(bytes(99))] {
        let of_another = store.append(b, file(conversation, 13, blob), NOW).await;
        assert_eq!(refused(of_another), Code::NotFound, "knowing a name grants nothing");
    }
    let forwarded = store.append(b, picture(with_carol, 14, photo.id), NOW).await.unwrap();
    assert_eq!(forwarded.entry.author, b);
    let page = store.read_after(LogId::Conversation(with_carol), Seq::ZERO, 9).await.unwrap();
    assert_eq!(page.entries, [forwarded.entry]);
}

pub(crate) async fn lists_conversations_with_heads(store: Arc<dyn Store>) {
    let (a, b, first) = friends(&store).await;
    let c = person(&store, "carol").await;
    let second = befriend(&store, c.id, a, 2).await;
    store.append(a, words(second, 10, "one"), NOW).await.unwrap();
    store.append(c.id, words(second, 11, "two"), NOW).await.unwrap();

    let listed = store.conversations(a).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|c| (c.id, c.peer.id, c.head)).collect();
    assert_eq!(ids, [(first, b, Seq::ZERO), (second, c.id, Seq(2))]);
    assert_eq!(listed[1].peer, c);
    assert!(store.conversations(AccountId(99)).await.unwrap().is_empty());

    let logs = [
        LogId::Conversation(second),
        LogId::Conversation(first),
        LogId::Personal(a),
        LogId::Personal(AccountId(u64::MAX)),
    ];
    let heads = store.heads(&logs).await.unwrap();
    assert_eq!(heads, [Seq(2), Seq::ZERO, Seq(4), Seq::ZERO]);
}
