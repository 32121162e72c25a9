//! What the stories are made of: people, ids and files, each in one call.

use std::sync::Arc;

use skein_core::{
    account::{Profile, SessionPolicy},
    entry::{Content, Draft},
    id::{AccountId, BlobId, ConversationId, DeviceId, EntryId, UploadId},
    name::{DeviceName, Email, FileName, MediaType, Note, Text, Username},
    port::resource::{BlobInfo, UploadSpec},
    refusal::Code,
    time::Timestamp,
};

use crate::{Store, StoreError, account::NewAccount, token::NewToken, upload::Quota};

/// When the stories take place.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// What [`person`] registers with.
pub(crate) const PASSWORD_HASH: &str = "a hash";
/// A quota that is in nobody's way.
pub(crate) const ROOMY: Quota = Quota { bytes: 1 << 40, open_uploads: 100 };

/// Sixteen bytes for a random id, different for each number.
pub(crate) fn bytes(number: u64) -> [u8; 16] {
    (u128::from(number) << 64 | 0x5c).to_be_bytes()
}

/// An entry id.
pub(crate) fn entry(number: u64) -> EntryId {
    EntryId(bytes(number))
}

/// A note.
pub(crate) fn note(text: &str) -> Note {
    Note::parse(text).unwrap()
}

/// The code of a refusal; anything else fails the story.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Code {
    match result {
        Err(StoreError::Refused(refusal)) => refusal.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Someone registered.
pub(crate) async fn person(store: &Arc<dyn Store>, name: &str) -> Profile {
    let new = NewAccount {
        name: Username::parse(name).unwrap(),
        email: Email::parse(format!("{}@example.org", name.to_ascii_lowercase())).unwrap(),
        password_hash: PASSWORD_HASH.into(),
    };
    store.create_account(new, NOW).await.unwrap()
}

/// Two people who are contacts, and their conversation.
pub(crate) async fn friends(store: &Arc<dyn Store>) -> (AccountId, AccountId, ConversationId) {
    let alice = person(store, "alice").await.id;
    let bob = person(store, "bob").await.id;
    let conversation = befriend(store, alice, bob, 1).await;
    (alice, bob, conversation)
}

/// Makes two people contacts with the entry ids `number` (of the first) and `number` (of the
/// second).
pub(crate) async fn befriend(
    store: &Arc<dyn Store>,
    a: AccountId,
    b: AccountId,
    number: u64,
) -> ConversationId {
    store.request_contact(a, b, note("hello"), entry(number), NOW).await.unwrap();
    let step = store.accept_contact(b, a, note(""), entry(number), NOW).await.unwrap();
    step.conversation.unwrap()
}

/// A text to be appended.
pub(crate) fn words(conversation: ConversationId, number: u64, text: &str) -> Draft {
    Draft { conversation, id: entry(number), content: Content::Text(Text::parse(text).unwrap()) }
}

/// A file to be appended.
pub(crate) fn file(conversation: ConversationId, number: u64, blob: BlobId) -> Draft {
    let name = FileName::parse("report.pdf").unwrap();
    Draft { conversation, id: entry(number), content: Content::File { blob, name } }
}

/// A picture to be appended.
pub(crate) fn picture(conversation: ConversationId, number: u64, blob: BlobId) -> Draft {
    let name = FileName::parse("photo.jpg").unwrap();
    Draft { conversation, id: entry(number), content: Content::Picture { blob, name } }
}

/// A file to be uploaded under the upload id `number`.
pub(crate) fn spec(number: u64, size: u64) -> UploadSpec {
    UploadSpec {
        id: UploadId(bytes(number)),
        size,
        media_type: MediaType::parse("image/jpeg").unwrap(),
        hash: [7; 32],
    }
}

/// A complete blob under the upload id `number` and the blob id `number`.
pub(crate) async fn uploaded(
    store: &Arc<dyn Store>,
    by: AccountId,
    number: u64,
    dimensions: Option<(u32, u32)>,
) -> BlobInfo {
    let spec = spec(number, 1000);
    let blob = BlobId(bytes(number));
    store.open_upload(by, spec.clone(), blob, ROOMY, NOW).await.unwrap();
    store.complete_upload(by, spec.id, BlobId(spec.id.0), dimensions, NOW).await.unwrap()
}

/// A token for the device `device` whose hash repeats `hash`.
pub(crate) fn token(account: AccountId, device: u64, hash: u8, policy: SessionPolicy) -> NewToken {
    NewToken {
        hash: [hash; 32],
        account,
        password_hash: PASSWORD_HASH.into(),
        device: DeviceId(bytes(device)),
        device_name: DeviceName::parse(format!("device {device}")).unwrap(),
        expires: Timestamp(NOW.0 + 1000),
        policy,
        entry_seed: entry(u64::from(hash)),
    }
}
