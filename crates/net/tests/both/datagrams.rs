//! Datagrams: the same over each transport, beside streams, with peers that take none, and none of
//! them in the way of anything else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use skein_net::{
    Connection,
    datagram::{
        DATAGRAM_BYTES_MAX, DatagramError, Dropped, OVERHEAD_BYTES, QUEUE_DATAGRAMS_MAX,
        SENT_BYTES_PER_SECOND,
    },
    dial::{DialConfig, Dialer, Transports},
    listen::ListenConfig,
    priority::Priority,
};
use skein_wire::{close::CloseCode, pb};
use tokio::time::Instant;

use crate::{
    narrow::Narrow,
    pair::{Pair, presence, with_datagrams},
};

/// After this long a datagram that has not arrived is sent again: it may have been lost.
const AGAIN: Duration = Duration::from_millis(100);

/// Two that may send each other datagrams, and know it.
async fn talking(pair: &Pair) -> (Connection, Connection) {
    let (server, client) = pair.connect().await;
    server.raise_limits();
    carry(&client, &server, &Bytes::from_static(b"up")).await;
    carry(&server, &client, &Bytes::from_static(b"down")).await;
    (server, client)
}

/// Sends a datagram until it arrives. What was sent before is passed over.
async fn carry(from: &Connection, to: &Connection, datagram: &Bytes) {
    loop {
        match from.send_datagram(datagram.clone()) {
            // Over a WebSocket the peer has to be heard first.
            Ok(()) | Err(DatagramError::Unsupported) => {}
            Err(error) => panic!("{error}"),
        }
        let arrived = async { while to.receive_datagram().await.expect("open") != *datagram {} };
        if tokio::time::timeout(AGAIN, arrived).await.is_ok() {
            return;
        }
    }
}

fn numbered(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The next one that has a number. Of those that were sent until they arrived there may be more.
async fn next_number(to: &Connection) -> u32 {
    loop {
        let datagram = to.receive_datagram().await.expect("open");
        if let Ok(number) = datagram[..].try_into() {
            return u32::from_be_bytes(number);
        }
    }
}

#[tokio::test]
async fn they_go_both_ways_and_end_with_the_connection() {
    with_datagrams("datagrams", |pair| async move {
        let (server, client) = talking(&pair).await;
        let longest = Bytes::from(vec![7; DATAGRAM_BYTES_MAX]);
        for datagram in [Bytes::from_static(b"a voice"), Bytes::new(), longest] {
            carry(&client, &server, &datagram).await;
            carry(&server, &client, &datagram).await;
        }
        client.close(CloseCode::Normal, "done");
        let closed = loop {
            if let Err(closed) = server.receive_datagram().await {
                break closed;
            }
        };
        assert_eq!(closed.code, Some(CloseCode::Normal));
        let refused = client.send_datagram(Bytes::from_static(b"after the end"));
        assert!(matches!(refused, Err(DatagramError::Closed(closed)) if closed.by_us));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_nobody_holds_closes() {
    with_datagrams("held", |pair| async move {
        let (server, client) = talking(&pair).await;
        drop(client);
        assert_eq!(server.closed().await.code, Some(CloseCode::Normal));
    })
    .await;
}

#[tokio::test]
async fn one_that_is_too_long_is_refused_and_harms_nothing() {
    with_datagrams("long", |pair| async move {
        let (server, client) = talking(&pair).await;
        for (from, to) in [(&client, &server), (&server, &client)] {
            let max = from.max_datagram_bytes().expect("they are taken");
            assert_eq!(max, DATAGRAM_BYTES_MAX, "the same whatever carries it");
            let bytes = max + 1;
            let refused = from.send_datagram(Bytes::from(vec![0; bytes]));
            assert_eq!(refused, Err(DatagramError::TooLong { bytes, max }));
            carry(from, to, &Bytes::from(vec![1; max])).await;
        }
    })
    .await;
}

#[tokio::test]
async fn where_one_side_takes_none_none_can_be_sent() {
    for transports in [Transports::Quic, Transports::WebSocket] {
        for (here, there) in [(false, false), (false, true), (true, false)] {
            let config = ListenConfig { datagrams: here, ..Default::default() };
            let name = format!("none-{transports:?}-{here}-{there}");
            let mut pair = Pair::with(&name, transports, config);
            let config = DialConfig { transports, datagrams: there, ..Default::default() };
            pair.dialer = Dialer::new(config).expect("a socket");
            let (server, client) = pair.connect().await;
            server.raise_limits();
            // Both have heard of each other.
            let (mut sender, mut reply) = client.open(Priority::Session).await.expect("a stream");
            sender.frame(&presence(1)).await.expect("sent");
            let (mut answer, _frames) = server.accept().await.expect("a stream");
            answer.frame(&presence(2)).await.expect("sent");
            reply.frame::<pb::Presence>().await.expect("a frame").expect("not the end");
            for side in [&server, &client] {
                assert_eq!(side.max_datagram_bytes(), None);
                let refused = side.send_datagram(Bytes::from_static(b"voice"));
                assert_eq!(refused, Err(DatagramError::Unsupported));
                assert_eq!(side.datagrams_dropped(), Dropped::default());
            }
            server.close(CloseCode::Draining, "going away");
            let closed = client.receive_datagram().await.expect_err("none ever came");
            assert_eq!(closed.code, Some(CloseCode::Draining));
        }
    }
}

#[tokio::test]
async fn a_server_keeps_none_from_who_has_not_logged_in() {
    with_datagrams("login", |pair| async move {
        let (server, client) = pair.connect().await;
        while server.datagrams_dropped().received < 10 {
            // Over a WebSocket the server has to be heard first.
            client.send_datagram(Bytes::from_static(b"early")).ok();
            tokio::task::yield_now().await;
        }
        // A client has logged in nowhere.
        carry(&server, &client, &Bytes::from_static(b"down")).await;
        // Whoever waits for one waits on.
        let early = tokio::time::timeout(AGAIN, server.receive_datagram()).await;
        assert!(early.is_err(), "{early:?}");
        server.raise_limits();
        carry(&client, &server, &Bytes::from_static(b"in time")).await;
    })
    .await;
}

#[tokio::test]
async fn the_oldest_makes_room_where_nobody_reads() {
    with_datagrams("oldest", |pair| async move {
        let (server, client) = talking(&pair).await;
        // Nothing is sent while nobody waits, so all but the newest make room.
        let before = client.datagrams_dropped().sent;
        for sent in 0..100 {
            client.send_datagram(numbered(sent)).expect("open");
        }
        assert_eq!(client.datagrams_dropped().sent - before, 100 - QUEUE_DATAGRAMS_MAX as u64);
        let first = next_number(&server).await;
        assert!((36..100).contains(&first), "{first}");

        // And now nobody reads.
        let mut sent = 100;
        while server.datagrams_dropped().received < 200 {
            client.send_datagram(numbered(sent)).expect("open");
            sent += 1;
            tokio::task::yield_now().await;
        }
        let kept = std::iter::from_fn(|| server.receive_datagram().now_or_never());
        let kept: Vec<_> = kept.map(|datagram| datagram.expect("open")).collect();
        assert_eq!(kept.len(), QUEUE_DATAGRAMS_MAX);
        assert!(kept.is_sorted() && kept[0] >= numbered(136), "the newest, in order: {kept:?}");
    })
    .await;
}

/// Sends as many as it can, until it is dropped. Answers how many have come to the other side.
fn flood(
    from: Connection,
    to: Connection,
    bytes: usize,
) -> (Arc<AtomicU64>, tokio::task::JoinSet<()>) {
    let (arrived, mut tasks) = (Arc::<AtomicU64>::default(), tokio::task::JoinSet::new());
    let count = Arc::clone(&arrived);
    tasks.spawn(async move {
        let datagram = Bytes::from(vec![9; bytes]);
        while from.send_datagram(datagram.clone()).is_ok() {
            tokio::task::yield_now().await;
        }
    });
    tasks.spawn(async move {
        while to.receive_datagram().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (arrived, tasks)
}

/// Opens a stream of messages.
async fn session(
    server: &Connection,
    client: &Connection,
) -> (skein_net::stream::Sender, skein_net::stream::Receiver) {
    let (mut sender, mut receiver) = client.open(Priority::Session).await.expect("a stream");
    sender.frame(&presence(0)).await.expect("sent");
    let (mut reply, mut frames) = server.accept().await.expect("a stream");
    tokio::spawn(async move {
        reply.prioritise(Priority::Session);
        while let Ok(Some(frame)) = frames.frame::<pb::Presence>().await {
            if reply.frame(&frame).await.is_err() {
                return;
            }
        }
    });
    receiver.frame::<pb::Presence>().await.expect("a frame").expect("not the end");
    (sender, receiver)
}

#[tokio::test]
async fn a_flood_keeps_its_pace_and_no_message_waits_for_it() {
    with_datagrams("flood", |pair| async move {
        let (server, client) = talking(&pair).await;
        let (mut messages, mut answers) = session(&server, &client).await;
        let begun = Instant::now();
        let (up, up_tasks) = flood(client.clone(), server.clone(), DATAGRAM_BYTES_MAX);
        let (down, down_tasks) = flood(server.clone(), client.clone(), DATAGRAM_BYTES_MAX);
        for number in 0..50 {
            messages.frame(&presence(number)).await.expect("sent");
            let answer = answers.frame::<pb::Presence>().await.expect("a frame");
            assert_eq!(answer.expect("not the end").account, number);
        }
        while up.load(Ordering::Relaxed) < 20 || down.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        // However long that took, so much may have come.
        for arrived in [up, down] {
            let bytes =
                arrived.load(Ordering::Relaxed) * (DATAGRAM_BYTES_MAX + OVERHEAD_BYTES) as u64;
            let second = u64::from(SENT_BYTES_PER_SECOND);
            let most =
                second * (1 + u64::try_from(begun.elapsed().as_millis()).expect("short") / 1000);
            assert!(bytes <= most + second / 10, "{bytes} bytes");
        }
        drop((up_tasks, down_tasks));
    })
    .await;
}

/// Bytes of a long message.
const MESSAGE_BYTES: usize = 20_000;
/// Bytes of a datagram of which a packet takes two, and next to nothing else.
const HALF_BYTES: usize = 690;
/// Long messages, one after the other.
const MESSAGES: u64 = 3;
/// Datagrams that may arrive while they do, on a path that is full of them. Half of what passes would be
/// 29 for each, and there is slack for what waited before it, for packets that were lost, and for a
/// machine that rests; if a message had only what they leave of each packet, there would be over a
/// thousand for one.
const BESIDE_MAX: u64 = MESSAGES * 300;

#[tokio::test]
async fn a_message_gets_through_a_flood_on_a_path_that_is_narrower_than_its_pace() {
    let config = ListenConfig { datagrams: true, ..Default::default() };
    let mut pair = Pair::with("narrow", Transports::Quic, config);
    let narrow = Narrow::new(pair.listener.address().expect("bound")).await;
    pair.node.address = narrow.address.to_string();
    let story = async {
        let (server, client) = talking(&pair).await;
        let (arrived, tasks) = flood(client.clone(), server.clone(), HALF_BYTES);
        // The path is full.
        while arrived.load(Ordering::Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
        let before = arrived.load(Ordering::Relaxed);
        for _ in 0..MESSAGES {
            let (mut message, _answer) = client.open(Priority::Session).await.expect("a stream");
            message.bytes(Bytes::from(vec![0; MESSAGE_BYTES])).await.expect("sent");
            message.finish();
            let (_reply, mut receiver) = server.accept().await.expect("a stream");
            while receiver.bytes(usize::MAX).await.expect("bytes").is_some() {}
        }
        let beside = arrived.load(Ordering::Relaxed) - before;
        assert!(beside < BESIDE_MAX, "{beside} datagrams beside the messages");
        drop(tasks);
    };
    Box::pin(tokio::time::timeout(Duration::from_secs(60), story)).await.expect("no starving");
}

#[tokio::test]
async fn uploads_do_not_stop_them_and_they_do_not_stop_uploads() {
    with_datagrams("uploads", |pair| async move {
        let (server, client) = talking(&pair).await;
        let moved = Arc::<AtomicU64>::default();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (mut bulk, status) = client.open(Priority::Bulk).await.expect("a stream");
            tasks.spawn(async move {
                while bulk.bytes(Bytes::from(vec![0; 64 * 1024])).await.is_ok() {}
                drop(status);
            });
            let (reply, mut bulk) = server.accept().await.expect("a stream");
            let moved = Arc::clone(&moved);
            tasks.spawn(async move {
                while let Ok(Some(bytes)) = bulk.bytes(usize::MAX).await {
                    moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                drop(reply);
            });
        }
        for number in 0..20 {
            let before = moved.load(Ordering::Relaxed);
            carry(&client, &server, &numbered(number)).await;
            while moved.load(Ordering::Relaxed) == before {
                tokio::task::yield_now().await;
            }
        }
        drop(tasks);
    })
    .await;
}
