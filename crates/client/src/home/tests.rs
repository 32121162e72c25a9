//! Homes survive being opened again, and several processes at once.

use std::os::unix::fs::PermissionsExt;

use skein_core::{
    account::Profile,
    contact::Conversation,
    entry::{Body, ContactStep, ContactStepKind, Content, Draft, Entry},
    id::{AccountId, BlobId, ConversationId, EntryId, LogId, Seq, UploadId},
    name::{MediaType, Note, Text, Username},
    port::{
        directory::{ChatNode, Trust},
        resource::Variant,
    },
    refusal::{Code, Refusal},
    time::Timestamp,
};

use super::*;

const SERVER: [u8; 16] = [7; 16];

fn login(account: u64, server: &str) -> Login {
    let trust = Trust::Fingerprints(vec![[1; 32], [2; 32]]);
    Login {
        server: server.to_owned(),
        account: Profile { id: AccountId(account), name: name(&format!("account{account}")) },
        token: "skein_secret".to_owned(),
        node: ChatNode { name: "a:1".to_owned(), address: "a:1".to_owned(), trust },
    }
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn draft(number: u8) -> Draft {
    let content = Content::Text(Text::parse(format!("number {number}")).unwrap());
    Draft { conversation: ConversationId(1), id: EntryId([number; 16]), content }
}

fn entry(seq: u64, body: Body) -> Entry {
    let id = EntryId([seq as u8; 16]);
    Entry { seq: Seq(seq), id, author: AccountId(2), at: Timestamp(seq), body }
}

fn text(seq: u64) -> Change {
    let log = LogId::Conversation(ConversationId(1));
    Change::Entry(log, entry(seq, Body::Text(Text::parse("x").unwrap())))
}

#[tokio::test]
async fn keeps_the_login_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("deep/home");
    let home = Home::open(&folder).unwrap();
    assert_eq!(home.login().await.unwrap(), None);
    let device = home.device().await.unwrap();
    home.log_in(login(1, "http://a"), SERVER).await.unwrap();
    let mut node = login(1, "http://a").node;
    node.trust = Trust::Authority { server_name: "chat.example.org".to_owned() };
    home.move_to(node.clone()).await.unwrap();

    let again = Home::open(&folder).unwrap();
    let expected = Login { node, ..login(1, "http://a") };
    assert_eq!(again.login().await.unwrap(), Some(expected.clone()));
    assert_eq!(again.device().await.unwrap(), device);
    assert!(!format!("{expected:?}").contains("secret"));
    for file in std::fs::read_dir(&folder).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may not read it");
    }
    again.log_out().await.unwrap();
    assert_eq!(home.login().await.unwrap(), None);
    assert_eq!(home.server().await.unwrap().as_deref(), Some("http://a"));
}

#[tokio::test]
async fn belongs_to_one_account_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    home.log_in(login(1, "http://a"), SERVER).await.unwrap();
    home.apply(vec![text(1)]).await.unwrap();
    home.keep_draft(draft(1)).await.unwrap();
    // Nothing that was written may be lost, or be sent by someone else.
    let wiped = [8; 16];
    for (other, server_id) in [
        (login(2, "http://a"), SERVER),
        (login(1, "http://b"), SERVER),
        (login(1, "http://a"), wiped),
    ] {
        let refused = home.log_in(other, server_id).await.unwrap_err();
        assert!(matches!(refused, Error::HomeTaken(name) if name == "account1"));
    }
    home.log_in(login(1, "http://a"), SERVER).await.unwrap();
    assert_eq!(home.cursors(AccountId(1)).await.unwrap().len(), 1);
    home.apply(vec![Change::Acked(draft(1).id)]).await.unwrap();
    home.log_in(login(2, "http://a"), SERVER).await.unwrap();
    assert!(home.cursors(AccountId(2)).await.unwrap().is_empty());
    // A server that was wiped gives the same numbers to other things.
    home.apply(vec![text(1)]).await.unwrap();
    home.log_in(login(2, "http://a"), wiped).await.unwrap();
    assert!(home.cursors(AccountId(2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn drafts_keep_their_order_and_are_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    for number in [3, 1, 2, 1] {
        home.keep_draft(draft(number)).await.unwrap();
    }
    home.apply(vec![Change::Acked(draft(1).id)]).await.unwrap();
    let again = Home::open(folder.path()).unwrap();
    assert_eq!(again.drafts().await.unwrap(), [draft(3), draft(2)]);
}

#[tokio::test]
async fn rejected_drafts_stay_until_somebody_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    let conversation = ConversationId(1);
    let bob = Profile { id: AccountId(9), name: name("Bob") };
    home.know(vec![Conversation { id: conversation, peer: bob, head: Seq(0) }]).await.unwrap();
    for number in 1..=2 {
        home.keep_draft(draft(number)).await.unwrap();
    }
    let refusal = Refusal::new(Code::NotContacts, "you are not contacts");
    let rejected = |number| Change::Rejected(draft(number).id, refusal.clone());
    home.apply(vec![rejected(2), rejected(1)]).await.unwrap();
    assert!(home.drafts().await.unwrap().is_empty());

    let again = Home::open(folder.path()).unwrap();
    let expected = [2, 1].map(|number| Rejected {
        id: draft(number).id,
        conversation,
        peer: Some("Bob".to_owned()),
        content: draft(number).content,
        refusal: refusal.clone(),
    });
    assert_eq!(again.rejected().await.unwrap(), expected);
    // Another process hears the same: told once is told.
    home.forget_rejected(vec![draft(2).id, draft(1).id]).await.unwrap();
    again.apply(vec![rejected(2)]).await.unwrap();
    assert!(again.rejected().await.unwrap().is_empty());
}

#[tokio::test]
async fn logs_have_no_gap_whoever_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Home::open(folder.path()).unwrap(), Home::open(folder.path()).unwrap());
    one.apply(vec![text(5), text(6)]).await.unwrap();
    two.apply(vec![text(6), text(7)]).await.unwrap();
    two.apply(vec![text(9)]).await.unwrap();
    one.apply(vec![text(7), text(8)]).await.unwrap();
    let log = LogId::Conversation(ConversationId(1));
    assert_eq!(one.cursors(AccountId(1)).await.unwrap(), [(log, Seq(8))]);
    let seqs = |stretch: &logs::Stretch| {
        stretch.entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>()
    };
    let all = one.entries_before(log, None, 100).await.unwrap();
    assert_eq!((seqs(&all), all.floor), (vec![5, 6, 7, 8], Seq(4)));
    let some = one.entries_before(log, Some(Seq(8)), 2).await.unwrap();
    assert_eq!(seqs(&some), [6, 7]);
}

#[tokio::test]
async fn an_acceptance_names_a_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    let step = |kind, conversation| {
        Body::Contact(ContactStep {
            kind,
            peer: AccountId(9),
            peer_name: name("Bob"),
            by_me: true,
            note: Note::parse("").unwrap(),
            conversation,
        })
    };
    let log = LogId::Personal(AccountId(1));
    let asked = entry(1, step(ContactStepKind::Requested, None));
    home.apply(vec![Change::Entry(log, asked)]).await.unwrap();
    assert_eq!(home.conversation_with(&name("bob")).await.unwrap(), None);
    let accepted = entry(2, step(ContactStepKind::Accepted, Some(ConversationId(4))));
    let removed = entry(3, step(ContactStepKind::Removed, None));
    let changes = [accepted, removed].map(|entry| Change::Entry(log, entry));
    home.apply(changes.to_vec()).await.unwrap();
    let bob = Profile { id: AccountId(9), name: name("Bob") };
    let found = home.conversation_with(&name("BOB")).await.unwrap();
    assert_eq!(found, Some((ConversationId(4), bob.clone())));
    assert_eq!(home.peer_of(ConversationId(4)).await.unwrap(), Some(bob.clone()));
    assert_eq!(home.person(AccountId(9)).await.unwrap(), Some(bob));
}

#[tokio::test]
async fn transfers_are_remembered_until_they_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    let record = UploadRecord {
        path: "/a".to_owned(),
        conversation: ConversationId(1),
        size: 5,
        mtime_ns: 6,
        hash: [7; 32],
        media_type: MediaType::parse("image/png").unwrap(),
        upload: UploadId([8; 16]),
        entry: EntryId([9; 16]),
    };
    home.keep_upload(record.clone()).await.unwrap();
    let found = home.upload("/a".to_owned(), ConversationId(1)).await.unwrap();
    assert_eq!(found, Some(record.clone()));
    assert_eq!(home.upload("/a".to_owned(), ConversationId(2)).await.unwrap(), None);
    // A refusal leaves it: a repeat sends the file again, as the same message.
    let draft = Draft { id: record.entry, ..draft(1) };
    let refusal = Refusal::not_found("file");
    home.keep_draft(draft.clone()).await.unwrap();
    home.apply(vec![Change::Rejected(draft.id, refusal)]).await.unwrap();
    assert!(home.upload("/a".to_owned(), ConversationId(1)).await.unwrap().is_some());
    home.keep_draft(draft.clone()).await.unwrap();
    assert!(home.rejected().await.unwrap().is_empty());
    home.apply(vec![Change::Acked(draft.id)]).await.unwrap();
    assert_eq!(home.upload("/a".to_owned(), ConversationId(1)).await.unwrap(), None);
    home.keep_upload(record.clone()).await.unwrap();
    home.forget_upload(record.upload).await.unwrap();
    assert_eq!(home.upload("/a".to_owned(), ConversationId(1)).await.unwrap(), None);

    let (blob, path) = (BlobId([1; 16]), || "/b.part".to_owned());
    home.keep_download(path(), blob, Variant::Original).await.unwrap();
    assert_eq!(home.part_at(path()).await.unwrap(), Some((blob, Variant::Original)));
    assert_eq!(home.part_at("/c.part".to_owned()).await.unwrap(), None);
    home.keep_download(path(), blob, Variant::Thumbnail).await.unwrap();
    assert_eq!(home.part_at(path()).await.unwrap(), Some((blob, Variant::Thumbnail)));
    home.forget_download(path()).await.unwrap();
    assert_eq!(home.part_at(path()).await.unwrap(), None);
}
