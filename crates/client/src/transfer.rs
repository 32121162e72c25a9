//! Files: sending and fetching them, over as many connections and processes as it takes.
//!
//! A *try* is one file over one connection: a stream (`upload`), or some for ranges of it
//! (`download`, `ranges`). Somebody who waits for a file tries again until a patience is at its end;
//! the queue in the background ([`queue`], `runner`) tries the same way, and has no such end.

mod download;
mod job;
mod queue;
mod ranges;
mod runner;
mod source;
mod upload;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub use download::partial_path;
pub use queue::{Direction, Failure, Transfer};

use skein_core::{
    refusal::{Code, Refusal},
    time::Timestamp,
    transfer::{Meter, Next, Path, Patience},
};
use skein_net::{Connection, stream::StreamError};
use tokio::sync::watch;

use crate::{Client, Error};

/// Bytes that are read from or written to disk at a time, but for those that are sent.
const PIECE_BYTES: usize = 256 * 1024;
/// How long one try waits for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server may leave a transfer without a sign.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked at whether the server can be heard meanwhile: that shows in the answers to
/// keep-alives at least, of which there are some in so long.
const STALL_LOOK: Duration = Duration::from_secs(10);

/// How a transfer is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes that this phase has behind it. While sending: what the server has taken in.
    pub done: u64,
    /// Bytes in the whole file, once known.
    pub total: Option<u64>,
    /// Bytes a second lately.
    pub bytes_per_second: Option<u64>,
    /// How long the rest will take at that rate.
    pub time_left: Option<Duration>,
    /// Bytes that were sent more than once, because a stream ended before the server had them.
    pub resent: u64,
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
type Watcher = Arc<dyn Fn(Progress) + Send + Sync>;

/// Turns byte counts into progress.
struct Reporter {
    watcher: Watcher,
    started: Instant,
    meter: Mutex<Meter>,
    total: Option<u64>,
    resent: AtomicU64,
}

/// How one try of a transfer ended before the file was complete.
enum Stop {
    /// The session goes on over another connection, and the transfer with it.
    Moved,
    /// The connection or the stream is gone, or there was none.
    Lost,
    /// The server ended the stream, for a reason that may pass.
    Ended(Code),
    /// The server says why.
    Refused(Refusal),
    /// Something that the next try would meet as well.
    Failed(Error),
}

impl Stop {
    /// How long to wait before the next try. `progressed` says whether this one moved bytes: then
    /// it is the first failure in a row, whatever came before it.
    fn next_try(self, patience: &mut Patience, progressed: bool) -> Result<Duration, Error> {
        if progressed {
            patience.progressed();
        }
        let (next, given_up) = match self {
            Self::Moved => return Ok(Duration::ZERO),
            Self::Lost => (
                patience.lost(rand::random()),
                Error::Unreachable("the connection was lost too often".to_owned()),
            ),
            Self::Ended(code) => {
                let refusal = ended(code);
                (patience.refused(&refusal, rand::random()), Error::Refused(refusal))
            }
            Self::Refused(refusal) => {
                (patience.refused(&refusal, rand::random()), Error::Refused(refusal))
            }
            Self::Failed(error) => return Err(error),
        };
        match next {
            Next::Retry(delay) => Ok(delay),
            Next::GiveUp => Err(given_up),
        }
    }

    /// Whether sending the same file again would continue this upload. Where not, it must begin anew.
    const fn may_continue(&self) -> bool {
        match self {
            Self::Failed(Error::FileChanged(_)) => false,
            Self::Refused(refusal) => {
                !matches!(refusal.code, Code::WrongHash | Code::UploadConflict | Code::BeyondSize)
            }
            _ => true,
        }
    }
}

impl Reporter {
    fn new(watcher: Watcher, total: Option<u64>) -> Self {
        let (meter, resent) = (Mutex::new(Meter::new(0, Timestamp(0))), AtomicU64::new(0));
        Self { watcher, started: Instant::now(), meter, total, resent }
    }

    /// So many bytes were sent again so far.
    fn resent(&self, bytes: u64) {
        self.resent.store(bytes, Ordering::Relaxed);
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
        let (total, resent) = (self.total, self.resent.load(Ordering::Relaxed));
        (self.watcher)(Progress { phase, done, total, bytes_per_second, time_left, resent });
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Client {
    /// The connection of the live session, once there is one.
    async fn transfer_connection(&self) -> Result<Option<Current>, Error> {
        match self.live(CONNECTION_TIMEOUT).await {
            Ok(()) => {
                let mut latest = self.handle()?.connection;
                let connection = latest.borrow_and_update().clone();
                Ok(connection.map(|connection| Current { connection, latest }))
            }
            Err(Error::Unreachable(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The connection of the live session, for as long as it is that.
struct Current {
    connection: Connection,
    latest: watch::Receiver<Option<Connection>>,
}

impl Current {
    /// Resolves when another connection has taken its place. That it is lost the streams say.
    async fn moved(&mut self) {
        while self.latest.changed().await.is_ok() {
            if self.latest.borrow_and_update().is_some() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Waits for what the server says next. `None` if it is there and does not say it: then another
/// stream may help. A path on which nothing at all arrives is left to the session, which knows when
/// the connection is gone; until then, what was sent is still on its way and needs not be sent again.
async fn in_time<T>(connection: &Connection, next: impl Future<Output = T>) -> Option<T> {
    let mut next = pin!(next);
    let mut silence = Duration::ZERO;
    while silence < STALL_TIMEOUT {
        let heard = connection.datagrams_received();
        if let Ok(said) = tokio::time::timeout(STALL_LOOK, next.as_mut()).await {
            return Some(said);
        }
        // Only while the server can be heard does it say nothing.
        if connection.datagrams_received() != heard {
            silence += STALL_LOOK;
        }
    }
    None
}

/// What the transport knows of the path now.
fn path_of(connection: &Connection) -> Path {
    Path { round_trip: connection.round_trip(), lost: connection.packets_lost() }
}

fn ended(code: Code) -> Refusal {
    Refusal::new(code, format!("the server ended the transfer: {code}"))
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StreamError> for Stop {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Abandoned(Some(code)) if code.is_transient() => Self::Ended(code),
            StreamError::Abandoned(Some(code)) => Self::Refused(ended(code)),
            StreamError::Frame(error) => Self::Failed(Error::BadAnswer(error.to_string())),
            StreamError::Abandoned(None) | StreamError::Closed(_) => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use skein_core::transfer::FAILURES_IN_A_ROW_MAX;

    use super::*;

    #[test]
    fn a_try_that_moved_bytes_is_never_the_last() {
        let mut patience = Patience::default();
        for _ in 0..FAILURES_IN_A_ROW_MAX {
            assert!(Stop::Lost.next_try(&mut patience, false).is_ok());
        }
        assert!(Stop::Lost.next_try(&mut patience, true).is_ok());
        for _ in 1..FAILURES_IN_A_ROW_MAX {
            assert!(Stop::Lost.next_try(&mut patience, false).is_ok());
        }
        // A move is no failure.
        assert_eq!(Stop::Moved.next_try(&mut patience, false).ok(), Some(Duration::ZERO));
        let given_up = Stop::Lost.next_try(&mut patience, false);
        assert!(matches!(given_up, Err(Error::Unreachable(_))));
    }

    #[test]
    fn a_sender_who_pauses_ends_no_try_for_good() {
        let mut patience = Patience::for_coming();
        for code in [Code::TimedOut, Code::Unavailable].into_iter().cycle().take(200) {
            let stop = Stop::from(StreamError::Abandoned(Some(code)));
            assert!(stop.next_try(&mut patience, false).is_ok());
        }
        let stop = Stop::from(StreamError::Abandoned(Some(Code::NotFound)));
        let given_up = stop.next_try(&mut patience, false);
        assert!(matches!(given_up, Err(Error::Refused(refusal)) if refusal.code == Code::NotFound));
    }
}
