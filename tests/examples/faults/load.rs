//! The load: messages of every client, files of some.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use skein_client::{Error, Text};
use tokio::sync::watch;

use crate::{
    Failure,
    ledger::{Ledger, Message, SentFile},
    people::Person,
    plan::Plan,
};

/// Time between two files of one uploader.
const FILE_EVERY: Duration = Duration::from_millis(700);
/// How long a person waits who sends a file again, because the client has given up.
const FILE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Whether the load runs: it is held while what was promised is compared with what is there.
pub(crate) type Running = watch::Receiver<bool>;

/// Writes messages, one after the other, without waiting for their acknowledgement.
pub(crate) async fn chat(
    person: Arc<Person>,
    every: Duration,
    mut running: Running,
    ledger: Arc<Ledger>,
) {
    // Not all at once: each client begins at another point of its interval.
    let phase: f64 = rand::rng().random();
    tokio::time::sleep(every.mul_f64(phase)).await;
    for number in 0.. {
        if running.wait_for(|running| *running).await.is_err() {
            return;
        }
        let words = format!("{}:{number}:{:x}", person.number, rand::random::<u64>());
        let sent = write(&person, number, words, &ledger).await;
        if let Err(failure) = sent {
            ledger.wrong(format!("client {} could not write: {failure}", person.number));
            return;
        }
        tokio::time::sleep(every).await;
    }
}

async fn write(
    person: &Arc<Person>,
    number: u64,
    words: String,
    ledger: &Arc<Ledger>,
) -> Result<(), Failure> {
    let at = Instant::now();
    let delivery = person.client.send_text(person.conversation, Text::parse(&*words)?).await?;
    let id = delivery.id();
    ledger.sent(id, at);
    let (person, ledger) = (Arc::clone(person), Arc::clone(ledger));
    tokio::spawn(async move {
        let (conversation, client) = (person.conversation, person.number);
        match delivery.acknowledged().await {
            Ok(seq) => {
                let text = words;
                ledger.acknowledged(Message { conversation, id, seq, client, number, text });
            }
            Err(error) => ledger.wrong(format!("client {client}: message {number}: {error}")),
        }
    });
    Ok(())
}

/// Sends files, one after the other.
pub(crate) async fn upload(
    person: Arc<Person>,
    plan: Plan,
    folder: PathBuf,
    mut running: Running,
    ledger: Arc<Ledger>,
) {
    let mut random = StdRng::seed_from_u64(person.number as u64);
    for number in 0.. {
        if running.wait_for(|running| *running).await.is_err() {
            return;
        }
        let large =
            number % plan.large_file_every == plan.large_file_every - 1 || ledger.lock().only_large;
        let most = if large { plan.large_file_bytes } else { plan.small_file_bytes };
        let least = if large { most / 2 } else { 1 };
        let mut bytes = vec![0; random.random_range(least..=most)];
        random.fill_bytes(&mut bytes);
        let path = folder.join(format!("{}-{number}.bin", person.number));
        ledger.file_begins();
        if let Err(failure) = send(&person, &path, bytes, &ledger).await {
            ledger.wrong(format!("client {}: file {number}: {failure}", person.number));
            return;
        }
        tokio::time::sleep(FILE_EVERY).await;
    }
}

/// Sends one file until it is acknowledged, as a person would who tries again.
async fn send(
    person: &Person,
    path: &Path,
    bytes: Vec<u8>,
    ledger: &Arc<Ledger>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let (size, hash) = (bytes.len() as u64, *blake3::hash(&bytes).as_bytes());
    tokio::fs::write(path, bytes).await?;
    let conversation = person.conversation;
    let client = person.number;
    let seq = loop {
        let watcher = Arc::clone(ledger);
        let watch = move |progress| watcher.file_moves(client, progress);
        let sent = match person.client.send_file(conversation, path, watch).await {
            Ok(delivery) => delivery.acknowledged().await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(seq) => break seq,
            Err(error @ (Error::Unreachable(_) | Error::TimedOut(_))) => {
                println!("  (client {} sends a file again: {error})", person.number);
            }
            Err(Error::Refused(refusal)) if refusal.code.is_transient() => {
                println!("  (client {} sends a file again: {refusal})", person.number);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(FILE_AGAIN_AFTER).await;
    };
    tokio::fs::remove_file(path).await?;
    let file = SentFile { conversation, seq, client, size, hash };
    ledger.file_acknowledged(file, started.elapsed());
    Ok(())
}
