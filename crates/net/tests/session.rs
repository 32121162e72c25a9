//! Both ends of the transport over loopback: frames, raw bytes, close codes, distrust, limits.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use skein_core::{
    port::directory::{ChatNode, Trust},
    refusal::Code,
    time::Timestamp,
};
use skein_net::{
    Connection,
    dial::{DialConfig, DialError, Dialer},
    identity::Identity,
    listen::{ListenConfig, Listener},
    priority::Priority,
    stream::StreamError,
};
use skein_wire::{
    close::CloseCode,
    frame::{FRAME_BYTES_MAX, FrameError},
    pb,
};

struct Pair {
    listener: Listener,
    dialer: Dialer,
    node: ChatNode,
    folder: PathBuf,
}

impl Pair {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("skein-net-{name}-{}", std::process::id()));
        let clock = skein_ops_clock();
        let names = ["localhost".to_owned()];
        let identity = Identity::self_signed(&folder, &names, clock).expect("a certificate");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener =
            Listener::bind(any, &identity, ListenConfig::default()).expect("a free port");
        let node = ChatNode {
            name: "a".into(),
            address: listener.address().expect("bound").to_string(),
            trust: Trust::Fingerprints(vec![identity.fingerprint()]),
        };
        let config =
            DialConfig { handshake_timeout: Duration::from_secs(30), ..Default::default() };
        Self { listener, dialer: Dialer::new(config).expect("a socket"), node, folder }
    }

    async fn connect(&self) -> (Connection, Connection) {
        let server = async {
            let arriving = self.listener.accept().await.expect("open");
            arriving.establish().await.expect("a handshake")
        };
        let (server, client) = tokio::join!(server, self.dialer.dial(&self.node));
        (server, client.expect("a connection"))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "a certificate is checked against the real clock")]
fn skein_ops_clock() -> Timestamp {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(since.as_millis()).expect("before the year 500 million"))
}

fn presence(account: u64) -> pb::Presence {
    pb::Presence { account, online: true }
}

#[tokio::test]
async fn frames_then_raw_bytes() {
    let pair = Pair::new("frames");
    let (server, client) = pair.connect().await;
    let sending = async {
        let (mut sender, receiver) = client.open(Priority::Bulk).await.expect("a stream");
        sender.frame(&presence(7)).await.expect("sent");
        sender.bytes(Bytes::from_static(b"raw bytes")).await.expect("sent");
        sender.finish();
        sender.delivered().await;
        receiver
    };
    let receiving = async {
        let (sender, mut receiver) = server.accept().await.expect("a stream");
        let message: pb::Presence = receiver.frame().await.expect("a frame").expect("not the end");
        let mut raw = Vec::new();
        while let Some(bytes) = receiver.bytes(4).await.expect("bytes") {
            assert!(bytes.len() <= 4);
            raw.extend_from_slice(&bytes);
        }
        (message.account, raw, sender)
    };
    let (_, (account, raw, _)) = tokio::join!(sending, receiving);
    assert_eq!((account, raw.as_slice()), (7, &b"raw bytes"[..]));
}

#[tokio::test]
async fn a_close_code_and_its_reason_arrive() {
    let pair = Pair::new("close");
    let (server, client) = pair.connect().await;
    server.close(CloseCode::Kicked, "logged in on phone");
    let closed = client.closed().await;
    assert_eq!(closed.code, Some(CloseCode::Kicked));
    assert_eq!((closed.message.as_str(), closed.by_us), ("logged in on phone", false));
    assert!(server.closed().await.by_us);
}

#[tokio::test]
async fn a_dropped_sender_is_no_end_of_file() {
    let pair = Pair::new("drop");
    let (server, client) = pair.connect().await;
    let (mut sender, _receiver) = client.open(Priority::Bulk).await.expect("a stream");
    sender.bytes(Bytes::from_static(b"half")).await.expect("sent");
    let (_reply, mut receiver) = server.accept().await.expect("a stream");
    assert_eq!(receiver.bytes(100).await.expect("bytes"), Some(Bytes::from_static(b"half")));
    drop(sender);
    let end = receiver.bytes(100).await;
    assert_eq!(end, Err(StreamError::Abandoned(Some(Code::Internal))));
}

#[tokio::test]
async fn a_frame_that_claims_too_much_is_refused_unread() {
    let pair = Pair::new("huge");
    let (server, client) = pair.connect().await;
    let (mut sender, _receiver) = client.open(Priority::Session).await.expect("a stream");
    sender.bytes(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f])).await.expect("sent");
    let (_reply, mut receiver) = server.accept().await.expect("a stream");
    let error = receiver.frame::<pb::Presence>().await.expect_err("4 GiB");
    let claimed = u64::from(u32::MAX);
    let expected = FrameError::TooLarge { claimed, max: FRAME_BYTES_MAX };
    assert_eq!(error, StreamError::Frame(expected));
}

#[tokio::test]
async fn another_certificate_is_not_trusted() {
    let pair = Pair::new("distrust");
    let mut node = pair.node.clone();
    node.trust = Trust::Fingerprints(vec![[0; 32]]);
    let server = async {
        let arriving = pair.listener.accept().await.expect("open");
        arriving.establish().await.expect_err("no handshake")
    };
    let (_, refused) = tokio::join!(server, pair.dialer.dial(&node));
    assert!(matches!(refused, Err(DialError::Untrusted { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_live_connection_moves_to_another_socket() {
    let pair = Pair::new("rebind");
    let (server, client) = pair.connect().await;
    let before = server.peer();
    pair.dialer.rebind().expect("another socket");
    let (mut sender, _receiver) = client.open(Priority::Session).await.expect("a stream");
    sender.frame(&presence(1)).await.expect("sent");
    let (_reply, mut receiver) = server.accept().await.expect("a stream");
    let message: pb::Presence = receiver.frame().await.expect("a frame").expect("not the end");
    assert_eq!(message.account, 1);
    assert_ne!(server.peer(), before);
}
