//! `priority`: chat on a narrow path, alone and beside an upload and a download that fill it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use skein_client::{Attachment, Phase, Progress, Variant};
use skein_testkit::{
    PATIENCE,
    network::{Conditions, Step},
    raw::RawSession,
};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};

use super::networks::{
    RATE_PER_SECOND,
    chat::{self, Heard},
    scene::{Scene, Way},
    upload::File,
};
use crate::{
    arguments::Priority,
    failure::Failure,
    latency::Summary,
    pace::Pace,
    report::{Finding, Report, ratio},
};

/// Bits in a second, each way.
const BITS_PER_SECOND: u64 = 10_000_000;
/// How long a packet takes each way.
const DELAY: Duration = Duration::from_millis(20);
/// What the queue of the path holds at most, as time: as many routers have, far more than it needs.
const QUEUE: Duration = Duration::from_millis(300);
/// How long bulk has been under way when the chat begins.
const WARM_UP: Duration = Duration::from_secs(3);
/// For how much longer than people chat a file fills the path, in seconds.
const SPARE_SECONDS: u64 = 60;

/// Measures, for both transports.
///
/// # Errors
/// If a message did not arrive once, or the server cannot be used.
pub(crate) async fn run(load: &Priority, report: &mut Report) -> Result<(), Failure> {
    let bytes = BITS_PER_SECOND / 8 * (u64::from(load.seconds) + SPARE_SECONDS);
    let files = [File::make(bytes)?, File::make(bytes)?];
    for way in [Way::Quic, Way::Tcp] {
        let mut idle = None;
        for bulk in [false, true] {
            let (latency, [up, down]) = measure(load, way, bulk.then_some(&files)).await?;
            let base = *idle.get_or_insert(latency.p99_us);
            report.tell(&Finding::Priority {
                system: way.name(),
                what: if bulk { "beside bulk" } else { "alone" },
                messages: messages(load),
                latency,
                p99_ratio: bulk.then(|| ratio(latency.p99_us as f64, base as f64)).flatten(),
                up_megabits_per_second: up,
                down_megabits_per_second: down,
            });
        }
    }
    Ok(())
}

fn messages(load: &Priority) -> u64 {
    u64::from(RATE_PER_SECOND) * u64::from(load.seconds)
}

/// How long messages take from alice to bob, and how many megabits a second of the files go up and
/// come down meanwhile.
async fn measure(
    load: &Priority,
    way: Way,
    files: Option<&[File; 2]>,
) -> Result<(Summary, [f64; 2]), Failure> {
    let (scene, bob) = Scene::new(way, Conditions::default()).await?;
    let folder = TempDir::new().map_err(Failure::machine("make a folder"))?;
    let bulk = match files {
        Some([first, second]) => {
            let down = put(&scene, first).await?;
            Some(Bulk { down, up: second, to: folder.path().join("down.bin") })
        }
        None => None,
    };
    let narrow = Conditions::delayed(DELAY).with_rate(BITS_PER_SECOND, QUEUE);
    scene.apply(Step::Set { up: narrow, down: narrow })?;
    // Over a connection that has known no other path.
    scene.alice.close().await;
    scene.alice.connect().await?;
    scene.alice.caught_up(PATIENCE).await?;
    let moved = [Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default()];
    let mut moving = JoinSet::new();
    if let Some(bulk) = bulk {
        bulk.begin(&scene, &moved, &mut moving);
        sleep(WARM_UP).await;
    }
    let before = moved.each_ref().map(|bytes| bytes.load(Ordering::Relaxed));
    let began = Instant::now();
    let latency = talk(load, &scene, bob).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = moved.each_ref().map(|bytes| bytes.load(Ordering::Relaxed));
    let rate = |at: usize| (after[at] - before[at]) as f64 * 8.0 / 1e6 / seconds;
    // Bulk that came to its end would have left the path to the chat.
    if let Some(ended) = moving.try_join_next() {
        ended??;
        return Err(Failure::Early("a file"));
    }
    moving.shutdown().await;
    scene.alice.close().await;
    Ok((latency, [rate(0), rate(1)]))
}

/// Alice writes, bob listens.
async fn talk(load: &Priority, scene: &Scene, bob: RawSession) -> Result<Summary, Failure> {
    let pace = Pace::new(RATE_PER_SECOND, messages(load), 1);
    let heard = Heard::listen(pace, |ear| chat::listen(bob, scene.conversation, ear));
    let (lanes, clock) = pace.start();
    for lane in lanes {
        chat::write(scene, lane).await??;
    }
    let unsent = clock.join().unwrap_or(pace.messages());
    let heard = heard.complete(pace.end()).await?;
    let waits =
        heard.messages.iter().filter_map(|(due, came)| Some(came.as_ref()?.saturating_sub(*due)));
    let waits: Vec<_> = waits.collect();
    let missing = pace.messages() - waits.len() as u64;
    let (expected, repeated) = (pace.messages(), heard.doubled);
    let incomplete = Failure::Incomplete { what: "priority", expected, missing, repeated, unsent };
    if missing > 0 || repeated > 0 {
        return Err(incomplete);
    }
    Summary::of(waits).ok_or(incomplete)
}

/// What fills the path.
struct Bulk<'a> {
    down: Attachment,
    up: &'a File,
    to: std::path::PathBuf,
}

impl Bulk<'_> {
    /// Begins to send and to fetch, and counts the bytes of both.
    fn begin(
        self,
        scene: &Scene,
        moved: &[Arc<AtomicU64>; 2],
        moving: &mut JoinSet<Result<(), skein_client::Error>>,
    ) {
        let [sent, fetched] = moved.clone();
        let (alice, conversation) = (scene.alice.clone(), scene.conversation);
        let path = self.up.path().to_owned();
        moving.spawn(
            async move { alice.send_file(conversation, &path, counter(sent)).await.map(drop) },
        );
        let alice = scene.alice.clone();
        moving.spawn(async move {
            alice.download(&self.down, Variant::Original, &self.to, false, counter(fetched)).await
        });
    }
}

fn counter(bytes: Arc<AtomicU64>) -> impl Fn(Progress) + Send + Sync + 'static {
    move |now| {
        if matches!(now.phase, Phase::Sending | Phase::Receiving) {
            bytes.store(now.done, Ordering::Relaxed);
        }
    }
}

/// Lets alice send a file, and gives what shows it.
async fn put(scene: &Scene, file: &File) -> Result<Attachment, Failure> {
    let delivery = scene.alice.send_file(scene.conversation, file.path(), |_| {}).await?;
    scene.attachment(delivery.acknowledged().await?).await
}
