//! First packets from addresses that are not their sender's, and clients that never go on.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use skein_net::{admission::AdmissionLimits, listen::ListenConfig};
use tokio::{net::UdpSocket, task::JoinSet};

use crate::{
    scene::{ANY, Certified, PATIENCE, connect, dialer},
    tap::is_retry,
};

/// First packets in one flood.
const FORGED: usize = 120;
/// Where the connection id of a long header is: its length, then itself (RFC 8999, section 5.1).
const ID_LENGTH_AT: usize = 5;

/// First packets of so many different connections, which nobody will go on with.
async fn first_packets(certified: &Certified, count: usize) -> Vec<Vec<u8>> {
    let sink = UdpSocket::bind(ANY).await.expect("a port");
    let node = Arc::new(certified.node(sink.local_addr().expect("bound")));
    let dialer = Arc::new(dialer());
    let (mut dialing, mut packets) = (JoinSet::new(), HashMap::new());
    let mut datagram = vec![0; 65_535];
    while packets.len() < count {
        let (dialer, node) = (Arc::clone(&dialer), Arc::clone(&node));
        dialing.spawn(async move { dialer.dial(&node).await.map(drop) });
        let (length, _) = sink.recv_from(&mut datagram).await.expect("a packet");
        let end = ID_LENGTH_AT + 1 + usize::from(datagram[ID_LENGTH_AT]);
        // One that was sent again has the same id as before.
        packets.insert(datagram[ID_LENGTH_AT..end].to_vec(), datagram[..length].to_vec());
    }
    packets.into_values().collect()
}

fn limits(unvalidated_max: usize) -> ListenConfig {
    let admission = AdmissionLimits { unvalidated_max, ..AdmissionLimits::default() };
    ListenConfig { admission, ..ListenConfig::default() }
}

#[tokio::test]
async fn a_flood_from_forged_addresses_is_challenged_and_a_client_gets_through() {
    const UNVALIDATED_MAX: usize = 20;
    let certified = Certified::new("flood");
    let listener = certified.listen(limits(UNVALIDATED_MAX));
    let server = listener.address().expect("bound");
    let (mut held, mut challenged) = (Vec::new(), 0);
    for (number, packet) in (0..).zip(first_packets(&certified, FORGED).await) {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
        let socket = UdpSocket::bind((source, 0)).await.expect("any address of loopback");
        socket.send_to(&packet, server).await.expect("sent");
        let mut answer = vec![0; 65_535];
        let handled = async {
            tokio::select! {
                arriving = listener.accept() => held.push(arriving.expect("open")),
                answered = socket.recv(&mut answer) => {
                    let length = answered.expect("an answer");
                    assert!(is_retry(&answer[..length]));
                    assert!(length < packet.len(), "a flood is not made larger");
                    challenged += 1;
                }
            }
        };
        tokio::time::timeout(PATIENCE, handled).await.expect("each is admitted or challenged");
    }
    assert_eq!((held.len(), challenged), (UNVALIDATED_MAX, FORGED - UNVALIDATED_MAX));

    // The load has not gone: whoever is there shows it, and gets in.
    connect(&listener, &dialer(), &certified.node(server)).await;
    drop(held);
}

#[tokio::test]
async fn with_a_threshold_of_zero_each_client_shows_that_it_is_there() {
    let certified = Certified::new("always");
    let listener = certified.listen(limits(0));
    let tap = crate::tap::Tap::start(listener.address().expect("bound")).await;
    connect(&listener, &dialer(), &certified.node(tap.address)).await;
    // A client that is not answered soon says hello again, and is challenged once more.
    assert!(tap.seen(|seen| seen.retries) >= 1);
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_ends_and_gives_its_place_back() {
    let certified = Certified::new("silent");
    let admission = AdmissionLimits { unproven_max: 1, ..AdmissionLimits::default() };
    let handshake_timeout = Duration::from_millis(50);
    let config = ListenConfig { admission, handshake_timeout, ..ListenConfig::default() };
    let listener = certified.listen(config);
    let server: SocketAddr = listener.address().expect("bound");
    let packets = first_packets(&certified, 1).await;
    let silent = UdpSocket::bind(ANY).await.expect("a port");
    silent.send_to(&packets[0], server).await.expect("sent");
    let arriving = listener.accept().await.expect("open");
    let ended = tokio::time::timeout(PATIENCE, arriving.establish()).await.expect("it ends");
    let closed = ended.expect_err("nobody answers");
    assert_eq!((closed.code, closed.by_us), (None, false));

    // The only place is free. On a busy machine a handshake may take longer than it may here.
    let (listening, dialer, node) = (listener.clone(), dialer(), certified.node(server));
    let accepting = tokio::spawn(async move {
        while let Some(arriving) = listening.accept().await {
            if let Ok(connection) = arriving.establish().await {
                return Some(connection);
            }
        }
        None
    });
    let dialing = async {
        while dialer.dial(&node).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, dialing).await.expect("a place");
    accepting.abort();
}
