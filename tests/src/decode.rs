//! What must hold for any bytes from outside, one check for each decoder. None may panic, and what
//! is accepted must be within the limits and survive being written again.
//!
//! The fuzz targets in `fuzz/` run these on bytes that libFuzzer finds; the test `decoders` runs
//! them on seeded mutations of the [seeds](crate::seeds), where there is no fuzzer.

use std::{sync::OnceLock, time::Duration};

use skein_blob::{
    thumbnail::{Limits, Studio, probe},
    tree::TreeHasher,
};
use skein_bus::{
    hint::Hint,
    redis::payload::{self, PAYLOAD_BYTES_MAX, Said},
};
use skein_core::{
    coming::{Coming, Destination},
    entry::{Body, Content, Draft, Entry},
    id::AccountId,
    limit,
    port::resource::UploadSpec,
    refusal::{Code, Refusal},
};
use skein_net::quic_lb::{Format, ID_BYTES_MAX, KEY_BYTES};
use skein_wire::{
    Malformed, body,
    frame::{Decoder, FRAME_BYTES_MAX, FrameError},
    pb::{self, event, open, reply, request, server_frame},
    session::Request,
    transfer::DownloadRequest,
};
use tokio::runtime::{Builder, Runtime};

use skein_core::{
    account::Profile,
    contact::{Contact, ContactRequest, Conversation},
};

pub use crate::qmux::qmux_records;

/// What must hold for any bytes.
pub type Check = fn(&[u8]);

/// Each check with the name of its fuzz target.
pub const CHECKS: &[(&str, Check)] = &[
    ("frame_decoder", frame_decoder),
    ("first_frame", first_frame),
    ("server_frames", server_frames),
    ("body_store", body_store),
    ("hash_state", hash_state),
    ("picture_probe", picture_probe),
    ("bus_hint", bus_hint),
    ("connection_id", connection_id),
    ("qmux_records", qmux_records),
];

/// Bytes that the length of a frame takes at most.
const LENGTH_BYTES_MAX: usize = 5;

/// Frames come out alike however the bytes are cut, and no more is held than one frame. The first
/// byte says how the rest is cut.
pub fn frame_decoder(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let whole = frames(data, data.len().max(1));
    let in_pieces = frames(data, usize::from(*cut) + 1);
    assert_eq!(whole, in_pieces, "cut into pieces of {}", usize::from(*cut) + 1);
}

/// What a server reads: the first frame of a stream, and the frames that follow it.
pub fn first_frame(data: &[u8]) {
    match one::<pb::Open>(data).ok().and_then(|open| open.kind) {
        Some(open::Kind::Upload(mut open)) => {
            if let Some(Ok(towards)) = open.destination.take().map(Destination::try_from) {
                is_one_component(towards.name.as_str());
                assert_eq!(
                    Destination::try_from(pb::Destination::from(towards.clone())),
                    Ok(towards)
                );
            }
            if let Ok(spec) = UploadSpec::try_from(open) {
                assert_eq!(UploadSpec::try_from(pb::UploadOpen::from(spec.clone())), Ok(spec));
            }
        }
        Some(open::Kind::Download(open)) => {
            if let Ok(wanted) = DownloadRequest::try_from(open) {
                assert_eq!(DownloadRequest::try_from(pb::DownloadOpen::from(wanted)), Ok(wanted));
            }
        }
        Some(open::Kind::Session(_)) | None => {}
    }
    one::<pb::UploadBegin>(data).ok();
    if let Some(kind) = one::<pb::Request>(data).ok().and_then(|request| request.kind) {
        request(kind);
    }
}

/// What a client reads.
pub fn server_frames(data: &[u8]) {
    if let Ok(welcome) = one::<pb::Welcome>(data) {
        converted(welcome.conversations, Conversation::try_from);
    }
    match one::<pb::ServerFrame>(data).ok().and_then(|frame| frame.kind) {
        Some(server_frame::Kind::Reply(reply)) => answer(reply.kind),
        Some(server_frame::Kind::Event(event)) => match event.kind {
            Some(event::Kind::Appended(appended)) => entries(appended.entry),
            Some(event::Kind::Coming(one)) => coming([one]),
            _ => {}
        },
        None => {}
    }
    one::<pb::UploadStatus>(data).ok();
    one::<pb::DownloadStatus>(data).ok();
}

/// What the store keeps of an entry. What was read is written again in a form that stays.
pub fn body_store(data: &[u8]) {
    let Ok(read) = body::decode(data) else { return };
    within_limits(&read);
    let written = body::encode(&read);
    assert_eq!(body::decode(&written), Ok(read));
}

/// What the store keeps of a hash under way.
pub fn hash_state(data: &[u8]) {
    let Ok((mut hasher, covered)) = TreeHasher::restore(data) else { return };
    assert_eq!(hasher.covered(), covered);
    assert_eq!(hasher.save(), data, "there is one state for each hash under way");
    hasher.update(data);
    assert_ne!(hasher.finalize(), [0; 32], "bytes have followed");
}

/// A picture that a stranger sent: its header, then all of it.
pub fn picture_probe(data: &[u8]) {
    let limits = Limits {
        edge_px_max: 1_024,
        pixels_max: 256 * 256,
        file_bytes_max: 64 * 1024,
        alloc_bytes_max: 1024 * 1024,
        time_max: Duration::from_secs(10),
    };
    let within = |(width, height): (u32, u32), edge_px_max| {
        assert!(width.max(height) <= edge_px_max, "{width} by {height}");
        assert!(u64::from(width) * u64::from(height) <= limits.pixels_max);
    };
    let Some(dimensions) = probe(data, &limits) else { return };
    within(dimensions, limits.edge_px_max);
    let bytes = data.to_vec().into();
    if let Ok(thumbnail) = runtime().block_on(Studio::new(limits).make(bytes)) {
        let dimensions = probe(&thumbnail, &limits).expect("a thumbnail is a picture");
        within(dimensions, limit::THUMBNAIL_EDGE_PX);
    }
}

/// What a node reads from the bus. What was read can be written, and says the same.
pub fn bus_hint(data: &[u8]) {
    let Ok(Some(said)) = payload::decode(data) else { return };
    assert!(data.len() <= PAYLOAD_BYTES_MAX);
    match &said {
        Said::Hint(Hint::Appended(_, entry)) => within_limits(&entry.body),
        Said::Hint(Hint::Coming(coming)) => is_one_component(coming.attachment.name.as_str()),
        _ => {}
    }
    let written = payload::encode(&said).expect("it is no longer than what was read");
    assert_eq!(payload::decode(&written), Ok(Some(said)));
}

/// The frames in these bytes, fed in pieces, and how they end.
fn frames(data: &[u8], piece: usize) -> (Vec<pb::ServerFrame>, Result<(), FrameError>) {
    let (mut decoder, mut frames) = (Decoder::new(FRAME_BYTES_MAX), Vec::new());
    for bytes in data.chunks(piece) {
        decoder.feed(bytes);
        loop {
            match decoder.message() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        let held = decoder.take_rest();
        assert!(held.len() < LENGTH_BYTES_MAX + FRAME_BYTES_MAX, "{} bytes are held", held.len());
        decoder.feed(&held);
    }
    (frames, decoder.end())
}

fn one<M: prost::Message + Default + prost::Name>(data: &[u8]) -> Result<M, Refusal> {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    decoder.feed(data);
    let message = decoder.message().inspect_err(|error: &FrameError| {
        assert!(!error.to_string().is_empty());
    })?;
    message.ok_or_else(|| Refusal::new(Code::Malformed, "the frame is not complete"))
}

fn request(kind: request::Kind) {
    match Request::parse(AccountId(1), kind) {
        Ok(Request::Append(draft)) => {
            if let Content::File { name, .. } | Content::Picture { name, .. } = &draft.content {
                is_one_component(name.as_str());
            }
            assert_eq!(body::decode_draft(&body::encode_draft(&draft)), Ok::<Draft, _>(draft));
        }
        Ok(Request::Read { limit, .. }) => {
            assert!((1..=limit::PAGE_ENTRIES_MAX).contains(&limit));
        }
        Ok(Request::FindAccounts { prefix }) => assert!(!prefix.is_empty()),
        Ok(_) => {}
        Err(malformed) => {
            let refusal = Refusal::from(malformed);
            assert!(matches!(refusal.code, Code::Malformed | Code::Invalid), "{refusal:?}");
        }
    }
}

/// A connection id names a server or none, whatever stands behind it, and what is written in its
/// place leads to the server that it was written for. The first bytes choose the format.
pub fn connection_id(data: &[u8]) {
    let Some(([rotation, lengths, keyed], data)) = data.split_first_chunk::<3>() else { return };
    let (server_bytes, nonce_bytes) = (usize::from(lengths >> 4), usize::from(lengths & 0x0f));
    let key = (keyed % 2 == 1).then_some([*keyed; KEY_BYTES]);
    let Ok(format) = Format::new(*rotation, server_bytes, nonce_bytes, key.as_ref()) else {
        return;
    };
    assert!((6..=ID_BYTES_MAX).contains(&format.id_bytes()));
    let Some(server) = format.server_id(data) else { return };
    assert_eq!(server.len(), server_bytes);
    let id = &data[..format.id_bytes()];
    assert_eq!(format.server_id(id).as_ref(), Some(&server));
    let (low, nonce) = (data[0], &id[id.len() - nonce_bytes..]);
    let again = format.encode(low, &server, nonce).expect("fields of the right lengths");
    assert_eq!(format.server_id(again.as_ref()), Some(server));
    assert_eq!(again.as_ref()[0], low);
}

fn answer(kind: Option<reply::Kind>) {
    match kind {
        Some(reply::Kind::Error(error)) => {
            let refusal = Refusal::from(error);
            assert_eq!(Refusal::from(pb::Error::from(refusal.clone())), refusal);
        }
        Some(reply::Kind::Appended(entry)) => entries([entry]),
        Some(reply::Kind::Page(page)) => entries(page.entries),
        Some(reply::Kind::Accounts(found)) => converted(found.accounts, Profile::try_from),
        Some(reply::Kind::Contacts(list)) => converted(list.contacts, Contact::try_from),
        Some(reply::Kind::Requests(list)) => converted(list.requests, ContactRequest::try_from),
        Some(reply::Kind::Conversations(list)) => {
            converted(list.conversations, Conversation::try_from);
        }
        Some(reply::Kind::Coming(list)) => coming(list.files),
        Some(reply::Kind::Step(_) | reply::Kind::Discarded(_)) | None => {}
    }
}

fn entries(entries: impl IntoIterator<Item = pb::Entry>) {
    for entry in entries.into_iter().filter_map(|entry| Entry::try_from(entry).ok()) {
        within_limits(&entry.body);
        assert_eq!(Entry::try_from(pb::Entry::from(entry.clone())), Ok(entry));
    }
}

fn coming(files: impl IntoIterator<Item = pb::Coming>) {
    for file in files.into_iter().filter_map(|file| Coming::try_from(file).ok()) {
        is_one_component(file.attachment.name.as_str());
        assert_eq!(Coming::try_from(pb::Coming::from(file.clone())), Ok(file));
    }
}

fn converted<W, D>(list: Vec<W>, convert: impl Fn(W) -> Result<D, Malformed>) {
    for malformed in list.into_iter().filter_map(|one| convert(one).err()) {
        assert!(!malformed.expected.is_empty());
    }
}

fn within_limits(body: &Body) {
    match body {
        Body::Text(text) => {
            assert!((1..=limit::TEXT_BYTES_MAX).contains(&text.as_str().len()));
        }
        Body::Contact(step) => assert!(step.note.as_str().len() <= limit::NOTE_BYTES_MAX),
        Body::Picture(_) | Body::File(_) | Body::SessionEnded(_) => {}
    }
    if let Some(attachment) = body.attachment() {
        is_one_component(attachment.name.as_str());
    }
}

/// Nobody leaves a folder by a file's name.
fn is_one_component(name: &str) {
    let bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
    assert!(!name.is_empty() && name != "." && name != ".." && !name.contains(bad), "{name:?}");
    assert!(name.len() <= limit::FILE_NAME_BYTES_MAX);
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().enable_time().build().expect("a runtime"))
}
