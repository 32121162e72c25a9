//! What the two ends do over a connection of the model: bulk in either direction on a stream of
//! low priority, and small messages, which the server sends back, on one of high priority. As in
//! Skein the client opens every stream.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn_proto::{Connection, Dir, StreamId};
use skein_net::priority::Priority;

/// Bytes of a message, all in all: as much as a short text with its envelope.
const MESSAGE_BYTES: usize = 200;
/// Bytes handed to quinn at a time.
const WRITE_BYTES: usize = 16 * 1024;
/// Over how long delivered bytes are summed up.
pub(crate) const BIN: Duration = Duration::from_millis(100);

/// What a stream carries; its first byte says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Bytes from the client, as many as go.
    Upload = b'U',
    /// Bytes to the client, as many as go.
    Download = b'D',
    /// Messages that come back.
    Chat = b'C',
}

/// A stream that the client is to open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    /// What it carries.
    pub(crate) kind: Kind,
    /// From when, since the start of the run.
    pub(crate) from: Duration,
    /// Until when.
    pub(crate) until: Duration,
    /// Time between two messages.
    pub(crate) every: Duration,
}

/// A message that came to the server, or back from there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// When it was due to be sent, since the start of the run.
    pub(crate) due: Duration,
    /// How long it took, one way.
    pub(crate) took: Duration,
}

/// The work of one end.
#[derive(Debug)]
pub(crate) struct Work {
    epoch: Instant,
    to_open: Vec<Task>,
    open: Vec<Open>,
    is_server: bool,
    zeros: Bytes,
    /// Bulk bytes that this end has received, by [`BIN`].
    pub(crate) received: Vec<u64>,
    /// Messages that have come to this end.
    pub(crate) deliveries: Vec<Delivery>,
}

#[derive(Debug)]
struct Open {
    id: StreamId,
    task: Option<Task>,
    kind: Option<Kind>,
    /// Messages sent so far.
    sent: u32,
    outgoing: VecDeque<u8>,
    incoming: Vec<u8>,
}

impl Work {
    pub(crate) fn client(epoch: Instant, tasks: Vec<Task>) -> Self {
        Self::new(epoch, tasks, false)
    }

    pub(crate) fn server(epoch: Instant) -> Self {
        Self::new(epoch, Vec::new(), true)
    }

    fn new(epoch: Instant, to_open: Vec<Task>, is_server: bool) -> Self {
        Self {
            epoch,
            to_open,
            open: Vec::new(),
            is_server,
            zeros: Bytes::from_static(&[0; WRITE_BYTES]),
            received: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// When there is something to do that nothing from outside announces.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let opens = self.to_open.iter().map(|task| self.epoch + task.from);
        let chats = self.open.iter().filter_map(|open| {
            let task = open.task.filter(|task| task.kind == Kind::Chat)?;
            Some(self.epoch + task.from + task.every * open.sent)
                .filter(|due| *due < self.epoch + task.until)
        });
        let ends = self.open.iter().filter_map(|open| Some(self.epoch + open.task?.until));
        opens.chain(chats).chain(ends).filter(|due| *due > now).min()
    }

    /// Reads and writes whatever can be.
    pub(crate) fn act(&mut self, now: Instant, connection: &mut Connection) {
        let elapsed = now - self.epoch;
        let mut waiting = Vec::new();
        for task in std::mem::take(&mut self.to_open) {
            match (task.from <= elapsed).then(|| connection.streams().open(Dir::Bi)).flatten() {
                Some(id) => {
                    prioritise(connection, id, task.kind);
                    let mut open = Open::new(id, Some(task.kind), Some(task));
                    open.outgoing.push_back(task.kind as u8);
                    self.open.push(open);
                }
                None => waiting.push(task),
            }
        }
        self.to_open = waiting;
        while let Some(id) = connection.streams().accept(Dir::Bi) {
            self.open.push(Open::new(id, None, None));
        }
        let mut open = std::mem::take(&mut self.open);
        for stream in &mut open {
            self.read(elapsed, connection, stream);
            self.write(elapsed, connection, stream);
        }
        open.retain(|stream| {
            stream.task.is_none_or(|task| task.kind == Kind::Chat || elapsed < task.until)
        });
        self.open = open;
    }

    fn read(&mut self, now: Duration, connection: &mut Connection, open: &mut Open) {
        let mut stream = connection.recv_stream(open.id);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            let mut bytes = chunk.bytes;
            if open.kind.is_none() && !bytes.is_empty() {
                open.kind = kind(bytes.split_to(1)[0]);
            }
            if open.kind == Some(Kind::Chat) {
                open.incoming.extend_from_slice(&bytes);
            } else {
                let bin = (now.as_nanos() / BIN.as_nanos()) as usize;
                if self.received.len() <= bin {
                    self.received.resize(bin + 1, 0);
                }
                self.received[bin] += bytes.len() as u64;
            }
        }
        // Whether quinn wants to send credit for what was read shows when it is polled.
        drop(chunks);
        if let Some(kind) = open.kind.filter(|_| self.is_server) {
            prioritise(connection, open.id, kind);
        }
        while open.incoming.len() >= MESSAGE_BYTES {
            let rest = open.incoming.split_off(MESSAGE_BYTES);
            let message = std::mem::replace(&mut open.incoming, rest);
            let mut due = [0; 8];
            due.copy_from_slice(&message[..8]);
            let due = Duration::from_nanos(u64::from_le_bytes(due));
            self.deliveries.push(Delivery { due, took: now - due });
            if self.is_server {
                open.outgoing.extend(message_due(now));
            }
        }
    }

    fn write(&self, now: Duration, connection: &mut Connection, open: &mut Open) {
        if let Some(task) = open.task.filter(|task| task.kind == Kind::Chat) {
            loop {
                let due = task.from + task.every * open.sent;
                if due > now || due >= task.until {
                    break;
                }
                open.outgoing.extend(message_due(due));
                open.sent += 1;
            }
        }
        let mut stream = connection.send_stream(open.id);
        while !open.outgoing.is_empty() {
            let (front, _) = open.outgoing.as_slices();
            let Ok(written) = stream.write(front) else { return };
            open.outgoing.drain(..written);
        }
        let wanted = if self.is_server { Kind::Download } else { Kind::Upload };
        if open.kind == Some(wanted) {
            if open.task.is_some_and(|task| task.until <= now) {
                stream.finish().ok();
                return;
            }
            while stream.write_chunks(&mut [self.zeros.clone()]).is_ok() {}
        }
    }
}

impl Open {
    const fn new(id: StreamId, kind: Option<Kind>, task: Option<Task>) -> Self {
        Self { id, task, kind, sent: 0, outgoing: VecDeque::new(), incoming: Vec::new() }
    }
}

/// A message that is due to be sent at this time since the start of the run.
fn message_due(at: Duration) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    message[..8].copy_from_slice(&(at.as_nanos() as u64).to_le_bytes());
    message
}

fn kind(byte: u8) -> Option<Kind> {
    [Kind::Upload, Kind::Download, Kind::Chat].into_iter().find(|kind| *kind as u8 == byte)
}

fn prioritise(connection: &mut Connection, id: StreamId, kind: Kind) {
    let priority = if kind == Kind::Chat { Priority::Session } else { Priority::Bulk };
    // Only a stream that has ended refuses.
    connection.send_stream(id).set_priority(priority as i32).ok();
}
