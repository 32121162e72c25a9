//! Stories about uploads that are opened more than once, and about those that are becoming one
//! object.

use std::sync::Arc;

use skein_core::{
    id::{AccountId, BlobId, UploadId},
    refusal::Code,
    time::Timestamp,
};

use super::scene::{NOW, ROOMY, bytes, person, refused, spec};
use crate::{
    Store, StoreError,
    blob::StorageUse,
    upload::{
        Checkpoint, CompletingUpload, FILE_BYTES_CHARGED_MIN, Opening, Quota, UploadPlace,
        UploadRecord, UploadState,
    },
};

/// Every file of these stories.
const SIZE: u64 = 1000;

async fn open(store: &Arc<dyn Store>, by: AccountId, number: u64) -> UploadState {
    let blob = BlobId(bytes(number));
    store.open_upload(by, spec(number, SIZE), blob, ROOMY, NOW).await.unwrap()
}

fn at(number: u64) -> Timestamp {
    Timestamp(NOW.0 + number)
}

fn checkpoint(durable: u64) -> Checkpoint {
    Checkpoint { durable, hash_state: vec![7], parts: vec![durable.to_le_bytes()[0]] }
}

/// The opening of this number, of an upload whose blob is called `blob`.
fn opening(blob: u64, number: u64) -> Opening {
    Opening { blob: BlobId(bytes(blob)), number }
}

/// Records a checkpoint of all bytes, at the time `number`, under the opening 1.
async fn complete_bytes(
    store: &Arc<dyn Store>,
    by: AccountId,
    number: u64,
) -> Result<(), StoreError> {
    let id = UploadId(bytes(number));
    store.checkpoint_upload(by, id, opening(number, 1), checkpoint(SIZE), true, at(number)).await
}

pub(crate) async fn supersedes_earlier_ones(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let id = UploadId(bytes(1));
    let record = async |number, durable, completing| {
        let checkpoint = checkpoint(durable);
        store.checkpoint_upload(a, id, opening(1, number), checkpoint, completing, NOW).await
    };
    let receiving = |durable, number| UploadState::Receiving {
        checkpoint: if durable == 0 { Checkpoint::default() } else { checkpoint(durable) },
        opening: opening(1, number),
    };
    assert_eq!(open(&store, a, 1).await, receiving(0, 1));
    record(1, 100, false).await.unwrap();
    assert_eq!(open(&store, a, 1).await, receiving(100, 2));
    assert_eq!(refused(record(1, 900, false).await), Code::Superseded);
    assert_eq!(refused(record(1, SIZE, true).await), Code::Superseded);
    assert_eq!(refused(record(3, 900, false).await), Code::Superseded, "nor one to come");
    record(2, 200, false).await.unwrap();
    assert_eq!(open(&store, a, 1).await, receiving(200, 3), "nothing of it was kept");

    // Another file under the same id is refused, and supersedes nobody.
    let other = store.open_upload(a, spec(1, 7), BlobId(bytes(2)), ROOMY, NOW).await;
    assert_eq!(refused(other), Code::UploadConflict);
    record(3, 300, false).await.unwrap();
    store.complete_upload(a, id, BlobId(id.0), None, NOW).await.unwrap();
    for number in [1, 3] {
        assert_eq!(refused(record(number, 400, false).await), Code::NotFound);
        assert_eq!(refused(record(number, SIZE, true).await), Code::NotFound);
    }
    assert!(matches!(open(&store, a, 1).await, UploadState::Complete(_)));
}

pub(crate) async fn goes_on_completing(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    open(&store, a, 1).await;
    complete_bytes(&store, a, 1).await.unwrap();
    complete_bytes(&store, a, 1).await.expect("a repeat, for the answer may have been lost");
    let id = UploadId(bytes(1));
    let more = store.checkpoint_upload(a, id, opening(1, 1), checkpoint(500), false, NOW).await;
    assert_eq!(refused(more), Code::BeyondSize);

    let blob = BlobId(bytes(1));
    let completing = |number| UploadState::Completing {
        checkpoint: checkpoint(SIZE),
        opening: opening(1, number),
    };
    assert_eq!(open(&store, a, 1).await, completing(2));
    assert_eq!(refused(complete_bytes(&store, a, 1).await), Code::Superseded);
    assert_eq!(open(&store, a, 1).await, completing(3));
    assert_eq!(store.blob(blob).await.unwrap(), None, "it is not visible yet");
    assert_eq!(store.known_blobs(&[blob]).await.unwrap(), [blob]);

    let info = store.complete_upload(a, id, BlobId(id.0), None, NOW).await.unwrap();
    assert_eq!(open(&store, a, 1).await, UploadState::Complete(info));
    assert!(store.completing_uploads(at(100), 10).await.unwrap().is_empty());
}

pub(crate) async fn can_be_cancelled_by_its_account(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let (id, blob) = (UploadId(bytes(1)), BlobId(bytes(1)));
    open(&store, a, 1).await;
    store.checkpoint_upload(a, id, opening(1, 1), checkpoint(600), false, at(7)).await.unwrap();
    assert_eq!(store.cancel_upload(b, id).await.unwrap(), None, "not theirs");
    let gone = store.cancel_upload(a, id).await.unwrap().expect("it was there");
    assert_eq!((gone.account, gone.id, gone.blob, gone.touched), (a, id, blob, at(7)));
    assert_eq!(gone.parts, checkpoint(600).parts);
    assert_eq!(store.cancel_upload(a, id).await.unwrap(), None);
    assert!(store.open_uploads(None, 10).await.unwrap().is_empty());
    // Its account has the room again, and whoever had it open records nothing more.
    let quota = Quota { bytes: FILE_BYTES_CHARGED_MIN, open_uploads: 1 };
    let late = store.checkpoint_upload(a, id, opening(1, 1), checkpoint(700), false, NOW).await;
    assert_eq!(refused(late), Code::NotFound);
    store.open_upload(a, spec(2, SIZE), BlobId(bytes(2)), quota, NOW).await.unwrap();

    // What is complete, or becoming so, stays.
    let id = UploadId(bytes(2));
    store.checkpoint_upload(a, id, opening(2, 1), checkpoint(SIZE), true, NOW).await.unwrap();
    assert_eq!(store.cancel_upload(a, id).await.unwrap(), None);
    store.complete_upload(a, id, BlobId(id.0), None, NOW).await.unwrap();
    assert_eq!(store.cancel_upload(a, id).await.unwrap(), None);
    assert!(store.blob(BlobId(id.0)).await.unwrap().is_some());
}

pub(crate) async fn counts_as_a_touch(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let (id, blob) = (UploadId(bytes(1)), BlobId(bytes(1)));
    open(&store, a, 1).await;
    store.open_upload(a, spec(1, SIZE), BlobId(bytes(2)), ROOMY, at(50)).await.unwrap();
    assert!(store.stale_uploads(at(50), None, 10).await.unwrap().is_empty());
    assert!(!store.discard_upload(a, id, blob, Some(at(50))).await.unwrap(), "just resumed");
    let stale = store.stale_uploads(at(51), None, 10).await.unwrap();
    assert_eq!(stale.iter().map(|upload| upload.touched).collect::<Vec<_>>(), [at(50)]);
    assert!(store.discard_upload(a, id, blob, Some(at(51))).await.unwrap());
}

pub(crate) async fn is_not_hit_by_who_means_an_earlier_one(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let id = UploadId(bytes(1));
    let (earlier, later) = (BlobId(bytes(1)), BlobId(bytes(2)));
    open(&store, a, 1).await;
    assert!(store.discard_upload(a, id, earlier, None).await.unwrap());
    store.open_upload(a, spec(1, SIZE), later, ROOMY, NOW).await.unwrap();
    // Whoever wrote to the first, finished it, or gave it up, comes late.
    for completing in [false, true] {
        let late = checkpoint(if completing { SIZE } else { 900 });
        let late = store.checkpoint_upload(a, id, opening(1, 1), late, completing, NOW).await;
        assert_eq!(refused(late), Code::NotFound);
    }
    assert!(!store.discard_upload(a, id, earlier, None).await.unwrap());
    assert!(!store.discard_upload(a, id, earlier, Some(at(100))).await.unwrap());
    let late = store.complete_upload(a, id, earlier, None, NOW).await;
    assert_eq!(refused(late), Code::NotFound);
    for blob in [earlier, later] {
        assert_eq!(store.blob(blob).await.unwrap(), None, "nobody has sent a byte");
    }
    let fresh =
        UploadState::Receiving { checkpoint: Checkpoint::default(), opening: opening(2, 2) };
    assert_eq!(open(&store, a, 1).await, fresh, "nothing of it was kept");
    let info = store.complete_upload(a, id, later, None, NOW).await.unwrap();
    assert_eq!(info.id, later);
    let late = store.complete_upload(a, id, earlier, None, NOW).await;
    assert_eq!(refused(late), Code::NotFound);
}

pub(crate) async fn is_not_stale_while_completing(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    for number in 1..=3 {
        open(&store, a, number).await;
    }
    for number in [2, 1] {
        complete_bytes(&store, a, number).await.unwrap();
    }
    let found = async |before, limit| {
        let found = store.completing_uploads(before, limit).await.unwrap();
        found.into_iter().map(|upload| upload.id).collect::<Vec<_>>()
    };
    let id = |number| UploadId(bytes(number));
    assert_eq!(found(at(100), 10).await, [id(1), id(2)], "the longest untouched first");
    assert_eq!(found(at(100), 1).await, [id(1)]);
    assert_eq!(found(at(2), 10).await, [id(1)], "not what was touched since");
    assert!(found(at(1), 10).await.is_empty());
    let record = CompletingUpload {
        account: a,
        id: id(1),
        blob: BlobId(bytes(1)),
        size: SIZE,
        media_type: spec(1, SIZE).media_type,
        parts: checkpoint(SIZE).parts,
    };
    assert_eq!(store.completing_uploads(at(2), 10).await.unwrap(), [record]);

    let stale = store.stale_uploads(at(100), None, 10).await.unwrap();
    assert_eq!(stale.into_iter().map(|upload| upload.id).collect::<Vec<_>>(), [id(3)]);
    assert!(
        !store.discard_upload(a, id(1), BlobId(bytes(1)), Some(at(100))).await.unwrap(),
        "it stays"
    );
    assert!(store.discard_upload(a, id(1), BlobId(bytes(1)), None).await.unwrap());
    assert_eq!(found(at(100), 10).await, [id(2)]);
}

pub(crate) async fn counts_as_open_until_it_is_complete(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let quota = Quota { bytes: 1 << 40, open_uploads: 2 };
    for number in 1..=2 {
        open(&store, a, number).await;
        complete_bytes(&store, a, number).await.unwrap();
    }
    let third = async || store.open_upload(a, spec(3, 5), BlobId(bytes(3)), quota, NOW).await;
    assert_eq!(refused(third().await), Code::TooMany);
    store.complete_upload(a, UploadId(bytes(1)), BlobId(bytes(1)), None, NOW).await.unwrap();
    third().await.unwrap();
    assert!(store.discard_upload(a, UploadId(bytes(2)), BlobId(bytes(2)), None).await.unwrap());
    store.open_upload(a, spec(4, 5), BlobId(bytes(4)), quota, NOW).await.unwrap();
    assert_eq!(store.used_bytes(a).await.unwrap(), 3 * FILE_BYTES_CHARGED_MIN);
}

pub(crate) async fn is_listed_for_operators(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    assert_eq!(store.storage_use().await.unwrap(), StorageUse::default());
    assert!(store.open_uploads(None, 10).await.unwrap().is_empty());
    for (number, by) in [(1, a), (2, a), (3, b), (4, b)] {
        open(&store, by, number).await;
    }
    store.complete_upload(a, UploadId(bytes(1)), BlobId(bytes(1)), None, NOW).await.unwrap();
    complete_bytes(&store, a, 2).await.unwrap();
    let id = UploadId(bytes(4));
    store.checkpoint_upload(b, id, opening(4, 1), checkpoint(40), false, at(1)).await.unwrap();

    let record = |account, number, durable, touched| UploadRecord {
        account,
        id: UploadId(bytes(number)),
        blob: BlobId(bytes(number)),
        size: SIZE,
        durable,
        completing: number == 2,
        touched: at(touched),
    };
    let all = [record(b, 3, 0, 0), record(b, 4, 40, 1), record(a, 2, SIZE, 2)];
    assert_eq!(store.open_uploads(None, 10).await.unwrap(), all, "the longest untouched first");
    assert_eq!(store.open_uploads(None, 2).await.unwrap(), all[..2]);
    let place = |UploadRecord { touched, account, id, .. }| UploadPlace { touched, account, id };
    for (at, record) in all.iter().enumerate() {
        let rest = store.open_uploads(Some(place(record.clone())), 10).await.unwrap();
        assert_eq!(rest, all[at + 1..], "what comes after it");
    }
    let expected = StorageUse { blobs: 1, blob_bytes: SIZE, open_uploads: 3, open_bytes: 3 * SIZE };
    assert_eq!(store.storage_use().await.unwrap(), expected);
}
