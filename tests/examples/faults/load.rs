//! The load: messages of every client, files of some.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use skein_client::{Error, Text};
use tokio::sync::watch;

use crate::{
    Failure,
    ledger::{Intent, Ledger, Message, SentFile},
    people::Person,
    plan::Plan,
};

/// Time between two files of one uploader.
const FILE_EVERY: Duration = Duration::from_millis(700);
/// Bytes of a long file: several parts in the bucket, so that in its middle there is something to go
/// on from.
const LONG_FILE_BYTES: RangeInclusive<usize> = 40 << 20..=48 << 20;
/// How long a person waits who sends a file again, because the client has given up. None should have
/// to: a client is patient for minutes, and no fault lasts as long.
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
    for number in 0.. {
        let Some(intent) = my_turn(&mut running, every, &ledger).await else { return };
        let words = format!("{}:{number}:{:x}", person.number, rand::random::<u64>());
        let sent = write(&person, number, words, &ledger).await;
        if let Err(failure) = sent {
            ledger.wrong(format!("client {} could not write: {failure}", person.number));
            return;
        }
        drop(intent);
        tokio::time::sleep(every).await;
    }
}

/// Waits until the load runs; after a hold each client begins at another point of its interval, or a
/// window would begin with everybody's message at once. `None` when it is all over.
async fn my_turn(
    running: &mut Running,
    interval: Duration,
    ledger: &Arc<Ledger>,
) -> Option<Intent> {
    loop {
        let intent = ledger.intends();
        // Whoever holds the load up after this waits for what is intended.
        if *running.borrow() {
            return Some(intent);
        }
        drop(intent);
        running.wait_for(|running| *running).await.ok()?;
        tokio::time::sleep(interval.mul_f64(rand::random())).await;
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
        let Some(intent) = my_turn(&mut running, FILE_EVERY, &ledger).await else { return };
        let sizes = if ledger.lock().only_long {
            LONG_FILE_BYTES
        } else if number % plan.large_file_every == plan.large_file_every - 1 {
            plan.large_file_bytes / 2..=plan.large_file_bytes
        } else {
            1..=plan.small_file_bytes
        };
        let mut bytes = vec![0; random.random_range(sizes)];
        random.fill_bytes(&mut bytes);
        let path = folder.join(format!("{}-{number}.bin", person.number));
        ledger.file_begins();
        drop(intent);
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
            Err(error) if may_pass(&error) => {
                println!("  (client {client} gave up a file, and sends it again: {error})");
                ledger.file_given_up();
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

/// Whether a person would send the file again.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unreachable(_) | Error::TimedOut(_) => true,
        Error::Refused(refusal) => refusal.code.is_transient(),
        _ => false,
    }
}
