//! The relay with real sockets. What chance and time do is tested with the link; here is what only
//! sockets show.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    PATIENCE,
    network::{Loss, Queue, Rate, Reordering},
};

/// A socket of a client or a server, which gives up after long.
fn end() -> UdpSocket {
    let socket = socket((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    socket.set_nonblocking(false).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("it is bound")
}

/// A server, a relay before it, and a client of that.
fn scene() -> (UdpSocket, UdpRelay, UdpSocket) {
    let (server, client) = (end(), end());
    let relay = UdpRelay::start(address(&server)).expect("a relay");
    client.connect(relay.address()).expect("an address");
    (server, relay, client)
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// What comes next, and from where.
fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram in time");
    (buffer[..length].to_vec(), from)
}

/// Sends a word to and fro; gives the address by which the server knows the client.
fn exchange(server: &UdpSocket, client: &UdpSocket, word: &[u8]) -> SocketAddr {
    client.send(word).expect("sent");
    let (received, from) = next(server);
    assert_eq!(received, word);
    server.send_to(&received, from).expect("sent");
    assert_eq!(next(client).0, word);
    from
}

#[test]
fn datagrams_go_to_and_fro_for_each_client() {
    let (server, relay, one) = scene();
    let other = end();
    other.connect(relay.address()).expect("an address");
    let first = exchange(&server, &one, b"one");
    let second = exchange(&server, &other, b"other");
    assert_ne!(first, second);
    assert_eq!(exchange(&server, &one, b"again"), first, "a mapping stays");
    let (up, down) = relay.counts();
    // Each has the headers of IPv4 and UDP on the link.
    assert_eq!((up.delivered.datagrams, up.delivered.bytes), (3, 13 + 3 * 28));
    assert_eq!(up, down);
}

#[test]
fn a_delay_is_kept_to() {
    let (server, relay, client) = scene();
    relay.set_both(Conditions::delayed(Duration::from_millis(30)));
    let begin = Instant::now();
    exchange(&server, &client, b"far");
    assert!(begin.elapsed() >= Duration::from_millis(60));
}

#[test]
fn a_rebind_shows_another_port_and_forgets_what_is_on_the_way() {
    // A slow machine may deliver before it rebinds; then it gets more time.
    for delay in [50, 500, 5000].map(Duration::from_millis) {
        let (server, relay, client) = scene();
        let before = exchange(&server, &client, b"one");
        relay.set(Conditions::default(), Conditions::delayed(delay));
        server.send_to(b"lost", before).expect("sent");
        eventually("the relay has it", || relay.counts().1.delivered.datagrams == 2);
        relay.rebind();
        relay.set_both(Conditions::default());
        client.send(b"two").expect("sent");
        let (received, after) = next(&server);
        assert_eq!(received, b"two");
        assert_ne!(before.port(), after.port());
        // It would come before what is sent when it is due.
        std::thread::sleep(delay);
        eventually("the next one comes", || {
            server.send_to(b"three", after).is_ok() && next(&client).0 == b"three"
        });
        if relay.relay_counts().forgotten == 1 {
            return;
        }
    }
    panic!("what was on the way is never lost");
}

#[test]
fn a_change_of_address_shows_it() {
    let (server, relay, client) = scene();
    assert_eq!(exchange(&server, &client, b"wifi").ip(), Ipv4Addr::LOCALHOST);
    relay.readdress(Ipv4Addr::new(127, 0, 0, 77).into());
    assert_eq!(exchange(&server, &client, b"cell").ip(), Ipv4Addr::new(127, 0, 0, 77));
}

#[test]
fn blocked_is_silent_or_refused_and_ends_at_the_same_address() {
    let (server, relay, client) = scene();
    let known = exchange(&server, &client, b"open");
    relay.block(Some(Blocking::Silent)).expect("blocked");
    client.send(b"lost").expect("sent");
    eventually("the relay has it", || relay.relay_counts().blocked == 1);

    relay.block(Some(Blocking::Refused)).expect("blocked");
    eventually("the kernel refuses", || {
        // The error of one call is reported by the next.
        client.send(b"refused").is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    });
    server.send_to(b"lost", known).expect("sent");
    eventually("the relay has it", || relay.relay_counts().blocked >= 2);

    relay.block(None).expect("open");
    // One more error may be waiting.
    client.take_error().expect("a socket");
    assert_eq!(exchange(&server, &client, b"open again"), known);
}

#[test]
fn two_relays_share_a_path_or_a_server() {
    let (server, wifi, client) = scene();
    let cell = UdpRelay::start_on(wifi.path().clone(), address(&server)).expect("a relay");
    let one = exchange(&server, &client, b"by one");
    client.connect(cell.address()).expect("an address");
    assert_ne!(exchange(&server, &client, b"by the other"), one);
    assert_eq!(wifi.counts().0.delivered.datagrams, 2);
    cell.cut(true);
    client.connect(wifi.address()).expect("an address");
    client.send(b"lost").expect("sent");
    eventually("it is lost", || wifi.counts().0.lost_to(Loss::Cut) == 1);
}

/// Everything at once: what the link said is what arrived, no more and no less.
#[test]
fn what_arrives_is_what_the_link_has_let_through() {
    const SENT: u32 = 2000;
    let (server, relay, client) = scene();
    let conditions = Conditions {
        duplication: 0.1,
        jitter: Duration::from_millis(3),
        reordering: Some(Reordering { probability: 0.1, late: Duration::from_millis(2) }),
        rate: Some(Rate { bits_per_second: 20_000_000, queue: Queue::Bytes(1 << 20) }),
        ..Conditions::delayed(Duration::from_millis(5)).with_loss(0.2)
    };
    relay.set_both(conditions);
    let send_all = || {
        for number in 0..SENT {
            client.send(&number.to_be_bytes().repeat(20)).expect("sent");
            // So that it is the relay that loses, and not the kernel.
            let sent = u64::from(number);
            eventually("it keeps up", || relay.counts().0.offered.datagrams + 32 > sent);
        }
        eventually("the relay has all", || relay.counts().0.offered.datagrams == u64::from(SENT));
        // An empty one, past the relay, says that no more are offered.
        end().send_to(&[], address(&server)).expect("sent");
    };
    let mut arrived = BTreeMap::new();
    // What comes is read while more is sent: the kernel holds but some hundreds.
    std::thread::scope(|scope| {
        scope.spawn(send_all);
        let (mut count, mut all) = (0, None);
        while all.is_none_or(|all| count < all) {
            let datagram = next(&server).0;
            if datagram.is_empty() {
                let counts = relay.counts().0;
                all = Some(counts.delivered.datagrams + counts.duplicated);
            } else {
                *arrived.entry(datagram).or_insert(0) += 1;
                count += 1;
            }
        }
    });
    let counts = relay.counts().0;
    assert_eq!(arrived.len() as u64, counts.delivered.datagrams);
    assert_eq!(arrived.values().filter(|times| **times == 2).count() as u64, counts.duplicated);
    assert!(counts.lost_to(Loss::Random) > 300 && counts.duplicated > 100, "{counts}");
    assert_eq!(relay.relay_counts(), UdpCounts::default());
}
