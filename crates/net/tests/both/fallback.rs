//! UDP is blocked: the way over TCP, what goes first there, and the way back to QUIC.

use std::{
    net::{SocketAddr, TcpStream},
    sync::atomic::Ordering,
    time::Duration,
};

use bytes::Bytes;
use skein_net::{
    Connection,
    dial::{DialConfig, Dialer, Transports},
    identity::Identity,
    listen::{BindError, ListenConfig, Listener},
    priority::Priority,
};
use skein_wire::pb;

use crate::{
    pair::{Pair, now, presence},
    pipe::Pipe,
};

/// When a test is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ports that are tried where somebody else may have the other half of one.
const PORTS_MAX: usize = 3;

async fn reach(pair: &Pair, dialer: &Dialer) -> (Connection, Connection) {
    let server = async {
        loop {
            let arriving = pair.listener.accept().await.expect("open");
            // A QUIC attempt may be cancelled half-way.
            if let Ok(connection) = arriving.establish().await {
                return connection;
            }
        }
    };
    let both = async { tokio::join!(server, dialer.dial(&pair.node)) };
    let (server, client) = Box::pin(tokio::time::timeout(PATIENCE, both)).await.expect("in time");
    (server, client.expect("a connection"))
}

fn dialer() -> Dialer {
    let handshake_timeout = PATIENCE;
    Dialer::new(DialConfig { handshake_timeout, ..Default::default() }).expect("a socket")
}

#[tokio::test]
async fn where_udp_is_blocked_tcp_is_found_and_quic_once_it_works() {
    let mut pair = Pair::new("blocked", Transports::Both);
    let pipe = Pipe::new(pair.listener.address().expect("bound")).await;
    pair.node.address = pipe.address.to_string();
    let dialer = dialer();
    let (server, client) = reach(&pair, &dialer).await;
    assert!(pipe.datagrams.load(Ordering::Relaxed) > 0, "QUIC was tried first");
    assert!(pipe.up.load(Ordering::Relaxed) > 0, "and TCP carried it");

    let (mut sender, _receiver) = client.open(Priority::Session).await.expect("a stream");
    sender.frame(&presence(1)).await.expect("sent");
    let (_reply, mut receiver) = server.accept().await.expect("a stream");
    let message: pb::Presence = receiver.frame().await.expect("a frame").expect("not the end");
    assert_eq!(message.account, 1);

    // The attempt that lost goes on, and tells when it has got through.
    pipe.open();
    let arriving = async {
        loop {
            let arriving = pair.listener.accept().await.expect("open");
            arriving.establish().await.ok();
        }
    };
    tokio::select! {
        times = client.outdone(0) => assert_eq!(times, 1),
        () = arriving => unreachable!("it accepts for ever"),
        () = tokio::time::sleep(PATIENCE) => panic!("QUIC did not get through"),
    }
    let before = pipe.up.load(Ordering::Relaxed);
    let (_server, better) = reach(&pair, &dialer).await;
    // A little may still go over the first one.
    assert!(pipe.up.load(Ordering::Relaxed) - before < 1000, "the next goes over QUIC");
    tokio::select! {
        biased;
        _ = better.outdone(0) => panic!("nothing is better than QUIC"),
        () = tokio::task::yield_now() => {}
    }
}

#[tokio::test]
async fn a_server_without_websocket_is_reached_over_quic_and_has_no_tcp_port() {
    let quiet = (0..PORTS_MAX).find_map(|_| {
        let config = ListenConfig { websocket: false, ..Default::default() };
        let pair = Pair::with("quic-only", Transports::Both, config);
        let address = pair.listener.address().expect("bound");
        TcpStream::connect(address).is_err().then_some(pair)
    });
    let pair = quiet.expect("a listener that has no TCP port");
    reach(&pair, &dialer()).await;
}

#[tokio::test]
async fn a_port_that_tcp_has_not_free_is_told() {
    let pair = Pair::new("taken", Transports::Both);
    let names = ["localhost".to_owned()];
    let identity = Identity::self_signed(&pair.folder, &names, now()).expect("the one it has");
    let refused = (0..PORTS_MAX).find_map(|_| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound");
        let refused = Listener::bind(address, &identity, ListenConfig::default());
        (!matches!(refused, Err(BindError::Address { .. }))).then_some(refused)
    });
    let refused = refused.expect("a port that UDP has free");
    assert!(matches!(refused, Err(BindError::Tcp { .. })), "{refused:?}");
}

/// Bytes that may go ahead of a message: a record, what the kernels on the way hold, and slack for
/// what they add to it. Much less than what waits.
const AHEAD_BYTES_MAX: u64 = 400 * 1024;

#[tokio::test]
async fn a_message_overtakes_uploads_that_fill_the_pipe() {
    let mut pair = Pair::new("priority", Transports::WebSocket);
    let pipe = Pipe::new(pair.listener.address().expect("bound")).await;
    pair.node.address = pipe.address.to_string();
    let (server, client) = pair.connect().await;
    server.raise_limits();
    let (mut session, _replies) = client.open(Priority::Session).await.expect("a stream");
    session.frame(&presence(0)).await.expect("sent");
    let (_reply, mut frames) = server.accept().await.expect("a stream");
    let mut next = async || {
        let frame = frames.frame::<pb::Presence>().await.expect("a frame");
        frame.expect("not the end").account
    };
    assert_eq!(next().await, 0);

    let drain = server.clone();
    tokio::spawn(async move {
        while let Ok((_reply, mut receiver)) = drain.accept().await {
            tokio::spawn(
                async move { while let Ok(Some(_)) = receiver.bytes(usize::MAX).await {} },
            );
        }
    });
    for _ in 0..10 {
        let (mut bulk, _status) = client.open(Priority::Bulk).await.expect("a stream");
        tokio::spawn(async move {
            while bulk.bytes(Bytes::from(vec![0; 256 * 1024])).await.is_ok() {}
            drop(_status);
        });
    }
    for number in 1..=10 {
        let before = pipe.up.load(Ordering::Relaxed);
        session.frame(&presence(number)).await.expect("sent");
        assert_eq!(next().await, number);
        let ahead = pipe.up.load(Ordering::Relaxed) - before;
        assert!(ahead < AHEAD_BYTES_MAX, "{ahead} bytes went ahead of message {number}");
    }
}

#[tokio::test]
async fn a_websocket_of_a_network_that_is_gone_ends_at_once() {
    let pair = Pair::new("gone", Transports::WebSocket);
    let (_server, client) = pair.connect().await;
    // Its own address still leads there, so it stays.
    pair.dialer.rebind().expect("sockets");
    let (mut sender, _receiver) = client.open(Priority::Bulk).await.expect("it lives");
    sender.bytes(Bytes::from_static(b"on")).await.expect("it lives");
    assert_eq!(client.peer().ip(), SocketAddr::from(([127, 0, 0, 1], 0)).ip());
}
