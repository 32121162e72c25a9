//! Two ends with a pipe between them that carries one record at a time, and hostile peers.

mod datagrams;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use tokio::time::Instant;

use super::{super::frame::Frame, *};

const SERVER: Config = Config {
    client: false,
    streams: 4,
    receive_bytes: 64 * 1024,
    stream_receive_bytes: 32 * 1024,
    stream_send_bytes: 64 * 1024,
    idle_timeout: Duration::from_secs(60),
    keep_alive: None,
    datagrams: true,
};
const CLIENT: Config =
    Config { client: true, streams: 0, keep_alive: Some(Duration::from_secs(15)), ..SERVER };

struct Pair {
    client: Mux,
    server: Mux,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let (client, server) = (Mux::new(CLIENT, None, now), Mux::new(SERVER, None, now));
        let mut pair = Self { client, server, now };
        pair.settle();
        pair
    }

    /// Carries one record of the client, if it has one.
    fn up(&mut self) -> bool {
        let record = self.client.next_record(self.now);
        record.map(|record| self.server.receive(record.freeze(), self.now)).is_some()
    }

    fn down(&mut self) -> bool {
        let record = self.server.next_record(self.now);
        record.map(|record| self.client.receive(record.freeze(), self.now)).is_some()
    }

    /// Carries records until both have nothing to say.
    fn settle(&mut self) {
        while self.up() | self.down() {}
    }

    fn open(&mut self) -> u64 {
        self.client.open().expect("allowed").index
    }

    fn write(&mut self, index: u64, length: usize) -> usize {
        let mut bytes = Bytes::from(vec![7; length]);
        self.client.write(index, &mut bytes).expect("open");
        length - bytes.len()
    }

    /// Bytes of a stream that the server has, taken.
    fn taken(&mut self, index: u64) -> usize {
        let mut taken = 0;
        while let Ok(Some(Some(bytes))) = self.server.read(index, usize::MAX) {
            taken += bytes.len();
        }
        taken
    }
}

#[test]
fn bytes_arrive_whole_with_their_end() {
    let mut pair = Pair::new();
    let index = pair.open();
    assert_eq!(pair.write(index, 50_000), 50_000);
    pair.client.finish_stream(index);
    assert!(!pair.client.is_delivered(index));
    assert!(pair.server.accept().is_none());
    pair.up();
    assert_eq!(pair.server.accept().expect("opened").index, index);
    let mut taken = 0;
    loop {
        match pair.server.read(index, 1000).expect("open") {
            Some(Some(bytes)) => taken += bytes.len(),
            Some(None) => break,
            None => assert!(pair.up(), "more to come"),
        }
        pair.down();
    }
    assert_eq!(taken, 50_000);
    pair.settle();
    assert!(pair.client.is_delivered(index), "a ping after the end was answered");
}

#[test]
fn a_message_overtakes_whatever_waits() {
    let mut pair = Pair::new();
    let (session, bulk, other) = (pair.open(), pair.open(), pair.open());
    pair.client.prioritise(session, 3);
    for stream in [bulk, other] {
        pair.write(stream, 30_000);
    }
    assert!(pair.up());
    pair.write(session, 100);
    assert!(pair.up(), "one record is enough");
    assert_eq!(pair.taken(session), 100);
    // And of equals none has to wait for the other to be done.
    let (one, two) = (pair.taken(bulk), pair.taken(other));
    assert!(one > 0 && two > 0 && one < 30_000 && two < 30_000, "{one} {two}");
}

#[test]
fn nothing_is_sent_beyond_what_is_allowed() {
    let mut pair = Pair::new();
    let streams = [pair.open(), pair.open(), pair.open()];
    let queued = streams.map(|stream| pair.write(stream, 100_000));
    assert_eq!(queued, [SERVER.stream_send_bytes; 3], "the rest waits with its writer");
    pair.settle();
    let held: usize = streams.map(|stream| pair.taken(stream)).iter().sum();
    assert_eq!(held as u64, SERVER.receive_bytes, "two streams' windows fill the connection's");
    pair.settle();
    let more: usize = streams.map(|stream| pair.taken(stream)).iter().sum();
    assert!(more > 0, "what was read makes room");
    assert!(pair.client.end().is_none() && pair.server.end().is_none());
}

#[test]
fn streams_are_allowed_again_when_others_are_done() {
    let mut pair = Pair::new();
    for index in 0..4 {
        assert_eq!(pair.open(), index);
        pair.write(index, 10);
    }
    assert!(pair.client.open().is_none());
    pair.settle();
    pair.client.finish_stream(0);
    pair.settle();
    assert_eq!(pair.server.accept().expect("the first").index, 0);
    assert_eq!(pair.taken(0), 10);
    for half in [Mux::release_receiver, Mux::release_sender] {
        assert!(pair.client.open().is_none(), "the server's half is not done");
        half(&mut pair.server, 0);
        pair.server.finish_stream(0);
        pair.settle();
    }
    pair.server.retire(0);
    pair.settle();
    assert_eq!(pair.open(), 4);
    pair.server.raise(16, SERVER.receive_bytes);
    pair.settle();
    assert_eq!(pair.open(), 5);
}

#[test]
fn either_side_gives_a_stream_up() {
    let mut pair = Pair::new();
    let index = pair.open();
    pair.write(index, 1000);
    pair.settle();
    pair.client.reset(index, 9);
    pair.settle();
    assert_eq!(pair.server.read(index, 10), Err(Broken::Abandoned(9)));

    let index = pair.open();
    pair.write(index, 60_000);
    pair.up();
    pair.server.stop(index, 7);
    pair.settle();
    let mut more = Bytes::from_static(b"more");
    assert_eq!(pair.client.write(index, &mut more), Err(Broken::Abandoned(7)));
    assert!(pair.client.is_delivered(index), "nobody waits for what nobody wants");
    pair.client.finish_stream(index);
    pair.settle();
    assert!(pair.client.end().is_none() && pair.server.end().is_none());
}

#[test]
fn a_close_goes_ahead_of_everything() {
    let mut pair = Pair::new();
    let index = pair.open();
    pair.write(index, 60_000);
    pair.client.close(2, Bytes::from_static(b"bye"));
    pair.up();
    assert_eq!(pair.server.end(), Some(&End::Closed(2, Bytes::from_static(b"bye"))));
    assert_eq!(pair.client.end(), Some(&End::Here));
    assert!(!pair.up() && !pair.down(), "nothing follows");
    let mut more = Bytes::from_static(b"more");
    assert_eq!(pair.client.write(index, &mut more), Err(Broken::Ended));
    assert_eq!(pair.server.read(index, 1), Err(Broken::Ended));
}

#[test]
fn what_came_before_the_end_can_be_read() {
    let mut pair = Pair::new();
    let index = pair.open();
    pair.write(index, 3);
    pair.settle();
    pair.client.close(0, Bytes::new());
    pair.settle();
    assert_eq!(pair.server.read(index, 10), Ok(Some(Some(Bytes::from_static(&[7, 7, 7])))));
    assert_eq!(pair.server.read(index, 10), Err(Broken::Ended));
}

#[test]
fn silence_is_noticed_and_idleness_is_not_silence() {
    let mut pair = Pair::new();
    for _ in 0..20 {
        pair.now += CLIENT.keep_alive.expect("set");
        pair.client.tick(pair.now);
        pair.server.tick(pair.now);
        pair.settle();
    }
    assert!(pair.client.end().is_none() && pair.server.end().is_none());
    pair.now += SERVER.idle_timeout;
    pair.client.tick(pair.now);
    assert!(matches!(pair.client.end(), Some(End::Lost(_))));
    assert!(pair.client.due() <= pair.now);
}

#[test]
fn pings_measure_the_path() {
    let mut pair = Pair::new();
    let record = {
        pair.client.ping();
        pair.client.next_record(pair.now).expect("a ping")
    };
    pair.now += Duration::from_millis(80);
    pair.server.receive(record.freeze(), pair.now);
    pair.settle();
    // The first sample, over nothing, was 0.
    assert_eq!(pair.client.round_trip(), Duration::from_millis(10));
}

/// A server asks for nothing by itself, so nobody would ask later.
#[test]
fn an_end_is_known_to_have_arrived_though_a_ping_was_out_when_it_was_sent() {
    let mut pair = Pair::new();
    let index = pair.open();
    pair.write(index, 10);
    pair.settle();
    // Long enough after the last ping that another goes along.
    pair.now += Duration::from_secs(1);
    let before = pair.server.pings();
    pair.server.write(index, &mut Bytes::from_static(b"the last event")).expect("open");
    assert!(pair.down());
    assert_eq!(pair.server.pings(), before + 1);
    pair.server.finish_stream(index);
    assert!(pair.down());
    assert_eq!(pair.server.pings(), before + 1, "one at a time");
    let bells = pair.server.bells();
    let rung = || bells.output.notified().now_or_never().is_some();
    while rung() {}
    assert!(pair.up());
    assert!(!pair.server.is_delivered(index), "that ping was sent before the end");
    assert!(rung(), "there is something to send");
    pair.settle();
    assert!(pair.server.is_delivered(index));
    assert_eq!(pair.server.pings(), before + 2);
}

/// What a server must refuse, each with the violation it is.
#[test]
fn hostile_records_end_the_connection() {
    let data = |length| Bytes::from(vec![1; length]);
    let stream = |id, offset, length| Frame::Stream { id, offset, data: data(length), end: false };
    let end = |id, offset| Frame::Stream { id, offset, data: Bytes::new(), end: true };
    let parameters = || Frame::Parameters(Default::default());
    let records: &[(&[Frame], Violation)] = &[
        (&[stream(0, 0, 1)], Violation::Protocol),
        (&[parameters(), parameters()], Violation::Protocol),
        (&[parameters(), stream(4 * 4, 0, 1)], Violation::StreamLimit),
        (&[parameters(), stream(1, 0, 1)], Violation::StreamLimit),
        (&[parameters(), stream(2, 0, 1)], Violation::StreamLimit),
        (&[parameters(), Frame::Stop { id: 1 << 50, code: 0 }], Violation::StreamLimit),
        (&[parameters(), stream(0, 5, 1)], Violation::Protocol),
        (&[parameters(), end(0, 0), stream(0, 0, 1)], Violation::StreamState),
        (&[parameters(), Frame::Reset { id: 0, code: 0, size: 40_000 }], Violation::FlowControl),
        (&[parameters(), Frame::Ping(4), Frame::Ping(4)], Violation::Protocol),
        (&[parameters(), Frame::Pong(9)], Violation::Protocol),
    ];
    for (frames, violation) in records {
        let now = Instant::now();
        let mut server = Mux::new(SERVER, None, now);
        let mut record = BytesMut::new();
        for frame in *frames {
            frame.put(&mut record);
        }
        server.receive(record.freeze(), now);
        assert_eq!(server.end(), Some(&End::Fault(*violation)), "{frames:?}");
        let farewell = server.next_record(now).expect("the peer is told");
        let mut farewell = farewell.freeze();
        let told = std::iter::from_fn(|| Frame::take(&mut farewell).ok()).last();
        assert!(matches!(told, Some(Frame::Close { application: false, .. })), "{told:?}");
        assert!(server.next_record(now).is_none());
    }
}

#[test]
fn a_peer_that_ignores_credit_is_refused() {
    let now = Instant::now();
    let mut server = Mux::new(SERVER, None, now);
    let mut record = BytesMut::new();
    Frame::Parameters(Default::default()).put(&mut record);
    server.receive(record.split().freeze(), now);
    for offset in (0..).step_by(8192) {
        let data = Bytes::from(vec![1; 8192]);
        Frame::Stream { id: 0, offset, data, end: false }.put(&mut record);
        server.receive(record.split().freeze(), now);
        if server.end().is_some() {
            assert_eq!(offset, SERVER.stream_receive_bytes);
            break;
        }
    }
    assert_eq!(server.end(), Some(&End::Fault(Violation::FlowControl)));
}

/// A peer that never reads cannot make the server hold more by asking for more.
#[test]
fn what_is_owed_to_a_peer_that_does_not_read_is_bounded() {
    let now = Instant::now();
    let mut server = Mux::new(SERVER, None, now);
    let mut record = BytesMut::new();
    Frame::Parameters(Default::default()).put(&mut record);
    for number in 0..10_000 {
        Frame::Ping(number).put(&mut record);
        Frame::Stop { id: 4, code: number }.put(&mut record);
        Frame::MaxData(number).put(&mut record);
        server.receive(record.split().freeze(), now);
    }
    let mut said = 0;
    while let Some(record) = server.next_record(now) {
        said += record.len();
    }
    assert!(said < 200, "{said} bytes");
    assert!(server.end().is_none());
}
