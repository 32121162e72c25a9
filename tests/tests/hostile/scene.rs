//! Two people on a server, and whether they can still talk to each other.

use std::time::Duration;

use bytes::Bytes;
use skein_core::refusal::Code;
use skein_net::{
    connection::Closed,
    dial::{DialConfig, DialError},
    stream::{Receiver, Sender, StreamError},
};
use skein_testkit::{
    PATIENCE,
    gate::{Gate, Login, befriend},
    raw::{RawSession, connect},
    server::Server,
    transfer::{self, Synthetic},
};
use skein_wire::{
    close::CloseCode,
    pb::{self, event, open, reply, request, server_frame, upload_status},
};

/// How soon a session for which there was no room is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A server with alice and bob, who are contacts.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) gate: Gate,
    pub(crate) alice: Login,
    pub(crate) bob: Login,
    /// Their conversation.
    pub(crate) conversation: u64,
}

impl Scene {
    /// Starts it with this configuration.
    pub(crate) async fn start(config: &str) -> Self {
        let server = Server::with_config(config);
        let gate = Gate::new(server.http());
        let (alice, bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
        let mut of_alice = RawSession::open(&alice).await.expect("welcome");
        let mut of_bob = RawSession::open(&bob).await.expect("welcome");
        let conversation = befriend(&mut of_alice, &mut of_bob).await;
        Self { server, gate, alice, bob, conversation }
    }

    /// A session of alice.
    pub(crate) async fn alice(&self) -> RawSession {
        RawSession::open(&self.alice).await.expect("welcome")
    }

    /// A session of somebody who knows neither.
    pub(crate) async fn stranger(&self) -> RawSession {
        let mallory = self.gate.newcomer("mallory").await;
        RawSession::open(&mallory).await.expect("welcome")
    }

    /// Alice writes to bob, and he reads it.
    pub(crate) async fn still_serves(&self) {
        let mut alice = in_time(open_at_last(&self.alice, DialConfig::default())).await;
        let mut bob = in_time(open_at_last(&self.bob, DialConfig::default())).await;
        let reply = alice.send_text(self.conversation, rand::random(), "still there?").await;
        let reply::Kind::Appended(entry) = reply else { panic!("{reply:?}") };
        loop {
            let next = tokio::time::timeout(PATIENCE, bob.next()).await.expect("an event in time");
            if let server_frame::Kind::Event(event) = next
                && let Some(event::Kind::Appended(appended)) = event.kind
            {
                assert_eq!(appended.entry, Some(entry));
                return;
            }
        }
    }

    /// Sends these bytes as the first stream of a connection; gives how the server closed it.
    pub(crate) async fn first_stream(&self, bytes: Vec<u8>, finish: bool) -> Closed {
        let (_dialer, connection) =
            connect(&self.alice, DialConfig::default()).await.expect("the server answers");
        let stream = connection.open(skein_net::priority::Priority::Session).await;
        let (mut sender, _receiver) = stream.expect("the first stream is allowed");
        sender.bytes(bytes.into()).await.expect("the server takes a few bytes");
        if finish {
            sender.finish();
        }
        in_time(connection.closed()).await
    }
}

/// A session, once there is room: what has just ended may hold its place for a moment yet.
pub(crate) async fn open_at_last(login: &Login, config: DialConfig) -> RawSession {
    loop {
        match connect(login, config).await {
            Ok((dialer, connection)) => {
                match RawSession::hello(dialer, connection, &login.token).await {
                    Ok(session) => return session,
                    Err(closed) => assert_eq!(closed.code, Some(CloseCode::Overloaded), "{closed}"),
                }
            }
            Err(error) => assert!(matches!(error, DialError::Unreachable { .. }), "{error}"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Opens a stream on a session, sends these bytes and perhaps ends it; gives the error with which
/// the server gives the stream up.
pub(crate) async fn stream_error(session: &RawSession, bytes: Vec<u8>, finish: bool) -> Code {
    let stream = session.connection.open(skein_net::priority::Priority::Bulk).await;
    let (mut sender, mut receiver) = stream.expect("the session goes on");
    sender.bytes(bytes.into()).await.expect("the server takes a few bytes");
    if finish {
        sender.finish();
    }
    abandoned(&mut receiver).await
}

/// The error with which the server gives the stream up.
pub(crate) async fn abandoned(receiver: &mut Receiver) -> Code {
    match in_time(receiver.frame::<pb::ServerFrame>()).await {
        Err(StreamError::Abandoned(Some(code))) => code,
        other => panic!("the server should have given the stream up, not {other:?}"),
    }
}

/// The error with which the server refuses the request.
pub(crate) async fn refused(session: &mut RawSession, kind: request::Kind) -> Code {
    match in_time(session.request(kind)).await {
        reply::Kind::Error(error) => code(&error),
        other => panic!("this should have been refused: {other:?}"),
    }
}

/// The error's name; it has a sentence, too.
pub(crate) fn code(error: &pb::Error) -> Code {
    assert!(!error.message.is_empty(), "{error:?}");
    Code::from_number(error.code).expect("the specification names it")
}

/// The hello of `token`, as a frame.
pub(crate) fn hello(token: &str, cursors: Vec<pb::Cursor>) -> Vec<u8> {
    let hello = pb::SessionOpen { token: token.to_owned(), cursors, client: "hostile".into() };
    frame(open::Kind::Session(hello))
}

/// The first frame of a stream.
pub(crate) fn frame(kind: open::Kind) -> Vec<u8> {
    skein_wire::frame::encode(&pb::Open { kind: Some(kind) }).to_vec()
}

/// Uploads a file; gives the blob.
pub(crate) async fn upload(session: &RawSession, file: &Synthetic) -> Bytes {
    in_time(transfer::upload(session, file)).await
}

/// Opens an upload; gives the stream and the first status.
pub(crate) async fn open_upload(
    session: &RawSession,
    open: pb::UploadOpen,
) -> (Sender, Receiver, upload_status::Kind) {
    in_time(transfer::open_upload(session, open)).await
}

/// Downloads a blob from `offset` on; gives the header, how many bytes came and their BLAKE3.
pub(crate) async fn download(
    session: &RawSession,
    blob: Bytes,
    offset: u64,
) -> Result<(pb::DownloadHeader, u64, [u8; 32]), pb::Error> {
    in_time(transfer::download(session, blob, offset)).await
}

/// Fails instead of waiting for ever.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("an answer in time")
}
