//! What must hold of the multiplexer under a WebSocket for any records of a client.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use skein_net::{
    datagram::{DATAGRAM_BYTES_MAX, QUEUE_DATAGRAMS_MAX},
    qmux::{
        RECORD_BYTES_MAX,
        frame::Frame,
        mux::{Config, End, Mux},
    },
};
use tokio::time::Instant;

const SERVER: Config = Config {
    client: false,
    streams: 4,
    receive_bytes: 8 * 1024,
    stream_receive_bytes: 4 * 1024,
    stream_send_bytes: 4 * 1024,
    idle_timeout: Duration::from_secs(60),
    keep_alive: None,
    datagrams: true,
};
/// Records that a server may have to say after one of a client, at most: its streams hold no more.
const RECORDS_MAX: usize = 16;

/// Frames that are read say the same when they are written. A server holds no more than it allows,
/// says no more than a little to each record, and ends with a fault or not at all, unless datagrams
/// were too many or too long. It takes none before its application has worked for the first time. Each record is
/// preceded by its length in a byte, whose highest bit says whether the server's application works.
pub fn qmux_records(data: &[u8]) {
    let mut server = Mux::new(SERVER, None, Instant::now());
    let mut streams = Vec::new();
    let (mut rest, mut datagrams, mut raised) = (data, false, false);
    while let Some((head, bytes)) = rest.split_first() {
        let (record, after) = bytes.split_at(bytes.len().min(usize::from(head & 0x7f)));
        rest = after;
        let record = Bytes::copy_from_slice(record);
        datagrams |= written_again(record.clone());
        server.receive(record, Instant::now());
        if !raised {
            assert!(server.take_datagram().is_none(), "a datagram before it may be sent");
        }
        if head & 0x80 != 0 {
            raised = true;
            server.raise(SERVER.streams, SERVER.receive_bytes);
            work(&mut server, &mut streams);
        }
        let mut said = 0;
        while let Some(record) = server.next_record(Instant::now()) {
            assert!(record.len() <= RECORD_BYTES_MAX, "{} bytes", record.len());
            written_again(record.freeze());
            said += 1;
            assert!(said <= RECORDS_MAX, "it does not stop");
        }
        if let Some(end) = server.end() {
            assert!(!matches!(end, End::Lost(_)), "{end:?}");
            assert!(datagrams || !matches!(end, End::Here), "nobody has closed it");
            return;
        }
    }
}

/// The application of a server that answers each stream and datagram with what it says, and gives
/// every third stream up.
fn work(server: &mut Mux, streams: &mut Vec<u64>) {
    let mut datagrams = 0;
    while let Some(datagram) = server.take_datagram() {
        datagrams += 1;
        assert!(datagrams <= QUEUE_DATAGRAMS_MAX && datagram.len() <= DATAGRAM_BYTES_MAX);
        if server.datagram_bytes_max().is_some_and(|max| datagram.len() <= max) {
            server.send_datagram(datagram);
        }
    }
    while let Some(stream) = server.accept() {
        streams.push(stream.index);
    }
    assert!(streams.len() as u64 <= SERVER.streams, "{streams:?}");
    streams.retain(|&index| {
        let mut held = 0;
        let over = loop {
            match server.read(index, 1000) {
                Ok(Some(Some(mut bytes))) => {
                    held += bytes.len() as u64;
                    server.write(index, &mut bytes).ok();
                }
                Ok(None) => break index % 3 == 2,
                Ok(Some(None)) | Err(_) => break true,
            }
        };
        assert!(held <= SERVER.stream_receive_bytes, "{held} bytes");
        if over {
            if index % 3 == 2 {
                server.reset(index, 1);
                server.stop(index, 1);
            }
            server.finish_stream(index);
            // Who reads no more wants no more.
            server.stop(index, 0);
            server.release_receiver(index);
            server.release_sender(index);
        }
        !over
    });
}

/// All frames of a record, read, written and read again. Answers whether there were datagrams.
fn written_again(mut record: Bytes) -> bool {
    let mut datagrams = false;
    while !record.is_empty() {
        let Ok(frame) = Frame::take(&mut record) else { break };
        datagrams |= matches!(frame, Frame::Datagram(_));
        let mut written = BytesMut::new();
        frame.put(&mut written);
        assert_eq!(Frame::take(&mut written.freeze()), Ok(frame));
    }
    datagrams
}

/// Records of a client that behaves.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let client = Config { client: true, ..SERVER };
    let now = Instant::now();
    let (mut client, mut server) = (Mux::new(client, None, now), Mux::new(SERVER, None, now));
    let mut seed = Vec::new();
    for round in 0..8_u8 {
        if let Some(stream) = client.open() {
            let mut bytes = Bytes::from(vec![round; 40]);
            client.write(stream.index, &mut bytes).expect("open");
            match round % 3 {
                0 => client.finish_stream(stream.index),
                1 => client.reset(stream.index, 5),
                _ => client.stop(stream.index, 6),
            }
        }
        client.send_datagram(Bytes::from(vec![round; usize::from(round)]));
        client.ping();
        while let Some(record) = client.next_record(now) {
            let length = u8::try_from(record.len()).expect("short").min(0x7f);
            seed.push(length | 0x80);
            seed.extend_from_slice(&record[..usize::from(length)]);
            server.receive(record.freeze(), now);
        }
        while let Some(record) = server.next_record(now) {
            client.receive(record.freeze(), now);
        }
    }
    let mut closing = seed.clone();
    client.close(2, Bytes::from_static(b"bye"));
    if let Some(record) = client.next_record(now) {
        closing.push(u8::try_from(record.len()).expect("short") | 0x80);
        closing.extend_from_slice(&record);
    }
    vec![seed, closing]
}
