//! The byte vectors in `proto/vectors`, checked against the code: every implementation of the wire
//! is tested with the same files, so they may change only together with the specification.
//!
//! `SKEIN_WRITE_VECTORS=1 cargo test -p skein-wire --test vectors` writes them anew.

mod bad;
mod good;

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde_json::{Value, json};
use skein_core::{
    account::Profile,
    coming::{Coming, Destination},
    contact::{Contact, ContactRequest, Conversation},
    entry::Entry,
    id::AccountId,
    port::{directory::ChatNode, resource::UploadSpec},
    refusal::{Code, Refusal},
};
use skein_wire::{
    Malformed,
    frame::{Decoder, FRAME_BYTES_MAX, FrameError},
    pb::{self, event, open, reply, server_frame},
    session::Request,
    transfer::DownloadRequest,
};

#[test]
fn good_frames_are_as_the_file_says() {
    let schema = schema();
    let vectors: Vec<Value> = good::all()
        .into_iter()
        .map(|vector| {
            let fields = fields(&schema, &vector.message, &body(&vector.frame));
            json!({
                "name": vector.name,
                "message": vector.message,
                "frame": HEXLOWER.encode(&vector.frame),
                "fields": fields,
            })
        })
        .collect();
    let committed = committed("frames.json", &vectors);
    for vector in &committed {
        let name = text(vector, "name");
        let bytes = hex(vector, "frame");
        let read = read(text(vector, "message"), &bytes);
        assert_eq!(read.map_err(|refusal| refusal.code), Ok(()), "{name}");
        // Whoever starts from the fields gets the same bytes.
        let descriptor =
            schema.get_message_by_name(text(vector, "message")).expect("in the schema");
        let options = DeserializeOptions::new().deny_unknown_fields(true);
        let built =
            DynamicMessage::deserialize_with_options(descriptor, &vector["fields"], &options);
        let built = built.expect("the fields are the message's").encode_length_delimited_to_vec();
        assert_eq!(HEXLOWER.encode(&built), text(vector, "frame"), "{name}");
    }
}

#[test]
fn bad_bytes_are_refused_as_the_file_says() {
    let vectors: Vec<Value> = bad::all()
        .into_iter()
        .map(|vector| {
            json!({
                "name": vector.name,
                "message": vector.message,
                "bytes": HEXLOWER.encode(&vector.bytes),
                "error": vector.error.name(),
            })
        })
        .collect();
    for vector in committed("bad.json", &vectors) {
        let refusal = read(text(&vector, "message"), &hex(&vector, "bytes"));
        let code = refusal.expect_err(text(&vector, "name")).code;
        assert_eq!(code.name(), text(&vector, "error"), "{}", text(&vector, "name"));
    }
}

#[test]
fn every_field_of_the_schema_is_in_a_good_frame() {
    let schema = schema();
    let mut seen = BTreeSet::new();
    for vector in good::all() {
        let descriptor = schema.get_message_by_name(&vector.message).expect("in the schema");
        let message = DynamicMessage::decode(descriptor, body(&vector.frame)).expect("a message");
        note_fields(&message, &mut seen);
    }
    // Drafts and bodies are parts of frames, so all messages are reached from some frame.
    let ours = schema.all_messages().filter(|message| message.package_name() == "skein.v1");
    let fields = ours.flat_map(|message| message.fields().collect::<Vec<_>>());
    let missing: Vec<_> = fields
        .map(|field| field.full_name().to_owned())
        .filter(|name| !seen.contains(name))
        .collect();
    assert!(missing.is_empty(), "no vector has {missing:?}");
}

fn note_fields(message: &DynamicMessage, seen: &mut BTreeSet<String>) {
    for (field, value) in message.fields() {
        seen.insert(field.full_name().to_owned());
        match value {
            prost_reflect::Value::Message(part) => note_fields(part, seen),
            prost_reflect::Value::List(parts) => {
                parts.iter().filter_map(|part| part.as_message()).for_each(|part| {
                    note_fields(part, seen);
                });
            }
            _ => {}
        }
    }
}

/// Reads one frame, which must hold one message and nothing more, as the side that gets it would.
fn read(message: &str, bytes: &[u8]) -> Result<(), Refusal> {
    match message {
        "skein.v1.Open" => open(one::<pb::Open>(bytes)?),
        "skein.v1.Welcome" => Ok(welcome(one(bytes)?)?),
        "skein.v1.Request" => {
            let kind = one::<pb::Request>(bytes)?.kind.ok_or_else(nothing)?;
            Request::parse(AccountId(1), kind)?;
            Ok(())
        }
        "skein.v1.ServerFrame" => match one::<pb::ServerFrame>(bytes)?.kind.ok_or_else(nothing)? {
            server_frame::Kind::Reply(reply) => Ok(answer(reply.kind.ok_or_else(nothing)?)?),
            server_frame::Kind::Event(event) => match event.kind.ok_or_else(nothing)? {
                event::Kind::Appended(appended) => {
                    Entry::try_from(appended.entry.ok_or_else(nothing)?)?;
                    Ok(())
                }
                event::Kind::Moving(moving) => Ok(ChatNode::try_from(moving).map(drop)?),
                event::Kind::Coming(coming) => Ok(Coming::try_from(coming).map(drop)?),
                event::Kind::Presence(_) | event::Kind::Behind(_) => Ok(()),
            },
        },
        "skein.v1.UploadBegin" => Ok(one::<pb::UploadBegin>(bytes).map(drop)?),
        "skein.v1.UploadStatus" => {
            one::<pb::UploadStatus>(bytes)?.kind.ok_or_else(nothing).map(drop)
        }
        "skein.v1.DownloadStatus" => {
            one::<pb::DownloadStatus>(bytes)?.kind.ok_or_else(nothing).map(drop)
        }
        other => panic!("no side reads a {other}"),
    }
}

fn open(open: pb::Open) -> Result<(), Refusal> {
    match open.kind.ok_or_else(nothing)? {
        open::Kind::Session(_) => {}
        open::Kind::Upload(mut upload) => {
            upload.destination.take().map(Destination::try_from).transpose()?;
            UploadSpec::try_from(upload)?;
        }
        open::Kind::Download(download) => {
            DownloadRequest::try_from(download)?;
        }
    }
    Ok(())
}

fn welcome(welcome: pb::Welcome) -> Result<(), Malformed> {
    welcome.conversations.into_iter().try_for_each(|one| Conversation::try_from(one).map(drop))
}

fn answer(kind: reply::Kind) -> Result<(), Malformed> {
    match kind {
        reply::Kind::Error(error) => {
            let code = Refusal::from(error.clone()).code;
            assert_eq!(code as u32, error.code, "a vector names a code that exists");
            Ok(())
        }
        reply::Kind::Appended(entry) => Entry::try_from(entry).map(drop),
        reply::Kind::Page(page) => {
            page.entries.into_iter().try_for_each(|entry| Entry::try_from(entry).map(drop))
        }
        reply::Kind::Accounts(found) => {
            found.accounts.into_iter().try_for_each(|one| Profile::try_from(one).map(drop))
        }
        reply::Kind::Coming(list) => {
            list.files.into_iter().try_for_each(|one| Coming::try_from(one).map(drop))
        }
        reply::Kind::Step(_) | reply::Kind::Discarded(_) => Ok(()),
        reply::Kind::Contacts(list) => {
            list.contacts.into_iter().try_for_each(|one| Contact::try_from(one).map(drop))
        }
        reply::Kind::Requests(list) => {
            list.requests.into_iter().try_for_each(|one| ContactRequest::try_from(one).map(drop))
        }
        reply::Kind::Conversations(list) => {
            list.conversations.into_iter().try_for_each(|one| Conversation::try_from(one).map(drop))
        }
    }
}

fn one<M: Message + Default + Name>(bytes: &[u8]) -> Result<M, FrameError> {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    decoder.feed(bytes);
    match decoder.message()? {
        Some(message) => decoder.end().map(|()| message),
        None => decoder.end().and(Err(FrameError::Truncated)),
    }
}

fn nothing() -> Refusal {
    Refusal::new(Code::Malformed, "the message says nothing")
}

/// The frame without its length.
fn body(frame: &Bytes) -> Bytes {
    let mut body = frame.clone();
    prost::decode_length_delimiter(&mut body).expect("a frame begins with its length");
    body
}

/// The fields in the JSON form of protobuf, by the schema and not by the generated code.
fn fields(schema: &DescriptorPool, message: &str, bytes: &[u8]) -> Value {
    let descriptor = schema.get_message_by_name(message).expect("in the schema");
    let message = DynamicMessage::decode(descriptor, bytes).expect("generated by the same schema");
    serde_json::to_value(message).expect("every message has a JSON form")
}

fn schema() -> DescriptorPool {
    let files = protox::compile([proto().join("skein/v1/stream.proto")], [proto()]);
    DescriptorPool::from_file_descriptor_set(files.expect("the schema compiles")).expect("complete")
}

/// What is in the file, which must be `vectors`.
fn committed(file: &str, vectors: &[Value]) -> Vec<Value> {
    let path = proto().join("vectors").join(file);
    if env::var_os("SKEIN_WRITE_VECTORS").is_some() {
        let json = serde_json::to_string_pretty(vectors).expect("JSON");
        fs::write(&path, json + "\n").expect("the repository can be written");
    }
    let json = fs::read_to_string(&path).expect("the vectors are in the repository");
    let committed: Vec<Value> = serde_json::from_str(&json).expect("the vectors are JSON");
    assert_eq!(
        committed, vectors,
        "the code and {file} differ: change the specification, the schema and the vectors together"
    );
    committed
}

fn proto() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().expect("a string")
}

fn hex(vector: &Value, field: &str) -> Vec<u8> {
    HEXLOWER.decode(text(vector, field).as_bytes()).expect("hexadecimal digits")
}
