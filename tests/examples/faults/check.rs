//! Compares what was promised with what the store has, and with what every member's client has.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use skein_client::{LogId, Seq, Variant};

use crate::{
    Failure,
    ledger::{Ledger, SentFile},
    listen::Heard,
    people::Person,
    truth::{Store, Truth},
};

/// How long everything that waits may take once the load is held: longer than any wait of a client,
/// and an end to a run that would never end.
const SETTLE_MAX: Duration = Duration::from_secs(150);
/// How often that is looked at.
const SETTLE_POLL: Duration = Duration::from_millis(100);
/// Files that are fetched at a time.
const FETCHES_AT_A_TIME: usize = 4;
/// Differences that are told of; one fault may make thousands.
const TOLD_MAX: usize = 20;

/// Everything that is compared.
pub(crate) struct Checker {
    /// What was promised.
    pub(crate) ledger: Arc<Ledger>,
    /// The database.
    pub(crate) store: Store,
    /// The clients.
    pub(crate) people: Vec<Arc<Person>>,
    /// What each was told, in the same order.
    pub(crate) heard: Vec<Arc<Heard>>,
    /// How many of the ledger's files were fetched and compared.
    pub(crate) files_compared: usize,
}

/// What was compared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Compared {
    /// Acknowledged messages, each found once, at its place, with its words.
    pub(crate) acknowledged: usize,
    /// Entries in the store.
    pub(crate) stored: usize,
    /// Entries that clients were told of.
    pub(crate) heard: usize,
    /// Files, fetched by another client, bit for bit.
    pub(crate) files: usize,
    /// Bytes of them.
    pub(crate) file_bytes: u64,
}

impl Checker {
    /// Waits until nothing is under way any more: every message and file is acknowledged, and every
    /// client has heard of everything.
    pub(crate) async fn settle(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let (messages, files) = self.ledger.waiting();
            let heads = self.store.heads().await?;
            let behind: Vec<_> =
                self.people.iter().filter(|one| self.behind(one, &heads)).collect();
            if messages == 0 && files == 0 && behind.is_empty() {
                return Ok(());
            }
            if !self.ledger.lock().wrong.is_empty() {
                return Err("something is wrong already".into());
            }
            if Instant::now() > deadline {
                let clients: Vec<_> = behind.iter().map(|one| one.number).take(10).collect();
                return Err(format!(
                    "after {SETTLE_MAX:?} without a fault, {messages} messages and {files} files \
                     are not acknowledged, and {} clients are behind, such as {clients:?}: {:?}",
                    behind.len(),
                    behind.first().map(|one| one.client.status()),
                )
                .into());
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// Compares everything. What differs is noted in the ledger.
    pub(crate) async fn compare(&mut self, folder: &Path) -> Result<Compared, Failure> {
        let truth = self.store.read().await?;
        let mut wrong = truth.wrong.clone();
        let mut compared = Compared { stored: truth.entries(), ..Compared::default() };
        compared.acknowledged = self.compare_acknowledged(&truth, &mut wrong);
        for (person, heard) in self.people.iter().zip(&self.heard) {
            compared.heard += compare_heard(person, heard, &truth, &mut wrong);
            let (unsent, rejected) =
                (person.client.unsent().await?, person.client.rejected().await?);
            if unsent > 0 || !rejected.is_empty() {
                let number = person.number;
                wrong.push(format!("client {number} keeps {unsent} drafts, {rejected:?} refused"));
            }
        }
        let files: Vec<_> = self.ledger.lock().files[self.files_compared..].to_vec();
        self.files_compared += files.len();
        let fetched = files.iter().map(|file| self.fetch(file, folder));
        let differences: Vec<Option<String>> =
            stream::iter(fetched).buffered(FETCHES_AT_A_TIME).try_collect().await?;
        wrong.extend(differences.into_iter().flatten());
        compared.files = files.len();
        compared.file_bytes = files.iter().map(|file| file.size).sum();
        let told = wrong.len().min(TOLD_MAX);
        self.ledger.lock().wrong.extend(wrong.drain(..told));
        Ok(compared)
    }

    /// Whether a client has not heard of everything in its conversation.
    fn behind(&self, person: &Person, heads: &HashMap<LogId, Seq>) -> bool {
        let log = LogId::Conversation(person.conversation);
        let head = heads.get(&log).copied().unwrap_or(Seq::ZERO);
        self.heard[person.number].head(log) < head
    }

    /// Each acknowledged message is in the store once, where it was acknowledged, with its words,
    /// and those of one client are in the order of writing.
    fn compare_acknowledged(&self, truth: &Truth, wrong: &mut Vec<String>) -> usize {
        let state = self.ledger.lock();
        let mut places = HashMap::new();
        for message in &state.messages {
            let log = LogId::Conversation(message.conversation);
            let entries = truth.logs.get(&log).map_or(&[][..], Vec::as_slice);
            let at = usize::try_from(message.seq.0).unwrap_or(usize::MAX).wrapping_sub(1);
            let found = entries.get(at);
            if !found.is_some_and(|entry| entry.id == message.id && entry.words == message.text) {
                wrong.push(format!("acknowledged and not in the store: {message:?}; {found:?}"));
            }
            places
                .entry(message.client)
                .or_insert_with(Vec::new)
                .push((message.number, message.seq));
        }
        for (client, mut places) in places {
            places.sort_unstable();
            if !places.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1) {
                wrong.push(format!("messages of client {client} are not in the order of writing"));
            }
        }
        state.messages.len()
    }

    /// Fetches a file with a client of the other account. Answers what is wrong with it.
    async fn fetch(&self, file: &SentFile, folder: &Path) -> Result<Option<String>, Failure> {
        let sender = &self.people[file.client];
        let mut others = self.people.iter().filter(|person| {
            person.conversation == sender.conversation && person.account != sender.account
        });
        let reader = others.next().ok_or("a conversation has two members")?;
        let entry = reader.client.entry(LogId::Conversation(file.conversation), file.seq).await?;
        let Some(attachment) = entry.body.attachment() else {
            return Ok(Some(format!("{file:?} is no file any more: {entry:?}")));
        };
        let to = folder.join(format!("fetched-{}-{}", file.conversation, file.seq));
        reader.client.download(attachment, Variant::Original, &to, true, drop).await?;
        let bytes = tokio::fs::read(&to).await?;
        tokio::fs::remove_file(&to).await?;
        let same = bytes.len() as u64 == file.size && *blake3::hash(&bytes).as_bytes() == file.hash;
        Ok((!same).then(|| format!("what was fetched is not what was sent: {file:?}")))
    }
}

/// What a client heard is what the store has, from what its home had at first up to the end.
fn compare_heard(person: &Person, heard: &Heard, truth: &Truth, wrong: &mut Vec<String>) -> usize {
    let log = LogId::Conversation(person.conversation);
    let logs = heard.logs();
    let heard = logs.get(&log).map_or(&[][..], Vec::as_slice);
    let stored = truth.logs.get(&log).map_or(&[][..], Vec::as_slice);
    let has = usize::try_from(person.has.0).unwrap_or(usize::MAX);
    if stored.get(has..) != Some(heard) {
        wrong.push(format!(
            "client {} heard of {} entries from {:?} on, and not of the {} after {} as stored",
            person.number,
            heard.len(),
            heard.first().map(|first| first.seq),
            stored.len().saturating_sub(has),
            person.has,
        ));
    }
    heard.len()
}
