//! One frame of each kind that the specification knows, and of each shape where the shape matters.

use bytes::Bytes;
use prost::{Message, Name};
use skein_wire::{
    frame,
    pb::{
        self, body, download_status, draft, event, open, reply, request, server_frame,
        upload_status,
    },
};

/// A frame and what it is.
pub(crate) struct Good {
    pub(crate) name: &'static str,
    pub(crate) message: String,
    pub(crate) frame: Bytes,
}

const ID: &[u8] = &[0x1d; 16];
const BLOB: &[u8] = &[0xb1; 16];
const HASH: &[u8] = &[0xaf; 32];
/// A number beyond 32 bits, as offsets and sizes may be.
const LARGE: u64 = (1 << 33) + 5;

/// All of them.
pub(crate) fn all() -> Vec<Good> {
    [opens(), welcomes(), requests(), replies(), events(), transfers()]
        .into_iter()
        .flatten()
        .collect()
}

fn good<M: Message + Name>(name: &'static str, message: &M) -> Good {
    Good { name, message: M::full_name(), frame: frame::encode(message) }
}

fn opens() -> Vec<Good> {
    let open = |name, kind| good(name, &pb::Open { kind: Some(kind) });
    let token = "skein_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s".to_owned();
    let hello = |cursors| {
        let client = "skein/0.1.0".into();
        open::Kind::Session(pb::SessionOpen { token: token.clone(), cursors, client })
    };
    let download = |offset, length, thumbnail| {
        let blob = Bytes::from_static(BLOB);
        open::Kind::Download(pb::DownloadOpen { blob, offset, length, thumbnail })
    };
    vec![
        open("open session, nothing on disk", hello(Vec::new())),
        open("open session, with cursors", hello(vec![cursor(0, 12), cursor(7, 300)])),
        open(
            "open upload",
            open::Kind::Upload(pb::UploadOpen {
                id: Bytes::from_static(ID),
                size: LARGE,
                media_type: "image/jpeg".into(),
                blake3: Bytes::from_static(HASH),
                destination: None,
            }),
        ),
        open(
            "open upload, to a conversation",
            open::Kind::Upload(pb::UploadOpen {
                id: Bytes::from_static(ID),
                size: LARGE,
                media_type: "video/mp4".into(),
                blake3: Bytes::from_static(HASH),
                destination: Some(pb::Destination { conversation: 7, name: "鸿雁.mp4".into() }),
            }),
        ),
        open("open download", download(0, 0, false)),
        open("open download, a range", download(LARGE, 4096, false)),
        open("open download, thumbnail", download(0, 0, true)),
    ]
}

fn welcomes() -> Vec<Good> {
    let welcome = |heads, conversations| pb::Welcome {
        account: 1,
        name: "alice".into(),
        heads,
        conversations,
    };
    vec![
        good("welcome, a new account", &welcome(vec![cursor(0, 0)], Vec::new())),
        good(
            "welcome, one conversation",
            &welcome(vec![cursor(7, 300), cursor(0, 12)], vec![conversation()]),
        ),
    ]
}

fn requests() -> Vec<Good> {
    let number = std::cell::Cell::new(0);
    let request = |name, kind| {
        number.set(number.get() + 1);
        good(name, &pb::Request { id: number.get(), kind: Some(kind) })
    };
    let append = |content| {
        let id = Bytes::from_static(ID);
        request::Kind::Append(pb::Draft { conversation: 7, id, content: Some(content) })
    };
    let read =
        |after, before, limit| request::Kind::ReadLog(pb::ReadLog { log: 7, after, before, limit });
    let blob = || pb::BlobRef { blob: Bytes::from_static(BLOB), name: "photo.jpg".into() };
    let id = || Bytes::from_static(ID);
    let answer = || pb::AnswerContact { account: 2, id: id() };
    vec![
        request("append text", append(draft::Content::Text(text()))),
        request("append picture", append(draft::Content::Picture(blob()))),
        request("append file", append(draft::Content::File(blob()))),
        request("read log from its start", read(0, 0, 256)),
        request("read log after", read(300, 0, 64)),
        request("read log before", read(0, 300, 20)),
        request(
            "find accounts",
            request::Kind::FindAccounts(pb::FindAccounts { prefix: "李".into() }),
        ),
        request(
            "request contact",
            request::Kind::RequestContact(pb::RequestContact {
                account: 2,
                greeting: "hello, it is me".into(),
                id: id(),
            }),
        ),
        request(
            "accept contact",
            request::Kind::AcceptContact(pb::AcceptContact {
                account: 2,
                remark: "from the lake".into(),
                id: id(),
            }),
        ),
        request("decline contact", request::Kind::DeclineContact(answer())),
        request("remove contact", request::Kind::RemoveContact(answer())),
        request("list contacts", request::Kind::ListContacts(pb::ListContacts {})),
        request("list requests", request::Kind::ListRequests(pb::ListRequests {})),
        request("list conversations", request::Kind::ListConversations(pb::ListConversations {})),
        request("discard upload", request::Kind::DiscardUpload(pb::DiscardUpload { id: id() })),
        request("list coming", request::Kind::ListComing(pb::ListComing { conversation: 7 })),
    ]
}

fn replies() -> Vec<Good> {
    let number = std::cell::Cell::new(0);
    let reply = |name, kind| {
        number.set(number.get() + 1);
        let reply = pb::Reply { request: number.get(), kind: Some(kind) };
        good(name, &pb::ServerFrame { kind: Some(server_frame::Kind::Reply(reply)) })
    };
    let contact = pb::Contact {
        profile: Some(profile()),
        remark: "from the lake".into(),
        conversation: 7,
        since_ms: 1_700_000_000_000,
        online: true,
    };
    let waiting = pb::ContactRequest {
        profile: Some(profile()),
        incoming: true,
        greeting: "hello, it is me".into(),
        at_ms: 1_700_000_000_000,
    };
    let page = pb::LogPage {
        entries: bodies().into_iter().zip(1..).map(|(body, seq)| entry(seq, body)).collect(),
        head: 300,
    };
    vec![
        reply("reply error", reply::Kind::Error(error(10, "there is no such conversation", 0))),
        reply("reply error, a limit", reply::Kind::Error(error(3, "slow down", 1_500))),
        reply("reply appended", reply::Kind::Appended(entry(301, body::Kind::Text(text())))),
        reply("reply page, each kind of body", reply::Kind::Page(page)),
        reply("reply page, empty", reply::Kind::Page(pb::LogPage { entries: Vec::new(), head: 0 })),
        reply("reply accounts", reply::Kind::Accounts(pb::Accounts { accounts: vec![profile()] })),
        reply("reply step, no conversation", reply::Kind::Step(pb::StepDone { conversation: 0 })),
        reply("reply step", reply::Kind::Step(pb::StepDone { conversation: 7 })),
        reply("reply contacts", reply::Kind::Contacts(pb::Contacts { contacts: vec![contact] })),
        reply(
            "reply requests",
            reply::Kind::Requests(pb::ContactRequests { requests: vec![waiting] }),
        ),
        reply(
            "reply conversations",
            reply::Kind::Conversations(pb::Conversations { conversations: vec![conversation()] }),
        ),
        reply("reply discarded", reply::Kind::Discarded(pb::UploadDiscarded {})),
        reply("reply coming", reply::Kind::Coming(pb::ComingFiles { files: vec![coming()] })),
    ]
}

fn events() -> Vec<Good> {
    let event = |name, kind| {
        let event = pb::Event { kind: Some(kind) };
        good(name, &pb::ServerFrame { kind: Some(server_frame::Kind::Event(event)) })
    };
    let appended =
        |log, body| event::Kind::Appended(pb::Appended { log, entry: Some(entry(301, body)) });
    let presence = |online| event::Kind::Presence(pb::Presence { account: 2, online });
    let heads = vec![cursor(0, 13), cursor(7, 812)];
    vec![
        event("event appended", appended(7, body::Kind::Text(text()))),
        event("event appended, personal log", appended(0, step(1, true, 0))),
        event("event presence, online", presence(true)),
        event("event presence, offline", presence(false)),
        event("event behind", event::Kind::Behind(pb::Heads { heads })),
        event("event moving, by name", event::Kind::Moving(moving("chat.example.org", 0))),
        event("event moving, by fingerprints", event::Kind::Moving(moving("", 2))),
        event("event coming", event::Kind::Coming(coming())),
    ]
}

fn coming() -> pb::Coming {
    pb::Coming { conversation: 7, uploader: 2, file: Some(attachment()) }
}

fn moving(server_name: &str, fingerprints: usize) -> pb::Moving {
    pb::Moving {
        node: "chat-2".into(),
        address: "chat-2.example.org:4433".into(),
        server_name: server_name.into(),
        certificate_sha256: vec![Bytes::from_static(HASH); fingerprints],
    }
}

fn transfers() -> Vec<Good> {
    let upload = |name, kind| good(name, &pb::UploadStatus { kind: Some(kind) });
    let download = |name, kind| good(name, &pb::DownloadStatus { kind: Some(kind) });
    let blob = || Bytes::from_static(BLOB);
    let complete = |width, height| {
        upload_status::Kind::Complete(pb::UploadComplete { blob: blob(), width, height })
    };
    let header = |size, media_type: &str, blake3, length| {
        let media_type = media_type.to_owned();
        download_status::Kind::Header(pb::DownloadHeader { size, media_type, blake3, length })
    };
    let (received, durable) = (LARGE, LARGE - 4096);
    vec![
        upload(
            "upload ready",
            upload_status::Kind::Ready(pb::UploadReady { blob: blob(), received, durable }),
        ),
        good("upload begin, at the start", &pb::UploadBegin { offset: 0 }),
        good("upload begin, resumed", &pb::UploadBegin { offset: LARGE }),
        upload(
            "upload progress",
            upload_status::Kind::Progress(pb::UploadProgress { received, durable }),
        ),
        upload("upload complete", complete(0, 0)),
        upload("upload complete, a picture", complete(4032, 3024)),
        upload("upload error", upload_status::Kind::Error(error(26, "start again", 0))),
        download(
            "download header",
            header(LARGE, "image/jpeg", Bytes::from_static(HASH), LARGE - 4096),
        ),
        download("download header, thumbnail", header(20_480, "image/jpeg", Bytes::new(), 20_480)),
        download("download error", download_status::Kind::Error(error(10, "no such file", 0))),
    ]
}

/// One body of each kind.
fn bodies() -> Vec<body::Kind> {
    let picture = pb::Picture { attachment: Some(attachment()), width: 4032, height: 3024 };
    let ended = pb::SessionEnded { device: "phone".into(), by: "laptop".into() };
    vec![
        body::Kind::Text(text()),
        body::Kind::Picture(picture),
        body::Kind::File(attachment()),
        step(1, false, 0),
        step(2, true, 7),
        step(3, false, 0),
        step(4, true, 7),
        body::Kind::SessionEnded(ended),
    ]
}

fn attachment() -> pb::Attachment {
    pb::Attachment {
        blob: Bytes::from_static(BLOB),
        name: "photo.jpg".into(),
        size: LARGE,
        media_type: "image/jpeg".into(),
        blake3: Bytes::from_static(HASH),
    }
}

fn step(kind: u32, by_me: bool, conversation: u64) -> body::Kind {
    let note = if kind == 1 { "hello, it is me" } else { "" };
    body::Kind::Contact(pb::ContactStep {
        kind,
        peer: 2,
        peer_name: "李雷".into(),
        by_me,
        note: note.into(),
        conversation,
    })
}

fn entry(seq: u64, kind: body::Kind) -> pb::Entry {
    pb::Entry {
        seq,
        id: Bytes::from_static(ID),
        author: 1,
        at_ms: 1_700_000_000_000 + seq,
        body: Some(pb::Body { kind: Some(kind) }),
    }
}

fn text() -> pb::Text {
    pb::Text { text: "hello, 世界".into() }
}

fn cursor(log: u64, seq: u64) -> pb::Cursor {
    pb::Cursor { log, seq }
}

fn profile() -> pb::Profile {
    pb::Profile { account: 2, name: "李雷".into() }
}

fn conversation() -> pb::Conversation {
    pb::Conversation { id: 7, peer: Some(profile()), head: 300 }
}

fn error(code: u32, message: &str, retry_after_ms: u64) -> pb::Error {
    pb::Error { code, message: message.into(), retry_after_ms }
}
