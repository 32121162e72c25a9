//! Bytes that every implementation must refuse, each with the name of its error.

use bytes::Bytes;
use prost::{Message, Name};
use skein_core::refusal::Code;
use skein_wire::{
    frame,
    pb::{self, draft, open, request},
};

/// Bytes, the message that a reader expects there, and the error that it must find.
pub(crate) struct Bad {
    pub(crate) name: &'static str,
    pub(crate) message: String,
    pub(crate) bytes: Bytes,
    pub(crate) error: Code,
}

/// All of them.
pub(crate) fn all() -> Vec<Bad> {
    [frames(), opens(), requests()].into_iter().flatten().collect()
}

fn raw(name: &'static str, bytes: &'static [u8], error: Code) -> Bad {
    Bad { name, message: pb::Open::full_name(), bytes: Bytes::from_static(bytes), error }
}

fn bad<M: Message + Name>(name: &'static str, message: &M, error: Code) -> Bad {
    Bad { name, message: M::full_name(), bytes: frame::encode(message), error }
}

fn frames() -> Vec<Bad> {
    vec![
        raw("a frame that claims 4 GiB", &[0x80, 0x80, 0x80, 0x80, 0x10], Code::FrameTooLarge),
        raw("a frame one byte too long", &[0x81, 0x80, 0x10], Code::FrameTooLarge),
        raw("a length that does not end", &[0xff; 5], Code::Malformed),
        raw("a stream that ends within the length", &[0x80], Code::Malformed),
        raw("a stream that ends within the frame", &[0x05, 0x0a], Code::Malformed),
        raw("a tag that does not end", &[0x01, 0xff], Code::Malformed),
        raw("a field of the wrong wire type", &[0x02, 0x08, 0x01], Code::Malformed),
        raw("a field longer than its message", &[0x02, 0x0a, 0x7f], Code::Malformed),
        raw("a string that is not UTF-8", &[0x05, 0x0a, 0x03, 0x0a, 0x01, 0xff], Code::Malformed),
        raw("no kind of stream", &[0x00], Code::Malformed),
        raw("an unknown kind of stream", &[0x03, 0xfa, 0x01, 0x00], Code::Malformed),
    ]
}

fn opens() -> Vec<Bad> {
    let upload = |name, change: fn(&mut pb::UploadOpen), error| {
        let mut upload = pb::UploadOpen {
            id: vec![1; 16].into(),
            size: 1,
            media_type: "image/png".into(),
            blake3: vec![2; 32].into(),
            destination: None,
        };
        change(&mut upload);
        bad(name, &pb::Open { kind: Some(open::Kind::Upload(upload)) }, error)
    };
    let download = pb::DownloadOpen { blob: vec![1; 17].into(), ..pb::DownloadOpen::default() };
    vec![
        upload("an upload id of 15 bytes", |open| open.id.truncate(15), Code::Malformed),
        upload("a BLAKE3 of 31 bytes", |open| open.blake3.truncate(31), Code::Malformed),
        upload("no media type", |open| open.media_type.clear(), Code::Invalid),
        upload("a media type that is none", |open| open.media_type.push('\n'), Code::Invalid),
        upload("a path for a coming file's name", |open| open.destination = path(), Code::Invalid),
        upload("no name for a coming file", |open| open.destination = nameless(), Code::Invalid),
        bad(
            "a blob id of 17 bytes",
            &pb::Open { kind: Some(open::Kind::Download(download)) },
            Code::Malformed,
        ),
    ]
}

fn path() -> Option<pb::Destination> {
    Some(pb::Destination { conversation: 7, name: "../film.mp4".into() })
}

fn nameless() -> Option<pb::Destination> {
    Some(pb::Destination { conversation: 7, name: String::new() })
}

fn requests() -> Vec<Bad> {
    let request = |name, kind, error| bad(name, &pb::Request { id: 1, kind: Some(kind) }, error);
    let append = |name, id: usize, content, error| {
        let draft = pb::Draft { conversation: 7, id: vec![1; id].into(), content };
        request(name, request::Kind::Append(draft), error)
    };
    let text = |text: &str| Some(draft::Content::Text(pb::Text { text: text.into() }));
    let file = |name: &str| {
        let blob = vec![2; 16].into();
        Some(draft::Content::File(pb::BlobRef { blob, name: name.into() }))
    };
    let read = pb::ReadLog { log: 7, after: 1, before: 2, limit: 1 };
    let ask = pb::RequestContact { account: 2, greeting: "\u{7}".into(), id: vec![1; 16].into() };
    let unknown = Bad {
        name: "an unknown kind of request",
        message: pb::Request::full_name(),
        bytes: Bytes::from_static(&[0x05, 0x08, 0x01, 0xfa, 0x01, 0x00]),
        error: Code::Malformed,
    };
    vec![
        bad("no kind of request", &pb::Request { id: 1, kind: None }, Code::Malformed),
        unknown,
        append("a draft without content", 16, None, Code::Malformed),
        append("an entry id of 15 bytes", 15, text("hi"), Code::Malformed),
        append("an empty text", 16, text(""), Code::Invalid),
        append("a text of white space", 16, text(" \n\t"), Code::Invalid),
        append("a text with a NUL", 16, text("a\0b"), Code::Invalid),
        append("a path for a file name", 16, file("../../etc/passwd"), Code::Invalid),
        append("a parent for a file name", 16, file(".."), Code::Invalid),
        append("a file name with a line break", 16, file("a\nb"), Code::Invalid),
        append("a file name with a backslash", 16, file("a\\b"), Code::Invalid),
        append("no file name", 16, file(""), Code::Invalid),
        request("a read in both directions", request::Kind::ReadLog(read), Code::Malformed),
        request(
            "a search for nothing",
            request::Kind::FindAccounts(pb::FindAccounts::default()),
            Code::Malformed,
        ),
        request(
            "a greeting with a control character",
            request::Kind::RequestContact(ask),
            Code::Invalid,
        ),
    ]
}
