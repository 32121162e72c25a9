//! Files that an earlier release has left.

use std::{path::Path, sync::Arc};

use refinery::Target;
use skein_core::{
    id::{AccountId, BlobId},
    name::Username,
};

use super::super::{Sqlite, create_private, migrations, open_for_writing};
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
    let runner = migrations::migrations::runner().set_target(Target::Version(version));
    runner.run(&mut connection).unwrap();
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
    let blob = BlobId(bytes(2));
    assert_eq!(opened, UploadState::Receiving { blob, checkpoint, opening: Opening(2) });
}
