//! A simulated device: a real session machine, and a disk that outlives it.

use std::collections::BTreeMap;
use std::ops::Range;

use skein_core::{
    entry::{Draft, Entry},
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    sync::{Session, Start},
};

use crate::server::ConnId;

pub(crate) type ClientId = usize;

/// How long a message takes, one way.
pub(crate) const DELAYS_MS: Range<u64> = 1..120;
/// History that a fresh device reads: small, so that logs are longer than it.
const HISTORY_ENTRIES: u64 = 12;

/// What a client sends.
#[derive(Debug)]
pub(crate) enum Request {
    Hello,
    Append(Draft),
    Read { log: LogId, after: Seq, limit: usize },
}

/// What a client receives.
#[derive(Debug)]
pub(crate) enum ToClient {
    Welcome(Vec<(LogId, Seq)>),
    Appended {
        conversation: ConversationId,
        entry: Entry,
    },
    /// Refused for now.
    Busy {
        id: EntryId,
        after_ms: u64,
    },
    /// Refused for good.
    Never {
        id: EntryId,
    },
    Page {
        log: LogId,
        after: Seq,
        entries: Vec<Entry>,
        head: Seq,
    },
    ReadBusy {
        log: LogId,
        after: Seq,
    },
    Event {
        log: LogId,
        entry: Entry,
    },
    Behind(Vec<(LogId, Seq)>),
    /// The node goes away; there is another one.
    Moving,
}

/// What a killed process leaves.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) outbox: Vec<Draft>,
    /// Consecutive entries of each log; they need not begin at 1.
    pub(crate) logs: BTreeMap<LogId, Vec<Entry>>,
}

/// A connection that may take the place of the one that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beside {
    pub(crate) generation: u64,
    pub(crate) conn: Option<ConnId>,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) account: AccountId,
    pub(crate) disk: Disk,
    /// None while the process is dead.
    pub(crate) session: Option<Session>,
    /// The connection that counts. Whatever comes over another is stale.
    pub(crate) conn: Option<ConnId>,
    /// The number of the dial or death that counts, so that late answers find nobody.
    pub(crate) generation: u64,
    /// Counts dials and deaths.
    pub(crate) generations: u64,
    /// The second connection.
    pub(crate) beside: Option<Beside>,
    pub(crate) kicked: bool,
    /// The time for which a wake-up is scheduled already.
    pub(crate) alarm: Option<u64>,
}

impl Client {
    pub(crate) fn new(account: AccountId) -> Self {
        Self {
            account,
            disk: Disk::default(),
            session: None,
            conn: None,
            generation: 0,
            generations: 0,
            beside: None,
            kicked: false,
            alarm: None,
        }
    }

    /// Starts the process from what is on disk.
    pub(crate) fn start(&mut self, seed: u64) {
        let cursors = self
            .disk
            .logs
            .iter()
            .filter_map(|(log, entries)| entries.last().map(|entry| (*log, entry.seq)));
        let start = Start {
            account: self.account,
            cursors: cursors.collect(),
            drafts: self.disk.outbox.clone(),
            history_entries: HISTORY_ENTRIES,
            seed,
        };
        let mut session = Session::new(start).expect("few drafts");
        session.connect();
        self.session = Some(session);
    }

    /// Kills the process.
    pub(crate) fn kill(&mut self) {
        self.session = None;
        self.conn = None;
        self.beside = None;
        self.generation = self.next_generation();
    }

    pub(crate) fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }
}
