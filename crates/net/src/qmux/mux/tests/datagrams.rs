//! Datagrams between two ends, beside streams, and from hostile peers.

use super::*;
use crate::datagram::{
    DATAGRAM_BYTES_MAX, Dropped, OVERHEAD_BYTES, QUEUE_DATAGRAMS_MAX, RECEIVED_BURST_BYTES,
    SENT_BYTES_PER_SECOND,
};

fn logged_in() -> Pair {
    let mut pair = Pair::new();
    pair.server.raise(4, SERVER.receive_bytes);
    pair.settle();
    pair
}

/// A server to which a peer has said these frames after its parameters.
fn told(config: Config, frames: &[Frame]) -> Mux {
    let now = Instant::now();
    let mut server = Mux::new(config, None, now);
    let mut record = BytesMut::new();
    Frame::Parameters(Default::default()).put(&mut record);
    server.receive(record.split().freeze(), now);
    for frame in frames {
        frame.put(&mut record);
        server.receive(record.split().freeze(), now);
    }
    server
}

#[test]
fn they_go_both_ways_once_the_client_may() {
    let mut pair = Pair::new();
    assert_eq!(pair.client.datagram_bytes_max(), Some(DATAGRAM_BYTES_MAX));
    pair.client.send_datagram(Bytes::from_static(b"early"));
    pair.settle();
    assert_eq!(pair.server.take_datagram(), None);
    assert_eq!(pair.server.datagrams_dropped(), Dropped { received: 1, sent: 0 });
    pair.server.raise(4, SERVER.receive_bytes);
    for datagram in [Bytes::from_static(b"one"), Bytes::new(), vec![1; DATAGRAM_BYTES_MAX].into()] {
        pair.client.send_datagram(datagram.clone());
        pair.server.send_datagram(datagram.clone());
        pair.settle();
        assert_eq!(pair.server.take_datagram(), Some(datagram.clone()));
        assert_eq!(pair.client.take_datagram(), Some(datagram));
    }
    assert_eq!((pair.server.take_datagram(), pair.client.take_datagram()), (None, None));
}

#[test]
fn they_let_messages_go_first_and_take_turns_with_bulk() {
    let mut pair = logged_in();
    let (session, bulk) = (pair.open(), pair.open());
    pair.client.prioritise(session, 3);
    let datagram = Bytes::from(vec![2; 400]);
    (0..QUEUE_DATAGRAMS_MAX).for_each(|_| pair.client.send_datagram(datagram.clone()));
    pair.write(session, 12_000);
    pair.write(bulk, 30_000);
    assert!(pair.up() && pair.up());
    assert_eq!(pair.taken(session), 12_000, "nothing went before it");
    let (mut datagrams, mut bytes) = (0, 0);
    while pair.up() {
        datagrams += std::iter::from_fn(|| pair.server.take_datagram()).count();
        bytes += pair.taken(bulk);
        pair.down();
        if datagrams > 0 && bytes > 0 {
            break;
        }
    }
    assert!(datagrams > 0 && bytes > 0 && bytes < 30_000, "{datagrams} beside {bytes} bytes");
}

#[test]
fn a_stream_is_not_kept_waiting_by_datagrams_without_end() {
    let mut pair = logged_in();
    let bulk = pair.open();
    pair.write(bulk, 30_000);
    let mut records = 0;
    while pair.taken(bulk) == 0 {
        (0..100).for_each(|_| pair.client.send_datagram(Bytes::from_static(b"again")));
        assert!(pair.up());
        records += 1;
    }
    assert!(records <= 2, "after {records} records");
}

#[test]
fn no_more_go_than_their_pace_allows_and_what_waits_is_due_then() {
    let mut pair = logged_in();
    let start = pair.now;
    let mut arrived = 0;
    while pair.now < start + Duration::from_secs(10) {
        pair.client.send_datagram(Bytes::from(vec![0; 1000]));
        if pair.up() {
            pair.down();
            arrived += std::iter::from_fn(|| pair.server.take_datagram()).count();
        } else {
            let due = pair.client.datagrams_due().expect("one waits");
            assert!(due > pair.now, "or it would have gone");
            pair.now = due;
        }
    }
    let bytes = arrived * (1000 + OVERHEAD_BYTES);
    let pace = 10 * SENT_BYTES_PER_SECOND as usize;
    assert!((pace..pace + pace / 100).contains(&bytes), "{bytes}");
    assert!(pair.server.end().is_none(), "it is no flood");
}

#[test]
fn the_oldest_makes_room_on_both_sides() {
    let mut pair = logged_in();
    for number in 0..100_u8 {
        pair.client.send_datagram(Bytes::from(vec![number]));
    }
    assert_eq!(pair.client.datagrams_dropped(), Dropped { received: 0, sent: 36 });
    pair.settle();
    let first = pair.server.take_datagram();
    assert_eq!(first.as_deref(), Some(&[36][..]));

    let frames: Vec<_> =
        (0..100).map(|number| Frame::Datagram(Bytes::from(vec![number]))).collect();
    let mut server = told(SERVER, &[]);
    server.raise(4, SERVER.receive_bytes);
    let mut record = BytesMut::new();
    frames.iter().for_each(|frame| frame.put(&mut record));
    server.receive(record.freeze(), Instant::now());
    assert_eq!(server.take_datagram().as_deref(), Some(&[36][..]));
    assert_eq!(server.datagrams_dropped().received, 36);
}

#[test]
fn where_none_are_taken_they_are_a_violation() {
    let none = Config { datagrams: false, ..SERVER };
    let datagram = Frame::Datagram(Bytes::from_static(b"voice"));
    let mut server = told(none, &[datagram]);
    assert_eq!(server.end(), Some(&End::Fault(Violation::Protocol)));
    assert_eq!((server.datagram_bytes_max(), server.datagrams_due()), (None, None));
    server.send_datagram(Bytes::from_static(b"voice"));
    assert_eq!(server.take_datagram(), None);

    let now = Instant::now();
    let (client, server) = (Mux::new(CLIENT, None, now), Mux::new(none, None, now));
    let mut pair = Pair { client, server, now };
    assert_eq!(pair.client.datagram_bytes_max(), None, "nothing is known yet");
    pair.settle();
    assert_eq!((pair.client.datagram_bytes_max(), pair.server.datagram_bytes_max()), (None, None));
}

#[test]
fn a_peer_that_takes_short_ones_gets_short_ones() {
    for (announced, max) in
        [(3, Some(0)), (100, Some(97)), (1 << 40, Some(DATAGRAM_BYTES_MAX)), (2, None)]
    {
        let now = Instant::now();
        let mut server = Mux::new(SERVER, None, now);
        let mut record = BytesMut::new();
        let parameters = Parameters { datagram_frame_bytes: announced, ..Parameters::default() };
        Frame::Parameters(parameters).put(&mut record);
        server.receive(record.freeze(), now);
        assert_eq!(server.datagram_bytes_max(), max);
    }
}

/// The peer is told so with a close code, as over QUIC.
#[test]
fn floods_and_what_is_too_long_end_the_connection() {
    let flood = vec![Frame::Datagram(Bytes::new()); RECEIVED_BURST_BYTES as usize / OVERHEAD_BYTES];
    assert!(told(SERVER, &flood).end().is_none(), "at once, after nothing, that is no flood");
    let flood = [flood, vec![Frame::Datagram(Bytes::new())]].concat();
    let long = [Frame::Datagram(Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1]))];
    for frames in [&flood[..], &long] {
        let mut server = told(SERVER, frames);
        assert_eq!(server.end(), Some(&End::Here));
        let mut farewell = server.next_record(Instant::now()).expect("the peer is told").freeze();
        let told = std::iter::from_fn(|| Frame::take(&mut farewell).ok()).last();
        assert!(matches!(told, Some(Frame::Close { code: 4, application: true, .. })), "{told:?}");
    }
}
