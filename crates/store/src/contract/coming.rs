//! Stories about files that are being sent to a conversation.

use std::sync::Arc;

use skein_core::{
    coming::{Coming, Destination},
    entry::Attachment,
    id::{AccountId, BlobId, ConversationId},
    name::FileName,
    port::resource::UploadOf,
    refusal::Code,
    time::Timestamp,
};

use super::scene::{NOW, ROOMY, bytes, friends, person, refused, spec};
use crate::{
    Store,
    coming::Followable,
    upload::{Checkpoint, Opening},
};

const SIZE: u64 = 1000;

/// An upload under the upload id and the blob id `number`, opened `later` than the story began.
async fn open(store: &Arc<dyn Store>, account: AccountId, number: u64, later: u64) -> UploadOf {
    let (spec, blob) = (spec(number, SIZE), BlobId(bytes(number)));
    let id = spec.id;
    store.open_upload(account, spec, blob, ROOMY, Timestamp(NOW.0 + later)).await.unwrap();
    UploadOf { account, id, blob }
}

fn towards(conversation: ConversationId, name: &str) -> Destination {
    Destination { conversation, name: FileName::parse(name).unwrap() }
}

fn coming(upload: UploadOf, conversation: ConversationId, name: &str) -> Coming {
    let spec = spec(0, SIZE);
    let attachment = Attachment {
        blob: upload.blob,
        name: FileName::parse(name).unwrap(),
        size: SIZE,
        media_type: spec.media_type,
        hash: spec.hash,
    };
    Coming { conversation, uploader: upload.account, attachment }
}

pub(crate) async fn say_for_whom_they_are(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let film = open(&store, a, 1, 1).await;
    let found = async |upload: UploadOf| store.upload_of(upload.blob).await.unwrap();
    let mut expected =
        Followable { account: a, spec: spec(1, SIZE), durable: 0, conversation: None };
    assert_eq!(found(film).await.as_ref(), Some(&expected));
    assert_eq!(store.coming_to(conversation, 9).await.unwrap(), [], "nobody has said so");

    store.address_upload(film, towards(conversation, "film.mp4")).await.unwrap();
    expected.conversation = Some(conversation);
    assert_eq!(found(film).await.as_ref(), Some(&expected));
    let checkpoint = Checkpoint { durable: 600, ..Checkpoint::default() };
    let opening = Opening { blob: film.blob, number: 1 };
    store.checkpoint_upload(a, film.id, opening, checkpoint, false, NOW).await.unwrap();
    expected.durable = 600;
    assert_eq!(found(film).await, Some(expected));

    // The last word counts, also after it was opened again.
    open(&store, a, 1, 2).await;
    let listed = store.coming_to(conversation, 9).await.unwrap();
    assert_eq!(listed, [coming(film, conversation, "film.mp4")]);
    store.address_upload(film, towards(conversation, "lake.mp4")).await.unwrap();
    let photo = open(&store, b, 2, 3).await;
    store.address_upload(photo, towards(conversation, "photo.jpg")).await.unwrap();
    let both = [coming(photo, conversation, "photo.jpg"), coming(film, conversation, "lake.mp4")];
    assert_eq!(store.coming_to(conversation, 9).await.unwrap(), both, "the latest first");
    assert_eq!(store.coming_to(conversation, 1).await.unwrap(), both[..1]);
    let elsewhere = ConversationId(u64::MAX);
    assert_eq!(store.coming_to(elsewhere, 9).await.unwrap(), []);
    assert_eq!(store.upload_of(BlobId(bytes(9))).await.unwrap(), None);
}

pub(crate) async fn are_coming_until_they_are_there(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let [done, under_way, given_up] =
        [open(&store, a, 1, 1).await, open(&store, a, 2, 2).await, open(&store, b, 3, 3).await];
    for upload in [done, under_way, given_up] {
        store.address_upload(upload, towards(conversation, "x")).await.unwrap();
    }
    // All its bytes are there, and nobody can see it yet.
    let all = Checkpoint { durable: SIZE, ..Checkpoint::default() };
    let opening = Opening { blob: under_way.blob, number: 1 };
    store.checkpoint_upload(a, under_way.id, opening, all, true, NOW).await.unwrap();
    store.complete_upload(a, done.id, done.blob, None, NOW).await.unwrap();
    store.cancel_upload(b, given_up.id).await.unwrap();
    let listed = store.coming_to(conversation, 9).await.unwrap();
    assert_eq!(listed, [coming(under_way, conversation, "x")]);
    let found = store.upload_of(done.blob).await.unwrap().unwrap();
    assert_eq!((found.durable, found.conversation), (SIZE, Some(conversation)));
    assert_eq!(store.upload_of(given_up.blob).await.unwrap(), None);
}

pub(crate) async fn are_not_taken_for_others(store: Arc<dyn Store>) {
    let (a, b, conversation) = friends(&store).await;
    let carol = person(&store, "carol").await.id;
    let film = open(&store, a, 1, 1).await;
    for wrong in [
        UploadOf { account: carol, ..film },
        UploadOf { account: b, ..film },
        UploadOf { id: spec(2, 0).id, ..film },
        UploadOf { blob: BlobId(bytes(2)), ..film },
    ] {
        let addressed = store.address_upload(wrong, towards(conversation, "x")).await;
        assert_eq!(refused(addressed), Code::NotFound, "{wrong:?}");
    }
    assert_eq!(store.coming_to(conversation, 9).await.unwrap(), []);
}
