//! Files: sending and fetching them, over as many connections and processes as it takes.

mod download;
mod source;
mod upload;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use skein_core::{
    time::Timestamp,
    transfer::{Meter, Next},
};
use skein_net::Connection;

use crate::{Client, Error};

/// Bytes that are read from or written to disk at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// How long one try waits for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server may leave a transfer without a sign.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How a transfer is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes that this phase has behind it. While sending: what the server has durably.
    pub done: u64,
    /// Bytes in the whole file, once known.
    pub total: Option<u64>,
    /// Bytes a second lately.
    pub bytes_per_second: Option<u64>,
    /// How long the rest will take at that rate.
    pub time_left: Option<Duration>,
}

/// What a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the file to know its hash.
    Hashing,
    /// A stream to the server was opened; what is `done` needs not be sent.
    Opened,
    /// Sending.
    Sending,
    /// Receiving.
    Receiving,
    /// There is no connection; it continues when there is.
    Waiting,
}

/// Who is told about progress.
type Watcher<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Turns byte counts into progress.
struct Reporter<'a> {
    watcher: Watcher<'a>,
    started: Instant,
    meter: Mutex<Meter>,
    total: Option<u64>,
}

/// How one try of a transfer ended, if not well.
enum Interrupted {
    /// Something that another try may not meet.
    Retry(Next),
    /// Something that it would.
    Failed(Error),
}

impl<'a> Reporter<'a> {
    fn new(watcher: Watcher<'a>, total: Option<u64>) -> Self {
        let meter = Mutex::new(Meter::new(0, Timestamp(0)));
        Self { watcher, started: Instant::now(), meter, total }
    }

    /// The bytes up to here were not moved now: they do not count for the rate.
    fn begin(&self, phase: Phase, done: u64) {
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) = Meter::new(done, self.now());
        self.report(phase, done);
    }

    fn report(&self, phase: Phase, done: u64) {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.update(done, self.now());
        let time_left = self.total.and_then(|total| meter.time_left(total));
        let bytes_per_second = meter.bytes_per_second();
        drop(meter);
        (self.watcher)(Progress { phase, done, total: self.total, bytes_per_second, time_left });
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Client {
    /// The connection of the live session, once there is one.
    async fn transfer_connection(&self) -> Result<Option<Connection>, Error> {
        match self.live(CONNECTION_TIMEOUT).await {
            Ok(()) => Ok(self.handle()?.connection.borrow().clone()),
            Err(Error::Unreachable(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
