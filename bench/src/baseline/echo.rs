//! The raw quinn side of `pingpong`: as many connections, of which as many are busy, and messages
//! of the same size at the same times, which simply come back.

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use skein_testkit::memory;
use tokio::{task::JoinSet, time::timeout_at};

use super::{kind, process::Baseline};
use crate::{
    arguments::Pingpong,
    arrivals::{Arrivals, GRACE},
    failure::Failure,
    fleet::{HANDSHAKES_MAX, SESSIONS_PER_SOCKET},
    latency::Summary,
    pace::{Lane, Pace},
};

/// Bytes of a message's number, which is what tells messages apart.
const NUMBER_BYTES: usize = 8;

/// What the echo came to.
pub(crate) struct Echoed {
    pub(crate) summary: Summary,
    /// How much the process grew, for each connection.
    pub(crate) bytes_per_session: u64,
}

/// Connections with a stream on which everything comes back.
struct Fleet {
    _endpoints: Vec<Endpoint>,
    connections: Vec<(Connection, SendStream, RecvStream)>,
}

/// Measures the echo of messages of `message_bytes`.
///
/// # Errors
/// If a message does not come back, or no process could be had.
pub(crate) async fn run(load: &Pingpong, message_bytes: usize) -> Result<Echoed, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::machine("make a temporary folder"))?;
    let baseline = Baseline::start(folder.path())?;
    let before = memory::resident_bytes(baseline.id());
    let mut fleet = Fleet::connect(&baseline, load.sessions).await?;
    let grown = memory::resident_bytes(baseline.id()).saturating_sub(before);

    let message_bytes = message_bytes.max(NUMBER_BYTES);
    let pace = Pace::new(load.rate, load.messages(), load.pairs());
    let (lanes, clock) = pace.start();
    let mut waiting = JoinSet::new();
    for (number, lane) in (0..).zip(lanes) {
        let Some((_, send, receive)) = fleet.connections.pop() else { break };
        tokio::spawn(send_all(send, lane, message_bytes));
        waiting.spawn(receive_all(receive, Arrivals::new(pace, number), pace, message_bytes));
    }
    let arrivals = waiting.join_all().await;
    let unsent = clock.join().unwrap_or(0);
    let summary = Arrivals::sum_up("the raw quinn echo", arrivals, unsent)?;
    Ok(Echoed { summary, bytes_per_session: grown / u64::from(load.sessions) })
}

impl Fleet {
    async fn connect(baseline: &Baseline, sessions: u32) -> Result<Self, Failure> {
        let sockets = (sessions as usize).div_ceil(SESSIONS_PER_SOCKET);
        let endpoints: Vec<_> =
            (0..sockets).map(|_| baseline.endpoint()).collect::<Result<_, _>>()?;
        let connections = stream::iter(0..sessions as usize)
            .map(|index| open(baseline, &endpoints[index / SESSIONS_PER_SOCKET]))
            .buffer_unordered(HANDSHAKES_MAX)
            .try_collect()
            .await?;
        Ok(Self { _endpoints: endpoints, connections })
    }
}

/// A connection with one stream that has been used, as a session has after its hello.
async fn open(
    baseline: &Baseline,
    endpoint: &Endpoint,
) -> Result<(Connection, SendStream, RecvStream), Failure> {
    let connection = baseline.connect(endpoint).await?;
    let opened = connection.open_bi().await;
    let (mut send, mut receive) = opened.map_err(Failure::baseline("take a stream"))?;
    let hello = [kind::ECHO, 0];
    send.write_all(&hello).await.map_err(Failure::baseline("take bytes"))?;
    receive.read_exact(&mut [0]).await.map_err(Failure::baseline("echo"))?;
    Ok((connection, send, receive))
}

async fn send_all(mut send: SendStream, mut lane: Lane, message_bytes: usize) {
    while let Some(message) = lane.recv().await {
        // If the connection has ended, the messages are missing at the other end.
        if send.write_chunk(encode(message, message_bytes)).await.is_err() {
            return;
        }
    }
    // Whoever waits for the echo ends it; finishing here would only add a packet.
    send.stopped().await.ok();
}

async fn receive_all(
    mut receive: RecvStream,
    mut arrivals: Arrivals,
    pace: Pace,
    message_bytes: usize,
) -> Arrivals {
    let deadline = (pace.end() + GRACE).into();
    let mut message = vec![0; message_bytes];
    while !arrivals.complete() {
        match timeout_at(deadline, receive.read_exact(&mut message)).await {
            Ok(Ok(())) => arrivals.note(decode(&message)),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    arrivals
}

fn encode(message: u64, message_bytes: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(message_bytes);
    bytes.put_u64(message);
    bytes.resize(message_bytes, 0);
    bytes.freeze()
}

fn decode(mut message: &[u8]) -> u64 {
    bytes::Buf::get_u64(&mut message)
}
