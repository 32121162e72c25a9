//! Files that an earlier release has left.

use std::{path::Path, sync::Arc};

use skein_core::{
    id::{AccountId, BlobId},
    name::Username,
};

use super::super::{OpenError, Sqlite, create_private, open_for_writing, schema};
use crate::{
    Store,
    account::Accounts,
    contract::scene::{NOW, PASSWORD_HASH, ROOMY, bytes, spec},
    upload::{Checkpoint, Opening, UploadState},
};

/// A file as release `version` of the schema has it, with an account that has an open upload.
fn of_version(path: &Path, version: i32) {
    create_private(path).unwrap();
    let mut connection = open_for_writing(path).unwrap();
    schema::migrate_to(&mut connection, version);
    let account = "INSERT INTO accounts \
                   (name, name_key, email, email_key, password_hash, created_ms, storage_bytes, \
                   open_uploads) VALUES ('Alice', 'alice', 'a@b.c', 'a@b.c', ?1, 0, 4096, 1)";
    connection.execute(account, [PASSWORD_HASH]).unwrap();
    let upload = "INSERT INTO uploads \
                  (account, id, blob, size, media_type, hash, state, durable, hash_state, \
                  touched_ms) VALUES (1, ?1, ?2, 1000, 'image/jpeg', ?3, 1, 600, x'0102', 0)";
    connection.execute(upload, (bytes(1), bytes(2), [7; 32])).unwrap();
}

#[tokio::test]
async fn the_first_release_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("skein.db");
    of_version(&path, 1);
    let sqlite = Sqlite::open(&path).unwrap();
    let alice = sqlite.credentials(&Username::parse("alice").unwrap()).await.unwrap().unwrap();
    assert!(!alice.disabled);
    let store: Arc<dyn Store> = Arc::new(sqlite);
    let blob = BlobId(bytes(3));
    let opened = store.open_upload(AccountId(1), spec(1, 1000), blob, ROOMY, NOW).await.unwrap();
    let checkpoint = Checkpoint { durable: 600, hash_state: vec![1, 2], parts: vec![] };
    let opening = Opening { blob: BlobId(bytes(2)), number: 2 };
    assert_eq!(opened, UploadState::Receiving { checkpoint, opening });
}

#[test]
fn whoever_only_looks_changes_no_schema() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("skein.db");
    assert!(matches!(Sqlite::open_migrated(&path), Err(OpenError::Missing)));
    assert!(!path.exists(), "it makes none");
    of_version(&path, 1);
    for _ in 0..2 {
        let refused = Sqlite::open_migrated(&path).err().unwrap();
        assert!(matches!(refused, OpenError::OlderSchema { found: 1, needed: 3 }), "{refused}");
        assert!(refused.to_string().contains("`skeind migrate`"), "{refused}");
    }
    drop(Sqlite::open(&path).unwrap());
    drop(Sqlite::open_migrated(&path).unwrap());

    let connection = open_for_writing(&path).unwrap();
    let later = "INSERT INTO refinery_schema_history VALUES (9, 'later', '', '0')";
    connection.execute(later, []).unwrap();
    drop(connection);
    let refused = Sqlite::open_migrated(&path).err().unwrap();
    assert!(matches!(refused, OpenError::NewerSchema { found: 9, known: 3 }), "{refused}");
    let refused = Sqlite::open(&path).err().unwrap();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains("too old"), "the server's own start says it too: {cause}");
}

#[test]
fn an_empty_file_has_no_schema() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("skein.db");
    create_private(&path).unwrap();
    let refused = Sqlite::open_migrated(&path).err().unwrap();
    assert!(matches!(refused, OpenError::OlderSchema { found: 0, .. }), "{refused}");
    assert_eq!(path.metadata().unwrap().len(), 0, "nothing was written");
}
