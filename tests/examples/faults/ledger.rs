//! What was promised: every acknowledged result, written down when it came.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use skein_client::{ConversationId, EntryId, Phase, Progress, Seq};

/// Everything that clients were told, and how long they waited for it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

/// What is in a ledger.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Messages that were acknowledged, in the order of that.
    pub(crate) messages: Vec<Message>,
    /// Files whose message was acknowledged.
    pub(crate) files: Vec<SentFile>,
    /// How many are about to hand something to a client.
    intents: usize,
    /// What was handed to a client and not acknowledged yet.
    pub(crate) waiting: HashMap<EntryId, Instant>,
    /// Files that are being sent.
    pub(crate) files_waiting: usize,
    /// Clients whose upload is in its middle: much was received, and some is not sent yet.
    pub(crate) in_the_middle: HashSet<usize>,
    /// Uploads that were opened once more with bytes that need not be sent again.
    pub(crate) resumed: usize,
    /// Bytes that needed not.
    pub(crate) resumed_bytes: u64,
    /// Files that a client gave up, so that they had to be sent again.
    pub(crate) given_up: usize,
    /// Whether all files are to be long.
    pub(crate) only_long: bool,
    /// When each message was handed to its client.
    sent: HashMap<EntryId, Instant>,
    /// The longest of this window.
    pub(crate) longest: Longest,
    /// How long each message that was acknowledged in this window took.
    pub(crate) waits: Vec<Duration>,
    /// Whatever must not happen.
    pub(crate) wrong: Vec<String>,
}

/// An acknowledged message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Its id.
    pub(crate) id: EntryId,
    /// Its place, as acknowledged.
    pub(crate) seq: Seq,
    /// Which client wrote it.
    pub(crate) client: usize,
    /// The how-manieth of that client.
    pub(crate) number: u64,
    /// What it says.
    pub(crate) text: String,
}

/// An acknowledged file.
#[derive(Debug, Clone)]
pub(crate) struct SentFile {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Its place, as acknowledged.
    pub(crate) seq: Seq,
    /// Which client sent it.
    pub(crate) client: usize,
    /// Bytes.
    pub(crate) size: u64,
    /// BLAKE3 of what was sent.
    pub(crate) hash: [u8; 32],
}

/// Something will be handed to a client, or has been when this is dropped.
#[derive(Debug)]
pub(crate) struct Intent(Arc<Ledger>);

impl Drop for Intent {
    fn drop(&mut self) {
        self.0.lock().intents -= 1;
    }
}

/// The longest that clients waited.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Longest {
    /// From writing a message to hearing it at another client.
    pub(crate) delivered: Duration,
    /// From beginning to send a file to its message's acknowledgement.
    pub(crate) uploaded: Duration,
}

impl Ledger {
    /// What is in it now.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is about to hand something to a client, and says so before looking whether that is
    /// still wanted.
    pub(crate) fn intends(self: &Arc<Self>) -> Intent {
        self.lock().intents += 1;
        Intent(Arc::clone(self))
    }

    /// A message was handed to its client.
    pub(crate) fn sent(&self, id: EntryId, at: Instant) {
        let mut state = self.lock();
        state.sent.insert(id, at);
        state.waiting.insert(id, at);
    }

    /// A message was acknowledged.
    pub(crate) fn acknowledged(&self, message: Message) {
        let mut state = self.lock();
        if let Some(at) = state.waiting.remove(&message.id) {
            state.waits.push(at.elapsed());
        }
        state.messages.push(message);
    }

    /// A message was heard by a client that had not written it.
    pub(crate) fn heard(&self, id: EntryId) {
        let mut state = self.lock();
        if let Some(delay) = state.sent.get(&id).map(Instant::elapsed) {
            state.longest.delivered = state.longest.delivered.max(delay);
        }
    }

    /// A file begins to be sent.
    pub(crate) fn file_begins(&self) {
        self.lock().files_waiting += 1;
    }

    /// A client's upload is so far.
    pub(crate) fn file_moves(&self, client: usize, progress: Progress) {
        let total = progress.total.unwrap_or(0);
        let mut state = self.lock();
        if progress.phase == Phase::Opened && progress.done > 0 {
            state.resumed += 1;
            state.resumed_bytes += progress.done;
        }
        let middle = total / 2..total - total / 8;
        if progress.phase == Phase::Sending && middle.contains(&progress.done) {
            state.in_the_middle.insert(client);
        } else {
            state.in_the_middle.remove(&client);
        }
    }

    /// A file was acknowledged, so long after it began to be sent.
    pub(crate) fn file_acknowledged(&self, file: SentFile, took: Duration) {
        let mut state = self.lock();
        state.files_waiting -= 1;
        state.longest.uploaded = state.longest.uploaded.max(took);
        state.files.push(file);
    }

    /// Something happened that must not.
    pub(crate) fn wrong(&self, what: String) {
        self.lock().wrong.push(what);
    }

    /// A client gave a file up.
    pub(crate) fn file_given_up(&self) {
        self.lock().given_up += 1;
    }

    /// Begins a window: looks for the longest anew.
    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        state.longest = Longest::default();
        state.resumed = 0;
        state.resumed_bytes = 0;
        state.given_up = 0;
        state.waits.clear();
    }

    /// How many messages, and files, are not acknowledged yet. What somebody is about to send counts
    /// as a message.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len() + state.intents, state.files_waiting)
    }
}
