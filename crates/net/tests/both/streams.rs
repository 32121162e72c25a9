//! Streams and their ends: frames, raw bytes, codes, limits, the same over each transport.

use std::time::Duration;

use bytes::Bytes;
use skein_core::{port::directory::Trust, refusal::Code};
use skein_net::{
    dial::{DialError, Transports},
    identity::Identity,
    priority::Priority,
    stream::StreamError,
};
use skein_wire::{
    close::CloseCode,
    frame::{FRAME_BYTES_MAX, FrameError},
    pb,
};

use crate::pair::{Pair, now, over_each, presence};

#[tokio::test]
async fn frames_then_raw_bytes() {
    over_each("frames", |pair| async move {
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
            let message: pb::Presence =
                receiver.frame().await.expect("a frame").expect("not the end");
            let mut raw = Vec::new();
            while let Some(bytes) = receiver.bytes(4).await.expect("bytes") {
                assert!(bytes.len() <= 4);
                raw.extend_from_slice(&bytes);
            }
            (message.account, raw, sender)
        };
        let (_, (account, raw, _)) = tokio::join!(sending, receiving);
        assert_eq!((account, raw.as_slice()), (7, &b"raw bytes"[..]));
    })
    .await;
}

#[tokio::test]
async fn what_has_arrived_is_taken_at_once_and_no_end_is_lost() {
    over_each("arrived", |pair| async move {
        let (server, client) = pair.connect().await;
        for whole in [true, false] {
            let (mut sender, _receiver) = client.open(Priority::Bulk).await.expect("a stream");
            sender.bytes(Bytes::from_static(&[0])).await.expect("sent");
            let (_reply, mut receiver) = server.accept().await.expect("a stream");
            for _ in 0..40 {
                sender.bytes(Bytes::from_static(&[1; 1000])).await.expect("sent");
            }
            if whole {
                sender.finish();
                sender.delivered().await;
            } else {
                sender.reset(Code::TimedOut);
            }
            let mut calls = Vec::new();
            let end = loop {
                match receiver.arrived(30_000).await {
                    Ok(pieces) if pieces.is_empty() => break Ok(()),
                    Ok(pieces) => calls.push(pieces.concat().len()),
                    Err(error) => break Err(error),
                }
            };
            if whole {
                assert_eq!((end, calls), (Ok(()), vec![30_000, 10_001]));
            } else {
                assert_eq!(end, Err(StreamError::Abandoned(Some(Code::TimedOut))));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_close_code_and_its_reason_arrive() {
    over_each("close", |pair| async move {
        let (server, client) = pair.connect().await;
        server.close(CloseCode::Kicked, "logged in on phone");
        let closed = client.closed().await;
        assert_eq!(closed.code, Some(CloseCode::Kicked));
        assert_eq!((closed.message.as_str(), closed.by_us), ("logged in on phone", false));
        assert!(server.closed().await.by_us);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_sender_is_no_end_of_file() {
    over_each("drop", |pair| async move {
        let (server, client) = pair.connect().await;
        let (mut sender, _receiver) = client.open(Priority::Bulk).await.expect("a stream");
        sender.bytes(Bytes::from_static(b"half")).await.expect("sent");
        let (_reply, mut receiver) = server.accept().await.expect("a stream");
        assert_eq!(receiver.bytes(100).await.expect("bytes"), Some(Bytes::from_static(b"half")));
        drop(sender);
        let end = receiver.bytes(100).await;
        assert_eq!(end, Err(StreamError::Abandoned(Some(Code::Internal))));
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_claims_too_much_is_refused_unread() {
    over_each("huge", |pair| async move {
        let (server, client) = pair.connect().await;
        let (mut sender, _receiver) = client.open(Priority::Session).await.expect("a stream");
        sender.bytes(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f])).await.expect("sent");
        let (_reply, mut receiver) = server.accept().await.expect("a stream");
        let error = receiver.frame::<pb::Presence>().await.expect_err("4 GiB");
        let claimed = u64::from(u32::MAX);
        let expected = FrameError::TooLarge { claimed, max: FRAME_BYTES_MAX };
        assert_eq!(error, StreamError::Frame(expected));
    })
    .await;
}

#[tokio::test]
async fn another_certificate_is_not_trusted() {
    over_each("distrust", |pair| async move {
        let mut node = pair.node.clone();
        node.trust = Trust::Fingerprints(vec![[0; 32]]);
        let server = async {
            let arriving = pair.listener.accept().await.expect("open");
            arriving.establish().await.expect_err("no handshake")
        };
        let (_, refused) = tokio::join!(server, pair.dialer.dial(&node));
        assert!(matches!(refused, Err(DialError::Untrusted { .. })), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_live_connection_moves_to_another_socket() {
    let pair = Pair::new("rebind", Transports::Quic);
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

#[tokio::test]
async fn a_stream_that_is_given_up_says_why() {
    over_each("codes", |pair| async move {
        let (server, client) = pair.connect().await;
        let (mut sender, _receiver) = client.open(Priority::Bulk).await.expect("a stream");
        sender.bytes(Bytes::from_static(b"some")).await.expect("sent");
        let (mut reply, mut receiver) = server.accept().await.expect("a stream");
        receiver.stop(Code::Quota);
        // The stop arrives some time; until then bytes go into the void.
        let refused = loop {
            if let Err(error) = sender.bytes(Bytes::from(vec![0; 1000])).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(refused, StreamError::Abandoned(Some(Code::Quota)));
        sender.delivered().await;
        reply.reset(Code::TimedOut);
        let (_sender, mut receiver) = (sender, _receiver);
        let refused = receiver.bytes(10).await;
        assert_eq!(refused, Err(StreamError::Abandoned(Some(Code::TimedOut))));
    })
    .await;
}

#[tokio::test]
async fn a_login_raises_the_limits() {
    over_each("limits", |pair| async move {
        let (server, client) = pair.connect().await;
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(client.open(Priority::Bulk).await.expect("a stream"));
        }
        let fifth = client.open(Priority::Bulk);
        tokio::pin!(fifth);
        // The server must see the four before it is asked whether it stands the fifth.
        for (sender, _) in &mut streams {
            sender.bytes(Bytes::from_static(b"x")).await.expect("sent");
            server.accept().await.expect("a stream");
        }
        tokio::select! {
            biased;
            _ = &mut fifth => panic!("a fifth stream before the login"),
            () = tokio::task::yield_now() => {}
        }
        server.raise_limits();
        fifth.await.expect("a fifth stream");
    })
    .await;
}

#[tokio::test]
async fn bulk_moves_whole_in_both_directions() {
    const BYTES: usize = 9 * 1024 * 1024;
    over_each("bulk", |pair| async move {
        let (server, client) = pair.connect().await;
        server.raise_limits();
        let echo = tokio::spawn(async move {
            let (mut sender, mut receiver) = server.accept().await.expect("a stream");
            while let Some(bytes) = receiver.bytes(usize::MAX).await.expect("bytes") {
                sender.bytes(bytes).await.expect("sent");
            }
            sender.finish();
            sender.delivered().await;
            server
        });
        let (mut sender, mut receiver) = client.open(Priority::Bulk).await.expect("a stream");
        let sent: Bytes = (0..BYTES).map(|at| (at % 251) as u8).collect();
        let sending = async {
            sender.bytes(sent.clone()).await.expect("sent");
            sender.finish();
        };
        let receiving = async {
            let mut got = Vec::with_capacity(BYTES);
            while let Some(bytes) = receiver.bytes(64 * 1024).await.expect("bytes") {
                got.extend_from_slice(&bytes);
            }
            got
        };
        let ((), got) = tokio::join!(sending, receiving);
        assert!(got == sent, "{} bytes came back", got.len());
        let server = echo.await.expect("it went well");
        assert!(client.datagrams_received() > 0 && server.datagrams_received() > 0);
        assert!(client.round_trip() < Duration::from_secs(10));
        assert_eq!(client.peer(), pair.listener.address().expect("bound"));
    })
    .await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_then_on() {
    over_each("renewal", |mut pair| async move {
        let (_server, _client) = pair.connect().await;
        let names = ["localhost".to_owned()];
        let folder = pair.folder.join("other");
        let other = Identity::self_signed(&folder, &names, now()).expect("a certificate");
        pair.listener.replace_identity(&other).expect("it can be used");
        let old = async {
            let arriving = pair.listener.accept().await.expect("open");
            arriving.establish().await.expect_err("no handshake")
        };
        let (_, refused) = tokio::join!(old, pair.dialer.dial(&pair.node));
        assert!(matches!(refused, Err(DialError::Untrusted { .. })), "{refused:?}");
        pair.node.trust = Trust::Fingerprints(vec![other.fingerprint()]);
        pair.connect().await;
    })
    .await;
}

#[tokio::test]
async fn everyone_is_told_when_the_listener_ends() {
    over_each("ending", |pair| async move {
        let (server, client) = pair.connect().await;
        pair.listener.close(CloseCode::Draining, "going away");
        let closed = client.closed().await;
        assert_eq!(
            (closed.code, closed.message.as_str()),
            (Some(CloseCode::Draining), "going away")
        );
        assert!(server.closed().await.by_us);
        drop((server, client));
        pair.listener.idle().await;
        pair.dialer.idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_nobody_holds_closes() {
    over_each("dropped", |pair| async move {
        let (server, client) = pair.connect().await;
        let stream = client.open(Priority::Bulk).await.expect("a stream");
        drop(client);
        drop(stream);
        assert_eq!(server.closed().await.code, Some(CloseCode::Normal));
    })
    .await;
}
