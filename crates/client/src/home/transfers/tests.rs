//! The queue in the home: what anybody may write, and what stays.

use skein_core::{entry::Draft, name::Text, transfer::TransferState as State};

use super::*;
use crate::home::Change;

const OPEN: &[State] =
    &[State::Queued, State::Hashing, State::Running, State::Waiting, State::Paused, State::Failed];

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    (folder, home)
}

fn send(number: u8) -> Task {
    Task::Send {
        conversation: ConversationId(1),
        mtime_ns: 5,
        upload: UploadId([number; 16]),
        entry: EntryId([number; 16]),
    }
}

fn fetch(number: u8) -> Task {
    let attachment = Attachment {
        blob: skein_core::id::BlobId([number; 16]),
        name: skein_core::name::FileName::parse("a").unwrap(),
        size: 7,
        media_type: skein_core::name::MediaType::parse("image/png").unwrap(),
        hash: [number; 32],
    };
    Task::Fetch { attachment, variant: Variant::Thumbnail, replace: true }
}

async fn state(home: &Home, id: TransferId) -> State {
    home.transfer(id).await.unwrap().unwrap().shown.state
}

#[tokio::test]
async fn the_same_is_queued_once_and_read_back_as_it_was() {
    let (_folder, home) = home();
    let up = home.queue("/a".to_owned(), 3, send(1)).await.unwrap();
    let down = home.queue("/b".to_owned(), 7, fetch(2)).await.unwrap();
    assert_eq!(home.queue("/a".to_owned(), 3, send(9)).await.unwrap(), up);
    assert_eq!(home.queue("/b".to_owned(), 7, fetch(2)).await.unwrap(), down);
    let other = home.queue("/b".to_owned(), 7, fetch(3)).await.unwrap_err();
    assert!(matches!(other, Error::InQueue(id) if id == down));
    let rows = home.transfers().await.unwrap();
    let tasks: Vec<_> = rows.iter().map(|row| row.task.clone()).collect();
    assert_eq!(tasks, [send(1), fetch(2)]);
    assert_eq!((rows[0].shown.size, rows[0].shown.state), (3, State::Queued));
    let conversation = ConversationId(1);
    assert_eq!(home.queued_upload("/a".to_owned(), conversation).await.unwrap(), Some(up));
    assert_eq!(home.queued_download("/b".to_owned()).await.unwrap(), Some(down));
    // Once it is over, it can be queued again.
    assert!(home.wish(up, OPEN, State::Cancelled).await.unwrap());
    assert_ne!(home.queue("/a".to_owned(), 3, send(1)).await.unwrap(), up);
}

#[tokio::test]
async fn what_somebody_wants_is_not_written_over_by_a_try() {
    let (_folder, home) = home();
    let id = home.queue("/a".to_owned(), 3, send(1)).await.unwrap();
    home.keep_transfer(id, State::Running, None).await.unwrap();
    assert!(home.wish(id, OPEN, State::Paused).await.unwrap());
    for kept in [State::Running, State::Waiting, State::Failed] {
        home.keep_transfer(id, kept, None).await.unwrap();
        assert_eq!(state(&home, id).await, State::Paused);
    }
    home.no_transfer_runs().await.unwrap();
    assert_eq!(state(&home, id).await, State::Paused);
    // But done is done.
    home.keep_transfer(id, State::Done, None).await.unwrap();
    assert_eq!(state(&home, id).await, State::Done);
    assert!(!home.wish(id, OPEN, State::Cancelled).await.unwrap());
    let nobody = home.wish(TransferId(99), OPEN, State::Paused).await;
    assert!(matches!(nobody, Err(Error::NoSuchTransfer(TransferId(99)))));
}

#[tokio::test]
async fn the_server_is_told_of_what_nobody_wants() {
    let (_folder, home) = home();
    let id = home.queue("/a".to_owned(), 3, send(1)).await.unwrap();
    assert!(home.wish(id, OPEN, State::Cancelled).await.unwrap());
    assert!(!home.dismiss_transfer(id).await.unwrap(), "not before the server knows");
    let unwanted = home.unwanted_uploads().await.unwrap();
    assert_eq!(unwanted, [(id, UploadId([1; 16]))]);
    home.upload_discarded(UploadId([1; 16])).await.unwrap();
    assert!(home.unwanted_uploads().await.unwrap().is_empty());
    assert!(home.dismiss_transfer(id).await.unwrap());
    // Of a file that is another one by now, the server keeps nothing either.
    let id = home.queue("/b".to_owned(), 3, send(2)).await.unwrap();
    let failure = Failure::from(&Error::FileChanged("/b".into()));
    home.keep_transfer(id, State::Failed, Some(failure.clone())).await.unwrap();
    let row = home.transfer(id).await.unwrap().unwrap();
    assert_eq!((row.shown.state, row.shown.failure), (State::Failed, Some(failure)));
    assert_eq!(home.unwanted_uploads().await.unwrap().len(), 1);
    home.renew_transfer(id, 4, 6, UploadId([3; 16])).await.unwrap();
    let row = home.transfer(id).await.unwrap().unwrap();
    let Task::Send { upload, mtime_ns, .. } = row.task else { panic!("it is sent") };
    assert_eq!((row.shown.size, mtime_ns, upload), (4, 6, UploadId([3; 16])));
}

#[tokio::test]
async fn a_message_in_its_log_means_done_in_whatever_process() {
    let (_folder, home) = home();
    let id = home.queue("/a".to_owned(), 3, send(1)).await.unwrap();
    let content = skein_core::entry::Content::Text(Text::parse("x").unwrap());
    let entry = EntryId([1; 16]);
    let draft = Draft { conversation: ConversationId(1), id: entry, content };
    home.keep_draft(draft).await.unwrap();
    assert!(!home.wish(id, OPEN, State::Cancelled).await.unwrap(), "it is on its way");
    home.apply(vec![Change::Acked(entry)]).await.unwrap();
    let shown = home.transfer(id).await.unwrap().unwrap().shown;
    assert_eq!((shown.state, shown.done), (State::Done, 3));
}

#[tokio::test]
async fn no_message_follows_a_file_that_was_paused_or_cancelled() {
    let (_folder, home) = home();
    let id = home.queue("/a".to_owned(), 3, send(1)).await.unwrap();
    let content = skein_core::entry::Content::Text(Text::parse("x").unwrap());
    let draft = Draft { conversation: ConversationId(1), id: EntryId([1; 16]), content };
    for state in [State::Paused, State::Cancelled] {
        assert!(home.wish(id, OPEN, state).await.unwrap());
        let refused = home.keep_draft(draft.clone()).await;
        assert!(matches!(refused, Err(Error::TransferOver(over)) if over == id));
        assert!(home.drafts().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn one_process_at_a_time_has_the_right_to_carry_it_out() {
    let (folder, home) = home();
    let other = Home::open(folder.path()).unwrap();
    let right = home.try_carry_out().unwrap();
    assert!(right.is_some() && other.try_carry_out().unwrap().is_none());
    drop(right);
    assert!(other.try_carry_out().unwrap().is_some());
}

#[tokio::test]
async fn a_list_of_what_is_over_has_an_end() {
    let (_folder, home) = home();
    for number in 0..=OVER_KEPT_MAX {
        let id = home.queue(format!("/{number}"), 1, send(0)).await.unwrap();
        home.keep_transfer(id, State::Done, None).await.unwrap();
    }
    let all = home.transfers().await.unwrap();
    assert_eq!(all.len() as u64, OVER_KEPT_MAX);
    assert_eq!(all[0].shown.id, TransferId(2));
}
