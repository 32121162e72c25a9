//! Stories about uploads.

use std::sync::Arc;

use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    port::resource::{Thumbnail, UploadSpec},
    refusal::Code,
    time::Timestamp,
};

use super::scene::{NOW, ROOMY, bytes, person, refused, spec};
use crate::{
    Store, StoreError,
    upload::{Checkpoint, FILE_BYTES_CHARGED_MIN, Opening, Quota, StaleUpload, UploadState},
};

async fn open(store: &Arc<dyn Store>, by: AccountId, spec: &UploadSpec, blob: u64) -> UploadState {
    store.open_upload(by, spec.clone(), BlobId(bytes(blob)), ROOMY, NOW).await.unwrap()
}

async fn record(
    store: &Arc<dyn Store>,
    by: AccountId,
    id: UploadId,
    opening: Opening,
    checkpoint: Checkpoint,
) -> Result<(), StoreError> {
    store.checkpoint_upload(by, id, opening, checkpoint, false, NOW).await
}

pub(crate) async fn resumes_where_it_stopped(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let spec = spec(1, 1000);
    let opening = |blob, number| Opening { blob: BlobId(bytes(blob)), number };
    let fresh = |blob| UploadState::Receiving {
        checkpoint: Checkpoint::default(),
        opening: opening(blob, 1),
    };
    assert_eq!(open(&store, a, &spec, 1).await, fresh(1));
    let checkpoint = Checkpoint { durable: 600, hash_state: vec![1, 2, 3], parts: vec![4, 5] };
    record(&store, a, spec.id, opening(1, 1), checkpoint.clone()).await.unwrap();
    let resumed = open(&store, a, &spec, 2).await;
    assert_eq!(resumed, UploadState::Receiving { checkpoint, opening: opening(1, 2) });
    assert_eq!(open(&store, b, &spec, 3).await, fresh(3), "ids are the account's own");

    let unknown = UploadId(bytes(9));
    let unknown = record(&store, a, unknown, opening(9, 1), Checkpoint::default()).await;
    assert_eq!(refused(unknown), Code::NotFound);
}

pub(crate) async fn completes_once(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let spec = spec(1, 1000);
    open(&store, a, &spec, 1).await;
    assert_eq!(store.blob(BlobId(bytes(1))).await.unwrap(), None, "not before it is complete");
    let info =
        store.complete_upload(a, spec.id, BlobId(spec.id.0), Some((640, 480)), NOW).await.unwrap();
    assert_eq!((info.id, info.uploader, info.size), (BlobId(bytes(1)), a, 1000));
    assert_eq!((&info.media_type, info.hash), (&spec.media_type, spec.hash));
    assert_eq!((info.dimensions, info.thumbnail), (Some((640, 480)), Thumbnail::Pending));
    assert_eq!(
        store.complete_upload(a, spec.id, BlobId(spec.id.0), None, NOW).await.unwrap(),
        info
    );
    assert_eq!(store.blob(info.id).await.unwrap().as_ref(), Some(&info));
    assert_eq!(open(&store, a, &spec, 2).await, UploadState::Complete(info.clone()));

    let first = Opening { blob: info.id, number: 1 };
    let late = record(&store, a, spec.id, first, Checkpoint::default()).await;
    assert_eq!(refused(late), Code::NotFound);
    assert!(!store.discard_upload(a, spec.id, BlobId(spec.id.0), None).await.unwrap());
    assert!(store.blob(info.id).await.unwrap().is_some());
    let unknown = store.complete_upload(a, UploadId(bytes(9)), BlobId(bytes(9)), None, NOW).await;
    assert_eq!(refused(unknown), Code::NotFound);
}

pub(crate) async fn is_one_file_for_good(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let first = spec(1, 1000);
    open(&store, a, &first, 1).await;
    let others = [
        UploadSpec { size: 1001, ..first.clone() },
        UploadSpec { hash: [8; 32], ..first.clone() },
        UploadSpec { media_type: MediaType::parse("text/plain").unwrap(), ..first.clone() },
    ];
    for other in &others {
        let opened = store.open_upload(a, other.clone(), BlobId(bytes(2)), ROOMY, NOW).await;
        assert_eq!(refused(opened), Code::UploadConflict);
    }
    store.complete_upload(a, first.id, BlobId(first.id.0), None, NOW).await.unwrap();
    let [other, ..] = others;
    let opened = store.open_upload(a, other, BlobId(bytes(2)), ROOMY, NOW).await;
    assert_eq!(refused(opened), Code::UploadConflict);
}

pub(crate) async fn respects_the_quota(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let quota = Quota { bytes: 25_000, open_uploads: 2 };
    let open = async |by, number, size| {
        let blob = BlobId(bytes(number));
        store.open_upload(by, spec(number, size), blob, quota, NOW).await
    };
    open(a, 1, 10_000).await.unwrap();
    store.complete_upload(a, spec(1, 0).id, BlobId(bytes(1)), None, NOW).await.unwrap();
    store.complete_upload(a, spec(1, 0).id, BlobId(bytes(1)), None, NOW).await.unwrap();
    open(a, 2, 10_000).await.unwrap();
    assert_eq!(store.used_bytes(a).await.unwrap(), 20_000, "blobs and open uploads");
    assert_eq!(refused(open(a, 3, 5001).await), Code::Quota);
    assert_eq!(refused(open(a, 3, u64::MAX).await), Code::Quota);
    open(a, 3, 5000).await.unwrap();
    assert_eq!(refused(open(a, 4, 0).await), Code::TooMany);
    open(a, 2, 10_000).await.unwrap();
    open(b, 5, 25_000).await.unwrap();

    assert!(store.discard_upload(a, spec(3, 0).id, BlobId(bytes(3)), None).await.unwrap());
    assert!(!store.discard_upload(a, spec(3, 0).id, BlobId(bytes(3)), None).await.unwrap());
    assert_eq!(store.used_bytes(a).await.unwrap(), 20_000);
    open(a, 6, 5000).await.unwrap();
    assert_eq!(store.used_bytes(AccountId(99)).await.unwrap(), 0);
}

pub(crate) async fn is_charged_for_a_block_at_least(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let quota = Quota { bytes: 2 * FILE_BYTES_CHARGED_MIN, open_uploads: 9 };
    let open = async |number, size| {
        let blob = BlobId(bytes(number));
        store.open_upload(a, spec(number, size), blob, quota, NOW).await
    };
    for number in 1..=2 {
        open(number, 0).await.unwrap();
        store
            .complete_upload(a, spec(number, 0).id, BlobId(bytes(number)), None, NOW)
            .await
            .unwrap();
    }
    assert_eq!(store.used_bytes(a).await.unwrap(), quota.bytes);
    assert_eq!(refused(open(3, 0).await), Code::Quota, "empty files are bounded too");
    assert!(store.delete_unreferenced_blob(BlobId(bytes(2))).await.unwrap());
    assert_eq!(refused(open(3, FILE_BYTES_CHARGED_MIN + 1).await), Code::Quota);
    open(3, FILE_BYTES_CHARGED_MIN).await.unwrap();
    assert_eq!(store.used_bytes(a).await.unwrap(), quota.bytes);
}

pub(crate) async fn goes_stale_and_is_thrown_away(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let at = |number| Timestamp(NOW.0 + number);
    for number in 1..=4 {
        let blob = BlobId(bytes(number));
        store.open_upload(a, spec(number, 10), blob, ROOMY, at(number)).await.unwrap();
    }
    let later = at(100);
    for number in [1, 4] {
        let checkpoint = Checkpoint { durable: 5, parts: vec![9], ..Checkpoint::default() };
        let at = if number == 1 { later } else { at(number) };
        let first = Opening { blob: BlobId(bytes(number)), number: 1 };
        let id = spec(number, 10).id;
        store.checkpoint_upload(a, id, first, checkpoint, false, at).await.unwrap();
    }
    store.complete_upload(a, spec(2, 10).id, BlobId(bytes(2)), None, NOW).await.unwrap();

    let stale = |number| StaleUpload {
        account: a,
        id: UploadId(bytes(number)),
        blob: BlobId(bytes(number)),
        touched: at(number),
        parts: if number == 4 { vec![9] } else { vec![] },
    };
    let found = store.stale_uploads(later, None, 10).await.unwrap();
    assert_eq!(found, [stale(3), stale(4)], "one was touched and one is complete");
    assert_eq!(store.stale_uploads(at(4), None, 10).await.unwrap(), [stale(3)]);

    // It is continued between being found and being thrown away.
    assert!(!store.discard_upload(a, stale(1).id, stale(1).blob, Some(later)).await.unwrap());
    assert!(!store.discard_upload(a, stale(4).id, stale(4).blob, Some(at(4))).await.unwrap());
    assert!(store.discard_upload(a, stale(3).id, stale(3).blob, Some(later)).await.unwrap());
    assert!(!store.discard_upload(a, stale(3).id, stale(3).blob, Some(later)).await.unwrap());
    let gone = store.complete_upload(a, stale(3).id, stale(3).blob, None, NOW).await;
    assert_eq!(refused(gone), Code::NotFound);
    assert_eq!(store.stale_uploads(later, None, 10).await.unwrap(), [stale(4)]);
}

pub(crate) async fn is_found_stale_in_pages(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let b = person(&store, "bob").await.id;
    let mut all = Vec::new();
    // Several at the same time: the page goes on after one of them.
    for (number, by, time) in [(1, a, 1), (2, a, 2), (3, a, 2), (1, b, 2), (2, b, 3)] {
        let (spec, blob) = (spec(number, 10), BlobId(bytes(10 * by.0 + number)));
        let touched = Timestamp(NOW.0 + time);
        store.open_upload(by, spec.clone(), blob, ROOMY, touched).await.unwrap();
        all.push(StaleUpload { account: by, id: spec.id, blob, touched, parts: vec![] });
    }
    let later = Timestamp(NOW.0 + 10);
    assert_eq!(store.stale_uploads(later, None, 10).await.unwrap(), all);
    for limit in 1..=5 {
        let mut found = Vec::new();
        loop {
            let after = found.last().cloned();
            let page = store.stale_uploads(later, after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, all, "{limit} at a time");
    }
}
