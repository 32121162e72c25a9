//! Stories about blobs.

use std::sync::Arc;

use skein_core::{
    id::{AccountId, BlobId},
    policy::BlobStanding,
    port::resource::Thumbnail,
    refusal::Code,
    time::Timestamp,
};

use super::scene::{
    NOW, ROOMY, bytes, entry, file, friends, person, picture, refused, spec, uploaded,
};
use crate::{
    Store,
    upload::{FILE_BYTES_CHARGED_MIN, UploadState},
};

pub(crate) async fn is_seen_by_its_uploader_and_where_it_was_sent(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let c = person(&store, "carol").await.id;
    let photo = uploaded(&store, a, 1, Some((640, 480))).await;
    let standing = async |account| {
        let BlobStanding { uploader, shared_with } =
            store.blob_standing(account, photo.id).await.unwrap();
        (uploader, shared_with)
    };
    assert_eq!(standing(a).await, (true, false));
    assert_eq!(standing(b).await, (false, false));
    store.append(a, picture(conversation, 10, photo.id), NOW).await.unwrap();
    assert_eq!(standing(a).await, (true, true));
    assert_eq!(standing(b).await, (false, true));
    assert_eq!(standing(c).await, (false, false));
    assert_eq!(standing(AccountId(u64::MAX)).await, (false, false));
    store.remove_contact(a, b, entry(11), NOW).await.unwrap();
    assert_eq!(standing(b).await, (false, true), "what was sent stays readable");
    let unknown = store.blob_standing(a, BlobId(bytes(99))).await.unwrap();
    assert_eq!(unknown, BlobStanding { uploader: false, shared_with: false });
}

pub(crate) async fn stays_while_an_entry_refers_to_it(store: Arc<dyn Store>) {
    let (a, _, conversation) = friends(&store).await;
    let sent = uploaded(&store, a, 1, None).await;
    let unused = uploaded(&store, a, 2, None).await;
    let late = uploaded(&store, a, 3, None).await;
    store.append(a, file(conversation, 10, sent.id), NOW).await.unwrap();
    assert!(store.unreferenced_blobs(NOW, 10).await.unwrap().is_empty(), "none is old enough");
    let later = Timestamp(NOW.0 + 1);
    let mut found = store.unreferenced_blobs(later, 10).await.unwrap();
    found.sort();
    assert_eq!(found, [unused.id, late.id]);
    assert_eq!(store.unreferenced_blobs(later, 1).await.unwrap().len(), 1);

    // One is sent between being found and being deleted.
    store.append(a, file(conversation, 11, late.id), NOW).await.unwrap();
    for (blob, deleted) in
        [(sent.id, false), (late.id, false), (unused.id, true), (unused.id, false)]
    {
        assert_eq!(store.delete_unreferenced_blob(blob).await.unwrap(), deleted, "{blob}");
    }
    assert_eq!(store.blob(unused.id).await.unwrap(), None);
    assert!(store.blob(sent.id).await.unwrap().is_some());
    assert_eq!(store.used_bytes(a).await.unwrap(), 2 * FILE_BYTES_CHARGED_MIN);
    let too_late = store.append(a, file(conversation, 12, unused.id), NOW).await;
    assert_eq!(refused(too_late), Code::NotFound);

    // Its upload is forgotten with it, so that the bytes can be sent again.
    let again = store.open_upload(a, spec(2, 1000), BlobId(bytes(22)), ROOMY, NOW).await.unwrap();
    assert!(
        matches!(again, UploadState::Receiving { opening, .. } if opening.blob == BlobId(bytes(22)))
    );
}

pub(crate) async fn waits_for_its_thumbnail(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let plain = uploaded(&store, a, 1, None).await;
    assert_eq!(plain.thumbnail, Thumbnail::None);
    for number in 2..=4 {
        let blob = BlobId(bytes(number));
        store.open_upload(a, spec(number, 10), blob, ROOMY, NOW).await.unwrap();
        let now = Timestamp(NOW.0 + 10 - number);
        store
            .complete_upload(a, spec(number, 10).id, BlobId(bytes(number)), Some((8, 6)), now)
            .await
            .unwrap();
    }
    let pending = async |limit| {
        let blobs = store.pending_thumbnails(limit).await.unwrap();
        blobs.into_iter().map(|info| info.id).collect::<Vec<_>>()
    };
    let id = |number| BlobId(bytes(number));
    assert_eq!(pending(10).await, [id(4), id(3), id(2)], "the oldest first");
    assert_eq!(pending(1).await, [id(4)]);
    for before in 0..3 {
        assert_eq!(store.begin_thumbnail(id(4)).await.unwrap(), before);
    }
    assert_eq!(pending(1).await, [id(4)], "it was begun and is pending still");
    store.set_thumbnail(id(4), Thumbnail::Pending).await.unwrap();
    assert_eq!(store.begin_thumbnail(id(4)).await.unwrap(), 0);
    assert_eq!(store.begin_thumbnail(id(3)).await.unwrap(), 0);
    assert_eq!(store.begin_thumbnail(id(99)).await.unwrap(), 0);
    store.set_thumbnail(id(4), Thumbnail::Ready).await.unwrap();
    store.set_thumbnail(id(2), Thumbnail::Failed).await.unwrap();
    store.set_thumbnail(id(99), Thumbnail::Ready).await.unwrap();
    assert_eq!(pending(10).await, [id(3)]);
    for (number, state) in [(2, Thumbnail::Failed), (3, Thumbnail::Pending), (4, Thumbnail::Ready)]
    {
        assert_eq!(store.blob(id(number)).await.unwrap().unwrap().thumbnail, state);
    }
}

pub(crate) async fn is_known_from_its_first_byte(store: Arc<dyn Store>) {
    let a = person(&store, "alice").await.id;
    let complete = uploaded(&store, a, 1, None).await.id;
    let open = BlobId(bytes(2));
    let discarded = BlobId(bytes(3));
    for blob in [open, discarded] {
        let number = if blob == open { 2 } else { 3 };
        store.open_upload(a, spec(number, 10), blob, ROOMY, NOW).await.unwrap();
    }
    store.discard_upload(a, spec(3, 10).id, BlobId(bytes(3)), None).await.unwrap();
    let names = [BlobId(bytes(99)), open, discarded, complete];
    assert_eq!(store.known_blobs(&names).await.unwrap(), [open, complete]);
    assert!(store.known_blobs(&[]).await.unwrap().is_empty());
}
