//! Where fuzzing starts from: bytes that each decoder accepts, or nearly. Most come from the byte
//! vectors of the specification.

use std::{fs, io::Cursor, path::Path, sync::Arc};

use data_encoding::HEXLOWER;
use image::{DynamicImage, ImageFormat};
use serde_json::Value;
use skein_blob::tree::{PART_BYTES, TreeHasher};
use skein_bus::{
    hint::{EndReason, Hint},
    redis::payload::{self, Said},
};
use skein_core::{
    coming::Coming,
    entry::{Attachment, Body, Entry},
    id::{AccountId, BlobId, ConversationId, EntryId, LogId, Seq},
    name::{FileName, MediaType, Text},
    time::Timestamp,
};
use skein_wire::{body, frame, pb};

/// The seeds of one of the [checks](crate::decode::CHECKS).
#[must_use]
pub fn seeds(check: &str) -> Vec<Vec<u8>> {
    let from_client = |message: &str| {
        matches!(message, "skein.v1.Open" | "skein.v1.Request" | "skein.v1.UploadBegin")
    };
    match check {
        "frame_decoder" => streams(),
        "first_frame" => {
            let bad = vectors("bad.json", "bytes", |_| true);
            vectors("frames.json", "frame", from_client).into_iter().chain(bad).collect()
        }
        "server_frames" => vectors("frames.json", "frame", |message| !from_client(message)),
        "body_store" => bodies(),
        "hash_state" => hash_states(),
        "picture_probe" => pictures(),
        "bus_hint" => hints(),
        "connection_id" => connection_ids(),
        "qmux_records" => crate::qmux::seeds(),
        other => panic!("there is no check {other}"),
    }
}

/// What the vectors hold, of the messages that are wanted.
fn vectors(file: &str, field: &str, wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/vectors").join(file);
    let json = fs::read_to_string(path).expect("the vectors are in the repository");
    let vectors: Vec<Value> = serde_json::from_str(&json).expect("the vectors are JSON");
    let text = |vector: &Value, field: &str| vector[field].as_str().expect("a string").to_owned();
    vectors
        .iter()
        .filter(|vector| wanted(&text(vector, "message")))
        .map(|vector| HEXLOWER.decode(text(vector, field).as_bytes()).expect("hexadecimal digits"))
        .collect()
}

/// Whole streams, each with a byte before it that says how to cut it.
fn streams() -> Vec<Vec<u8>> {
    let frames = vectors("frames.json", "frame", |message| message == "skein.v1.ServerFrame");
    let mut streams: Vec<Vec<u8>> = [0, 2, 255]
        .into_iter()
        .map(|cut| [cut].into_iter().chain(frames.iter().flatten().copied()).collect())
        .collect();
    streams.extend(vectors("bad.json", "bytes", |_| true).into_iter().map(|mut bad| {
        bad.insert(0, 1);
        bad
    }));
    streams
}

fn bodies() -> Vec<Vec<u8>> {
    let text = Body::Text(Text::parse("hello, 世界").expect("a text"));
    let mut bodies = vec![body::encode(&text)];
    // The page among the vectors has one body of each kind.
    for bytes in vectors("frames.json", "frame", |message| message == "skein.v1.ServerFrame") {
        let mut decoder = frame::Decoder::new(frame::SERVER_FRAME_BYTES_MAX);
        decoder.feed(&bytes);
        let frame: Option<pb::ServerFrame> = decoder.message().expect("a good frame");
        if let Some(pb::server_frame::Kind::Reply(reply)) = frame.and_then(|frame| frame.kind)
            && let Some(pb::reply::Kind::Page(page)) = reply.kind
        {
            bodies.extend(
                page.entries
                    .into_iter()
                    .filter_map(|entry| Some(prost::Message::encode_to_vec(&entry.body?))),
            );
        }
    }
    bodies
}

/// A hint of each kind, with an entry of each kind.
fn hints() -> Vec<Vec<u8>> {
    let account = AccountId(7);
    let appended = |(at, body): (usize, Vec<u8>)| {
        let body = body::decode(&body).expect("a good body");
        let (seq, id) = (Seq(at as u64 + 1), EntryId([9; 16]));
        let entry = Entry { seq, id, author: account, at: Timestamp(1_700_000_000_000), body };
        let personal = matches!(entry.body, Body::Contact(_) | Body::SessionEnded(_));
        let log = if personal {
            LogId::Personal(account)
        } else {
            LogId::Conversation(ConversationId(3))
        };
        Said::Hint(Hint::Appended(log, Arc::new(entry)))
    };
    let kicked = EndReason::Kicked { by: "phone".into() };
    let attachment = Attachment {
        blob: BlobId([4; 16]),
        name: FileName::parse("film.mp4").expect("a name"),
        size: 5,
        media_type: MediaType::parse("video/mp4").expect("a type"),
        hash: [5; 32],
    };
    let coming = Coming { conversation: ConversationId(3), uploader: account, attachment };
    let others = [
        Said::Missed,
        Said::Hint(Hint::Coming(Arc::new(coming))),
        Said::Hint(Hint::Presence { account, online: true }),
        Said::Hint(Hint::SessionsEnded { account, reason: kicked }),
        Said::Hint(Hint::SessionsEnded { account, reason: EndReason::Revoked }),
    ];
    let said = bodies().into_iter().enumerate().map(appended).chain(others);
    said.map(|said| payload::encode(&said).expect("a short hint")).collect()
}

/// Ids under formats of even and odd lengths, and of the one that AES takes at once.
fn connection_ids() -> Vec<Vec<u8>> {
    let formats = [(0, 0x2e_u8, 1_u8), (1, 0x88, 0), (2, 0x34, 1), (6, 0xa5, 1), (3, 0x17, 0)];
    let seed = |(rotation, lengths, keyed): (u8, u8, u8)| {
        let id = (0..20).map(|at| if at == 0 { rotation << 5 | 9 } else { at * 7 });
        [rotation, lengths, keyed].into_iter().chain(id).collect()
    };
    formats.into_iter().map(seed).collect()
}

fn hash_states() -> Vec<Vec<u8>> {
    let part = vec![7; usize::try_from(PART_BYTES).expect("a megabyte")];
    let mut hasher = TreeHasher::new();
    let mut states = vec![hasher.save()];
    for _ in 0..4 {
        hasher.update(&part);
        states.push(hasher.save());
    }
    states
}

fn pictures() -> Vec<Vec<u8>> {
    let picture = DynamicImage::new_rgb8(5, 3);
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP]
        .into_iter()
        .map(|format| {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).expect("a picture");
            bytes.into_inner()
        })
        .collect()
}
