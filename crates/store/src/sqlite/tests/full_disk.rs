//! A disk that fills up under the store: what was acknowledged stays, reads go on, and so do writes
//! as soon as there is room.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use skein_core::{
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    limit::TEXT_BYTES_MAX,
    refusal::Code,
};
use skein_testkit::disk::SmallDisk;
use tokio::task::JoinSet;

use super::super::Sqlite;
use crate::{
    Store, StoreError,
    contract::scene::{NOW, friends, words},
    instance::Instance,
    log::Logs,
};

/// Room for the write-ahead log to reach the size at which it is moved into the file, for the file
/// to grow so, and not for that a second time.
const DISK_BYTES: u64 = 40 * 1024 * 1024;
/// Room that comes back.
const SPARE_BYTES: usize = 24 * 1024 * 1024;
/// Appends under way at a time.
const TOGETHER: u64 = 32;

/// What is told apart in these tests: which number became which entry.
type Acknowledged = BTreeMap<EntryId, Seq>;

struct Writer {
    store: Arc<dyn Store>,
    conversation: ConversationId,
    text: String,
    next: u64,
}

impl Writer {
    async fn new(sqlite: &Arc<Sqlite>) -> (Self, AccountId) {
        let store: Arc<dyn Store> = Arc::clone(sqlite) as _;
        let (author, _, conversation) = friends(&store).await;
        (Self { store, conversation, text: "x".repeat(TEXT_BYTES_MAX), next: 100 }, author)
    }

    /// Some appends at once. What was acknowledged is added; answers how many were not.
    async fn append(&mut self, author: AccountId, acknowledged: &mut Acknowledged) -> usize {
        let mut appends = JoinSet::new();
        for number in self.next..self.next + TOGETHER {
            let store = Arc::clone(&self.store);
            let draft = words(self.conversation, number, &self.text);
            appends.spawn(async move { store.append(author, draft, NOW).await });
        }
        self.next += TOGETHER;
        let mut refused = 0;
        while let Some(appended) = appends.join_next().await {
            match appended.expect("no panic") {
                Ok(appended) => {
                    acknowledged.insert(appended.entry.id, appended.entry.seq);
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
                    let refusal = error.into_refusal();
                    assert_eq!(refusal.code, Code::Unavailable);
                    assert!(refusal.retry_after.is_some());
                    refused += 1;
                }
            }
        }
        refused
    }
}

/// All entries of the conversation: dense, and none twice.
async fn entries(store: &dyn Logs, conversation: ConversationId) -> Acknowledged {
    let log = LogId::Conversation(conversation);
    let mut found = Acknowledged::new();
    let mut after = Seq::ZERO;
    loop {
        let page = store.read_after(log, after, 100).await.expect("reads go on");
        for entry in page.entries {
            assert_eq!(entry.seq, Seq(after.0 + 1), "no gap");
            after = entry.seq;
            assert!(found.insert(entry.id, entry.seq).is_none(), "not twice");
        }
        if after == page.head {
            return found;
        }
    }
}

/// What a kill at this moment would leave behind, opened on another disk.
async fn after_a_kill(folder: &Path, conversation: ConversationId) -> Acknowledged {
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["skein.db", "skein.db-wal"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).expect("both are there");
    }
    let store = super::open(copy.path());
    entries(&store, conversation).await
}

fn contains(all: &Acknowledged, some: &Acknowledged) -> bool {
    some.iter().all(|(id, seq)| all.get(id) == Some(seq))
}

#[tokio::test]
async fn loses_nothing_and_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount(DISK_BYTES + SPARE_BYTES as u64);
    disk.take(SPARE_BYTES);
    let sqlite = Arc::new(super::open(disk.path()));
    let (mut writer, author) = Writer::new(&sqlite).await;
    let conversation = writer.conversation;
    let mut acknowledged = Acknowledged::new();
    while writer.append(author, &mut acknowledged).await == 0 {}
    let bytes = acknowledged.len() * TEXT_BYTES_MAX;
    assert!(bytes as u64 > DISK_BYTES / 4, "{bytes} bytes fitted");

    for _ in 0..3 {
        writer.append(author, &mut acknowledged).await;
        let found = entries(&*sqlite, conversation).await;
        assert_eq!(found, acknowledged, "what was not acknowledged was taken back");
    }
    let left = after_a_kill(disk.path(), conversation).await;
    assert!(contains(&left, &acknowledged), "a kill on the full disk loses nothing");

    disk.free();
    for _ in 0..8 {
        assert_eq!(writer.append(author, &mut acknowledged).await, 0, "there is room again");
    }
    assert_eq!(entries(&*sqlite, conversation).await, acknowledged);
    sqlite.close().await;
    drop((writer, sqlite));
    let wal = disk.path().join("skein.db-wal");
    assert!(!wal.exists(), "the write-ahead log was moved into the file");
    assert_eq!(entries(&super::open(disk.path()), conversation).await, acknowledged);
}

#[tokio::test]
async fn says_what_is_wrong_at_work_and_at_the_start() {
    let disk = SmallDisk::mount(4 * 1024 * 1024);
    let sqlite = Arc::new(super::open(disk.path()));
    let (mut writer, author) = Writer::new(&sqlite).await;
    let mut acknowledged = Acknowledged::new();
    writer.append(author, &mut acknowledged).await;
    disk.fill();
    while writer.append(author, &mut acknowledged).await == 0 {}
    let error = writer.store.set_password(author, "x".repeat(1 << 20)).await.unwrap_err();
    let StoreError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("the disk is full"), "{source}");
    let error = sqlite.usable().await.unwrap_err();
    let StoreError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "the disk is full");
    disk.free();
    // It is too small a disk for a try that says much, so that the next write has to show it.
    assert!(sqlite.usable().await.is_err());
    assert_eq!(writer.append(author, &mut acknowledged).await, 0);
    sqlite.usable().await.unwrap();
    assert_eq!(entries(&*sqlite, writer.conversation).await, acknowledged);

    // A start on a full disk is refused with the same words, and harms nothing.
    let conversation = writer.conversation;
    sqlite.close().await;
    drop((writer, sqlite));
    disk.fill();
    let error = Sqlite::open(&disk.path().join("skein.db")).err().expect("there is no room");
    let StoreError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("the disk is full"), "{source}");
    disk.free();
    assert_eq!(entries(&super::open(disk.path()), conversation).await, acknowledged);
}

#[tokio::test]
async fn is_usable_again_as_soon_as_there_is_room_though_nobody_writes() {
    let disk = SmallDisk::mount(DISK_BYTES);
    let sqlite = Arc::new(super::open(disk.path()));
    let (writer, author) = Writer::new(&sqlite).await;
    disk.fill();
    assert_eq!(sqlite.usable().await.ok(), Some(()), "nothing was refused yet");
    writer.store.set_password(author, "x".repeat(1 << 20)).await.unwrap_err();
    assert!(sqlite.usable().await.is_err());
    disk.free();
    sqlite.usable().await.unwrap();
}
