//! What each client's application hears.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skein_client::{Body, Entry, EntryId, Event, Events, LogId, Seq, Status};

use crate::{ledger::Ledger, people::Person};

/// Everything that one client was told, by log.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    logs: Mutex<BTreeMap<LogId, Vec<HeardEntry>>>,
}

/// An entry as a client was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeardEntry {
    /// Its place.
    pub(crate) seq: Seq,
    /// Its id.
    pub(crate) id: EntryId,
    /// Its words or its file's name.
    pub(crate) words: String,
}

impl Heard {
    /// By log.
    pub(crate) fn logs(&self) -> MutexGuard<'_, BTreeMap<LogId, Vec<HeardEntry>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last entry of a log that was heard of.
    pub(crate) fn head(&self, log: LogId) -> Seq {
        let logs = self.logs();
        logs.get(&log).and_then(|heard| heard.last()).map_or(Seq::ZERO, |last| last.seq)
    }

    /// Notes an entry. Answers what is wrong with its place.
    fn note(&self, log: LogId, entry: &Entry) -> Option<String> {
        let mut logs = self.logs();
        let heard = logs.entry(log).or_default();
        let wrong = heard.last().filter(|last| entry.seq != last.seq.next()).map(|last| {
            format!(
                "heard {log} entry {} after {}: twice, or a gap, or disorder",
                entry.seq, last.seq
            )
        });
        heard.push(HeardEntry { seq: entry.seq, id: entry.id, words: words(&entry.body) });
        wrong
    }
}

/// The words of an entry, or the name of its file.
pub(crate) fn words(body: &Body) -> String {
    match body {
        Body::Text(text) => text.as_str().to_owned(),
        Body::Picture(picture) => picture.attachment.name.as_str().to_owned(),
        Body::File(file) => file.name.as_str().to_owned(),
        Body::Contact(_) | Body::SessionEnded(_) => String::new(),
    }
}

/// Listens until the client is gone.
pub(crate) async fn listen(
    person: Arc<Person>,
    mut events: Events,
    heard: Arc<Heard>,
    ledger: Arc<Ledger>,
) {
    let number = person.number;
    while let Some(event) = events.next().await {
        match event {
            Event::Entry { log, entry } => {
                if let Some(wrong) = heard.note(log, &entry) {
                    ledger.wrong(format!("client {number} {wrong}"));
                }
                ledger.heard(entry.id);
            }
            Event::Rejected { refusal, .. } => {
                ledger.wrong(format!("client {number} had a message refused: {refusal}"));
            }
            Event::Status(Status::Stopped(reason)) => {
                ledger.wrong(format!("client {number} was stopped: {}", reason.message()));
            }
            Event::Status(Status::Broken { reason }) => {
                ledger.wrong(format!("client {number} broke: {reason}"));
            }
            Event::Status(_)
            | Event::Sent { .. }
            | Event::Presence { .. }
            | Event::Coming(_)
            | Event::Transfer(_)
            | Event::Missed(_) => {}
        }
    }
}
