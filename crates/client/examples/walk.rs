//! Talks to a contact all the time, and sends a file meanwhile, while somebody takes networks away.
//!
//! ```text
//! cargo run -p skein-client --example walk -- HOME NAME [FILE]
//! ```
//!
//! `HOME` is logged in already and `NAME` a contact. It prints an object a line: `status` when the
//! connection is in another state, `file` with how far the file is, `file_sent`, `waited` for a
//! message that took long, and when its input ends (Ctrl-D), `done` with the number of messages and
//! the longest wait. `docs/network-lab.md` shows where to take a walk with it.

use std::{
    env,
    io::Read,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use skein_client::{
    Client, ConversationId, Error, Event, Events, Phase, Progress, Status, Text, Username,
};
use tokio::{sync::oneshot, task::JoinSet, time::MissedTickBehavior};

/// How often it writes.
const MESSAGE_EVERY: Duration = Duration::from_millis(50);
/// A wait for an acknowledgement that is worth a line.
const LONG_WAIT: Duration = Duration::from_millis(500);
/// How long the first connection may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the file's progress is printed.
const PROGRESS_EVERY: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = env::args_os().skip(1);
    let (Some(home), Some(name)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: walk HOME NAME [FILE]");
        std::process::exit(2);
    };
    let client = Client::open(PathBuf::from(home).as_ref())?;
    tokio::spawn(watch(client.events().await?));
    client.connect().await?;
    client.live(PATIENCE).await?;
    let name = Username::parse(&*name.to_string_lossy())?;
    let (conversation, _) = client.conversation_with(&name).await?;
    let file = arguments.next().map(PathBuf::from);
    let file = file.map(|path| tokio::spawn(send_file(client.clone(), conversation, path)));
    talk(&client, conversation).await?;
    if let Some(sent) = file {
        sent.await.unwrap_or(Err(Error::NotConnected))?;
    }
    client.close().await;
    Ok(())
}

/// Prints every state that the connection is in.
async fn watch(mut events: Events) {
    while let Some(event) = events.next().await {
        if let Event::Status(status) = event {
            say(&json!({"event": "status", "status": state(&status)}));
        }
    }
}

/// Writes until the input ends, then waits until everything is acknowledged.
async fn talk(client: &Client, conversation: ConversationId) -> Result<(), Error> {
    let mut over = end_of_input();
    let mut ticks = tokio::time::interval(MESSAGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waits = JoinSet::new();
    let (mut count, mut longest) = (0_u64, Duration::ZERO);
    loop {
        tokio::select! {
            _ = &mut over => break,
            Some(waited) = waits.join_next() => longest = longest.max(waited.unwrap_or(Ok(PATIENCE))?),
            _ = ticks.tick() => {
                count += 1;
                let written = Instant::now();
                let delivery = client.send_text(conversation, Text::parse(count.to_string())?).await?;
                waits.spawn(async move {
                    delivery.acknowledged().await?;
                    let waited = written.elapsed();
                    if waited > LONG_WAIT {
                        say(&json!({"event": "waited", "message": count, "ms": millis(waited)}));
                    }
                    Ok::<_, Error>(waited)
                });
            }
        }
    }
    while let Some(waited) = waits.join_next().await {
        longest = longest.max(waited.unwrap_or(Ok(PATIENCE))?);
    }
    say(&json!({"event": "done", "messages": count, "longest_ms": millis(longest)}));
    Ok(())
}

async fn send_file(
    client: Client,
    conversation: ConversationId,
    path: PathBuf,
) -> Result<(), Error> {
    let (last, resent) = (Mutex::new(Instant::now()), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&resent);
    let progress = move |now: Progress| {
        seen.store(now.resent, Ordering::Relaxed);
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.phase != Phase::Hashing && last.elapsed() >= PROGRESS_EVERY {
            *last = Instant::now();
            say(&json!({"event": "file", "done": now.done, "resent": now.resent}));
        }
    };
    client.send_file(conversation, &path, progress).await?.acknowledged().await?;
    say(&json!({"event": "file_sent", "resent": resent.load(Ordering::Relaxed)}));
    Ok(())
}

/// Resolves when there is nothing more to read.
fn end_of_input() -> oneshot::Receiver<()> {
    let (over_in, over) = oneshot::channel();
    std::thread::spawn(move || {
        // An input that cannot be read has ended as well.
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        over_in.send(()).ok();
    });
    over
}

const fn state(status: &Status) -> &'static str {
    match status {
        Status::Online { .. } => "online",
        Status::Slow { .. } => "slow",
        Status::Reconnecting { .. } => "reconnecting",
        Status::Offline { .. } => "offline",
        Status::Stopped(_) => "stopped",
        Status::Broken { .. } => "broken",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn say(object: &Value) {
    println!("{object}");
}
