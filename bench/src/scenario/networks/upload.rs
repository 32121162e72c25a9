//! The file that alice sends meanwhile, by the queue in the background, and what her client says of
//! itself.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rand::{RngCore, SeedableRng, rngs::StdRng};
use skein_client::{Client, Event, Events, Failure as Refused, Status, Transfer, TransferState};
use tempfile::NamedTempFile;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep_until, timeout},
};

use super::scene::Scene;
use crate::failure::Failure;

/// Bytes that are made at a time.
const PIECE_BYTES: usize = 1_000_000;
/// What the bytes of the file are made of.
const SEED: u64 = 4;

/// A file of random bytes.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) bytes: u64,
    file: NamedTempFile,
}

/// What the client told about the file and itself. Times are since the beginning.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// Bytes that the server had.
    pub(crate) progress: Vec<(Duration, u64)>,
    /// When everybody in the conversation could have it.
    pub(crate) done: Option<Duration>,
    /// Bytes that the application has sent more than once.
    pub(crate) resent_bytes: u64,
    /// Each state of the connection that differs from the one before.
    pub(crate) states: Vec<(Duration, &'static str)>,
    failure: Option<Refused>,
}

/// A file on its way.
pub(crate) struct Sent {
    notes: Arc<Mutex<Notes>>,
    over: watch::Receiver<bool>,
    running: JoinHandle<()>,
    watching: JoinHandle<()>,
}

impl File {
    /// Makes one.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(crate) fn make(bytes: u64) -> Result<Self, Failure> {
        let write = || {
            let mut file = NamedTempFile::new()?;
            let (mut random, mut left) = (StdRng::seed_from_u64(SEED), bytes);
            let mut piece = vec![0; PIECE_BYTES];
            while left > 0 {
                random.fill_bytes(&mut piece);
                let length = PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES));
                file.write_all(&piece[..length])?;
                left -= length as u64;
            }
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = write().map_err(Failure::machine("make a file to send"))?;
        Ok(Self { bytes, file })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether another file has the same bytes.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(crate) fn is_like(&self, other: &Path) -> Result<bool, Failure> {
        let compare = || {
            let mut one = BufReader::new(fs::File::open(self.path())?);
            let mut other = BufReader::new(fs::File::open(other)?);
            loop {
                let (left, right) = (one.fill_buf()?, other.fill_buf()?);
                let count = left.len().min(right.len());
                if count == 0 || left[..count] != right[..count] {
                    return Ok(left == right);
                }
                one.consume(count);
                other.consume(count);
            }
        };
        compare().map_err(Failure::machine("compare files"))
    }
}

impl Sent {
    /// Lets alice send a file, from a moment in the near future on.
    ///
    /// # Errors
    /// If her home cannot be used.
    pub(crate) async fn send(scene: &Scene, file: &File, begin: Instant) -> Result<Self, Failure> {
        let (alice, conversation) = (scene.alice.clone(), scene.conversation);
        let events = alice.events().await?;
        let notes: Arc<Mutex<Notes>> = Arc::default();
        note(&notes, |notes| notes.states.push((Duration::ZERO, word(&alice.status()))));
        let (tell, over) = watch::channel(false);
        let watching = tokio::spawn(listen(events, alice.clone(), begin, Arc::clone(&notes), tell));
        let path = file.path().to_owned();
        let running = tokio::spawn(async move {
            sleep_until(begin.into()).await;
            // Whatever goes wrong here, the file is not there in the end.
            if let Err(error) = alice.queue_file(conversation, &path).await {
                eprintln!("skein-bench: the file is not queued: {error}");
            }
            if let Err(error) = alice.run_transfers().await {
                eprintln!("skein-bench: files are not sent any more: {error}");
            }
        });
        Ok(Self { notes, over, running, watching })
    }

    /// Waits until the file is there, or `patience` is over; gives what was told.
    pub(crate) async fn complete(mut self, patience: Duration) -> Result<Notes, Failure> {
        // Whether it was in time, the notes tell.
        if timeout(patience, self.over.wait_for(|over| *over)).await.is_err() {
            eprintln!("skein-bench: the file was not there after {} s", patience.as_secs());
        }
        self.running.abort();
        self.watching.abort();
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Refused { code, message }) = &notes.failure {
            eprintln!("skein-bench: the upload has failed ({code}): {message}");
        }
        Ok(notes)
    }
}

/// Notes what the client tells, and says when the file is there or never will be.
async fn listen(
    mut events: Events,
    alice: Client,
    begin: Instant,
    notes: Arc<Mutex<Notes>>,
    tell: watch::Sender<bool>,
) {
    while let Some(event) = events.next().await {
        let now = Instant::now().saturating_duration_since(begin);
        let over = match event {
            Event::Status(status) => note(&notes, |notes| {
                let word = word(&status);
                if notes.states.last().is_none_or(|(_, last)| *last != word) {
                    notes.states.push((now, word));
                }
                false
            }),
            Event::Transfer(transfer) => note(&notes, |notes| notes.hear(now, transfer)),
            // One of those that were not heard may have been the last.
            Event::Missed(_) => match alice.transfers().await {
                Ok(all) => note(&notes, |notes| all.into_iter().any(|one| notes.hear(now, one))),
                Err(_) => true,
            },
            _ => false,
        };
        if over {
            tell.send_replace(true);
        }
    }
}

impl Notes {
    /// Notes how the file is going. Answers whether that was the last there is to say.
    fn hear(&mut self, now: Duration, transfer: Transfer) -> bool {
        self.progress.push((now, transfer.done));
        self.resent_bytes = self.resent_bytes.max(transfer.resent);
        match transfer.state {
            TransferState::Done => self.done = Some(now),
            TransferState::Failed => self.failure = transfer.failure,
            _ => return false,
        }
        true
    }
}

fn note<T>(notes: &Mutex<Notes>, change: impl FnOnce(&mut Notes) -> T) -> T {
    change(&mut notes.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What a state is called in results.
const fn word(status: &Status) -> &'static str {
    match status {
        Status::Online { .. } => "online",
        Status::Slow { .. } => "slow",
        Status::Reconnecting { .. } => "reconnecting",
        Status::Offline { .. } => "offline",
        Status::Stopped(_) => "stopped",
        Status::Broken { .. } => "broken",
    }
}
