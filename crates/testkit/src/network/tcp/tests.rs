//! The relay with real sockets. What chance and time do is tested with the model; here is what only
//! sockets show.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    PATIENCE,
    network::{Burst, Reordering},
};

/// A server that sends back what it gets, and says from where each connection comes.
fn echo() -> (SocketAddr, std::sync::mpsc::Receiver<IpAddr>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let (sender, receiver) = std::sync::mpsc::sync_channel(16);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            sender.send(stream.peer_addr().expect("connected").ip()).ok();
            thread::spawn(move || {
                let mut other = stream.try_clone().expect("a descriptor");
                // A reset ends it, as the end does.
                std::io::copy(&mut stream, &mut other).ok();
                other.shutdown(Shutdown::Write).ok();
            });
        }
    });
    (address, receiver)
}

fn connect(relay: &TcpRelay) -> TcpStream {
    let stream = TcpStream::connect(relay.address()).expect("the relay listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn exchange(stream: &mut TcpStream, word: &[u8]) {
    stream.write_all(word).expect("sent");
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).expect("it comes back");
    assert_eq!(back, word);
}

#[test]
fn bytes_go_to_and_fro_and_the_end_comes_last() {
    let (server, peers) = echo();
    let relay = TcpRelay::start(server).expect("a relay");
    let mut stream = connect(&relay);
    exchange(&mut stream, b"hello");
    stream.write_all(b"and bye").expect("sent");
    stream.shutdown(Shutdown::Write).expect("sent");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the end");
    assert_eq!(rest, "and bye");
    assert_eq!(peers.recv().expect("a connection"), Ipv4Addr::LOCALHOST);
}

#[test]
fn the_handshake_and_each_word_take_their_round_trips() {
    let (server, _peers) = echo();
    let relay = TcpRelay::start(server).expect("a relay");
    relay.set_both(Conditions::delayed(Duration::from_millis(20)));
    let begin = Instant::now();
    let mut stream = connect(&relay);
    exchange(&mut stream, b"one");
    assert!(begin.elapsed() >= Duration::from_millis(80));
    exchange(&mut stream, b"two");
    assert!(begin.elapsed() >= Duration::from_millis(120));
}

#[test]
fn megabytes_arrive_whole_through_a_bad_network() {
    const BYTES: usize = 2 * 1024 * 1024;
    let (server, _peers) = echo();
    let relay = TcpRelay::start(server).expect("a relay");
    relay.set_both(Conditions {
        burst: Some(Burst::of(0.005, 3.0)),
        duplication: 0.02,
        reordering: Some(Reordering { probability: 0.02, late: Duration::from_millis(5) }),
        jitter: Duration::from_millis(2),
        ..Conditions::delayed(Duration::from_millis(3)).with_loss(0.01)
    });
    let data: Vec<u8> = (0..BYTES).map(|at| (at * 31 / 7) as u8).collect();
    let mut stream = connect(&relay);
    let mut writer = stream.try_clone().expect("a descriptor");
    let sent = data.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("sent");
        writer.shutdown(Shutdown::Write).expect("sent");
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("it comes back");
    writing.join().expect("no panic");
    assert!(back == data, "{} of {BYTES} bytes, or others", back.len());
    let (up, down) = relay.counts();
    assert!(up.lost() > 0 && down.lost() > 0, "{up}; {down}");
}

#[test]
fn a_blackout_stops_and_a_return_goes_on() {
    let (server, _peers) = echo();
    let relay = TcpRelay::start(server).expect("a relay");
    let mut stream = connect(&relay);
    exchange(&mut stream, b"before");
    relay.cut(true);
    stream.write_all(b"during").expect("the kernel takes it");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let mut back = [0; 6];
    assert!(stream.read(&mut back).is_err(), "nothing comes");
    relay.cut(false);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.read_exact(&mut back).expect("it comes at last");
    assert_eq!(&back, b"during");
}

#[test]
fn a_change_of_address_kills_by_reset_or_in_silence() {
    let (server, peers) = echo();
    let relay = TcpRelay::start(server).expect("a relay");
    let mut stream = connect(&relay);
    exchange(&mut stream, b"wifi");
    let elsewhere = Ipv4Addr::new(127, 0, 0, 78);
    relay.readdress(elsewhere.into(), Death::Reset);
    let error = stream.read(&mut [0; 8]).expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let mut stream = connect(&relay);
    exchange(&mut stream, b"cell");
    let from: Vec<_> = peers.try_iter().collect();
    assert_eq!(from, [IpAddr::from(Ipv4Addr::LOCALHOST), elsewhere.into()]);

    relay.rebind(Death::Silent);
    stream.write_all(b"into the void").expect("the kernel takes it");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let error = stream.read(&mut [0; 8]).expect_err("silence");
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));
    exchange(&mut connect(&relay), b"a new one works");
}
