//! A backup of a store with files, while one of them goes away, and what is restored from it.

use skein_core::{
    entry::{Content, Draft},
    id::EntryId,
    name::{Email, FileName, MediaType, Note, Username},
    port::resource::UploadSpec,
};
use skein_store::{
    account::NewAccount,
    contact::Contacts,
    instance::Instance,
    log::Logs,
    upload::{Quota, Uploads},
};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const ROOM: Quota = Quota { bytes: u64::MAX, open_uploads: 10 };

/// A data folder with an account.
struct Scene {
    folder: TempDir,
    store: Sqlite,
    account: AccountId,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let taken = DataFolder::take(&data).unwrap();
        let store = Sqlite::open(&taken.store()).unwrap();
        let new = NewAccount {
            name: Username::parse("alice").unwrap(),
            email: Email::parse("alice@example.org").unwrap(),
            password_hash: "x".into(),
        };
        let account = store.create_account(new, NOW).await.unwrap().id;
        Self { folder, store, account }
    }

    fn blobs(&self) -> PathBuf {
        self.folder.path().join("data/blobs")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An upload as the resource role would have left it: complete or not.
    async fn file(&self, byte: u8, complete: bool) -> BlobId {
        let (id, blob) = (skein_core::id::UploadId([byte; 16]), BlobId([byte; 16]));
        let spec = UploadSpec {
            id,
            size: 5,
            media_type: MediaType::parse("text/plain").unwrap(),
            hash: [byte; 32],
        };
        self.store.open_upload(self.account, spec, blob, ROOM, NOW).await.unwrap();
        let path = place(&self.blobs(), blob, complete);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, [byte; 5]).unwrap();
        if complete {
            self.store.complete_upload(self.account, id, blob, None, NOW).await.unwrap();
        }
        blob
    }
}

impl Scene {
    /// Messages to a contact, with these files.
    async fn refer_to(&self, files: &[BlobId]) {
        let bob = NewAccount {
            name: Username::parse("bob").unwrap(),
            email: Email::parse("bob@example.org").unwrap(),
            password_hash: "x".into(),
        };
        let bob = self.store.create_account(bob, NOW).await.unwrap().id;
        let note = || Note::parse("hello").unwrap();
        let id = |number| EntryId([number; 16]);
        self.store.request_contact(self.account, bob, note(), id(1), NOW).await.unwrap();
        let step = self.store.accept_contact(bob, self.account, note(), id(1), NOW).await.unwrap();
        let conversation = step.conversation.unwrap();
        for (number, blob) in (2..).zip(files) {
            let content = Content::File { blob: *blob, name: FileName::parse("a.txt").unwrap() };
            let draft = Draft { conversation, id: id(number), content };
            self.store.append(self.account, draft, NOW).await.unwrap();
        }
    }
}

fn place(blobs: &Path, blob: BlobId, complete: bool) -> PathBuf {
    let name = blob.to_string();
    match complete {
        true => blobs.join("blobs").join(&name[..2]).join(&name),
        false => blobs.join("staging").join(&name),
    }
}

#[tokio::test]
async fn a_backup_holds_what_the_store_speaks_of_and_restores_once() {
    let scene = Scene::new().await;
    let complete = scene.file(1, true).await;
    let under_way = scene.file(2, false).await;
    let draft = scene.blobs().join("blobs/01/0101#3");
    fs::write(&draft, "a draft").unwrap();

    let to = scene.path("backup");
    let made = make_in(&scene.store, Some(&scene.blobs()), &to, NOW).await.unwrap();
    assert_eq!((made.blobs, made.blob_bytes, made.uploads), (1, 5, 1));
    let again = make_in(&scene.store, Some(&scene.blobs()), &to, NOW).await;
    assert!(matches!(again, Err(BackupError::NotEmpty(_))));
    let instance = scene.store.instance().await.unwrap();

    let data = scene.path("restored");
    let restored = restore(&to, &data).await.unwrap();
    assert_eq!((restored.blobs, restored.uploads), (1, 1));
    assert!(matches!(restore(&to, &data).await, Err(BackupError::NotEmpty(_))));
    let store = Sqlite::open(&data.join("skein.db")).unwrap();
    assert_ne!(store.instance().await.unwrap(), instance);
    assert!(store.blob(complete).await.unwrap().is_some());
    for (blob, is_complete) in [(complete, true), (under_way, false)] {
        assert_eq!(fs::read(place(&data.join("blobs"), blob, is_complete)).unwrap().len(), 5);
    }
    assert!(!data.join("blobs/blobs/01/0101#3").exists());
}

#[tokio::test]
async fn a_file_that_went_away_unreferenced_leaves_no_record() {
    let scene = Scene::new().await;
    let (kept, gone) = (scene.file(1, true).await, scene.file(2, true).await);
    fs::remove_file(place(&scene.blobs(), gone, true)).unwrap();
    let to = scene.path("backup");
    let made = make_in(&scene.store, Some(&scene.blobs()), &to, NOW).await.unwrap();
    assert_eq!(made.blobs, 1);
    let copy = Sqlite::open(&to.join(STORE)).unwrap();
    assert!(copy.blob(kept).await.unwrap().is_some());
    assert!(copy.blob(gone).await.unwrap().is_none());
}

/// Two files that messages refer to are lost, and one is there that nobody knows: numbers alone
/// would not tell.
#[tokio::test]
async fn a_backup_is_made_of_what_is_left_and_says_what_is_missing() {
    let scene = Scene::new().await;
    let mut files = Vec::new();
    for byte in 1..=3 {
        files.push(scene.file(byte, true).await);
    }
    scene.refer_to(&files).await;
    for blob in &files[1..] {
        fs::remove_file(place(&scene.blobs(), *blob, true)).unwrap();
    }
    let stranger = place(&scene.blobs(), BlobId([9; 16]), true);
    fs::create_dir_all(stranger.parent().unwrap()).unwrap();
    fs::write(stranger, "nobody knows it").unwrap();

    let to = scene.path("backup");
    let lost: Vec<_> = files[1..].iter().map(BlobId::to_string).collect();
    let made = make_in(&scene.store, Some(&scene.blobs()), &to, NOW).await.unwrap();
    assert_eq!((made.blobs, made.missing, &made.missing_blobs), (2, 2, &lost));
    let data = scene.path("restored");
    let restored = restore(&to, &data).await.unwrap();
    assert_eq!((restored.blobs, restored.missing, &restored.missing_blobs), (2, 2, &lost));
    let store = Sqlite::open(&data.join("skein.db")).unwrap();
    for blob in files {
        assert!(store.blob(blob).await.unwrap().is_some(), "the messages still speak of it");
    }
}

#[tokio::test]
async fn no_server_starts_on_a_folder_that_was_half_restored() {
    let scene = Scene::new().await;
    scene.file(1, true).await;
    let to = scene.path("backup");
    make_in(&scene.store, Some(&scene.blobs()), &to, NOW).await.unwrap();
    // Whatever ends it: here the disk, once before the copy of the store and once within it.
    let store = fs::read(to.join(STORE)).unwrap();
    let data = scene.path("restored");
    for broken in [None, Some(&b"no store, but long enough to be opened and looked at"[..])] {
        fs::remove_file(to.join(STORE)).unwrap();
        if let Some(broken) = broken {
            fs::write(to.join(STORE), broken).unwrap();
        }
        let failed = restore(&to, &data).await.unwrap_err();
        assert!(!matches!(failed, BackupError::NotEmpty(_) | BackupError::Folder(_)), "{failed}");
        assert!(!data.join(STORE).exists());
        assert!(place(&data.join("blobs"), BlobId([1; 16]), true).exists());

        // A server, and `skeind admin` on the folder.
        let refused = DataFolder::take(&data).unwrap_err();
        assert!(matches!(refused, FolderError::HalfRestored(_)), "{refused}");
        assert!(matches!(DataFolder::take_existing(&data), Err(FolderError::HalfRestored(_))));
        // A second restore mixes nothing with the first: it says what to do.
        fs::write(to.join(STORE), &store).unwrap();
        let again = restore(&to, &data).await.unwrap_err().to_string();
        assert!(again.ends_with("delete what is in it and restore again"), "{again}");
        fs::remove_dir_all(&data).unwrap();
    }
    restore(&to, &data).await.unwrap();
    let folder = DataFolder::take(&data).unwrap();
    assert!(!folder.store_part().exists());
}

#[tokio::test]
async fn half_a_backup_is_none() {
    let scene = Scene::new().await;
    let to = scene.path("backup");
    make_in(&scene.store, None, &to, NOW).await.unwrap();
    fs::remove_file(to.join(NOTE)).unwrap();
    let data = scene.path("restored");
    assert!(matches!(restore(&to, &data).await, Err(BackupError::NoBackup(_))));
    fs::write(to.join(NOTE), r#"{"layout":2,"skeind":"9.9.9","made_ms":1}"#).unwrap();
    assert!(matches!(restore(&to, &data).await, Err(BackupError::NoBackup(_))));
    assert!(!data.exists());
}
