//! `loss`: how fast a file goes up and comes down over a path that loses packets.
//!
//! Alice, a client of the SDK, sends a file and then fetches it again. Raw quinn does the same over
//! a path of the same kind, by its default congestion controller, for as long as it is given: it
//! may take minutes for what Skein does in seconds.
//!
//! Time counts from the first byte of the file: the hash before an upload, and asking for a
//! download, are not in it. It counts until the file is of use. An upload of Skein's is over when
//! the message that shows the file stands in the log, and a download when its hash is checked and
//! the file has its name. Losses begin when everybody is connected, so that luck in the handshake
//! is no part of it either.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use skein_client::{Attachment, Phase, Progress, Variant};
use skein_testkit::{
    network::{Conditions, Path, Step},
    transfer::Synthetic,
};
use tempfile::TempDir;
use tokio::time::timeout;

use super::networks::{
    scene::{Scene, Way},
    upload::File,
};
use crate::{
    arguments::Loss,
    baseline::bulk::{Bulk, Moved},
    failure::Failure,
    report::{Finding, Report},
};

/// Bits in a second, each way.
const BITS_PER_SECOND: u64 = 50_000_000;
/// How long a packet takes each way.
const DELAY: Duration = Duration::from_millis(40);
/// What the queue of the path holds at most, as time.
const QUEUE: Duration = Duration::from_millis(50);
/// How long a file of Skein's may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(1800);
/// The seed of the bytes that raw quinn sends. Any will do.
const SEED: u8 = 9;

/// The directions in the order in which they are measured.
const DIRECTIONS: [&str; 2] = ["upload", "download"];

/// Measures both systems at each loss.
///
/// # Errors
/// If bytes are missing or wrong, or a system could not be started.
pub(crate) async fn run(load: &Loss, report: &mut Report) -> Result<(), Failure> {
    let file = File::make(load.bytes)?;
    let synthetic = Synthetic::new(load.bytes, SEED);
    let limit = Duration::from_secs(load.quinn_seconds.into());
    for percent in load.percent.iter().copied() {
        let both = skein(percent, &file).await?;
        tell(percent, "skein", both, report);
        let both = quinn(percent, &synthetic, limit).await?;
        tell(percent, "quinn", both, report);
    }
    Ok(())
}

/// The path, with so many per cent of all packets lost each way.
fn path(percent: u32) -> Conditions {
    let path = Conditions::delayed(DELAY).with_rate(BITS_PER_SECOND, QUEUE);
    path.with_loss(f64::from(percent) / 100.0)
}

fn tell(percent: u32, system: &'static str, both: [Moved; 2], report: &mut Report) {
    for (direction, Moved { bytes, seconds }) in DIRECTIONS.into_iter().zip(both) {
        let bits_per_second = bytes as f64 * 8.0 / seconds;
        report.tell(&Finding::Loss {
            loss_percent: percent,
            system,
            direction,
            bytes,
            seconds,
            megabits_per_second: bits_per_second / 1e6,
            share: bits_per_second / BITS_PER_SECOND as f64,
        });
    }
}

/// An upload by alice and a download.
async fn skein(percent: u32, file: &File) -> Result<[Moved; 2], Failure> {
    let (scene, _bob) = Scene::new(Way::Quic, path(0)).await?;
    scene.apply(Step::Set { up: path(percent), down: path(percent) })?;
    let (up, sent) = send(&scene, file).await?;
    let down = fetch(&scene, &sent, file).await?;
    scene.alice.close().await;
    Ok([up, down])
}

/// Sends the file; gives what shows it as well.
async fn send(scene: &Scene, file: &File) -> Result<(Moved, Attachment), Failure> {
    let first = FirstByte::default();
    let seq = in_time("upload", async {
        let sent = scene.alice.send_file(scene.conversation, file.path(), first.watch());
        sent.await?.acknowledged().await
    });
    let seq = seq.await?;
    let up = first.until_now(file.bytes).ok_or(Failure::NoFile("upload"))?;
    Ok((up, scene.attachment(seq).await?))
}

/// Fetches the file that was sent, and checks every byte.
async fn fetch(scene: &Scene, sent: &Attachment, file: &File) -> Result<Moved, Failure> {
    let folder = TempDir::new().map_err(Failure::machine("make a folder"))?;
    let (to, first) = (folder.path().join("down.bin"), FirstByte::default());
    let fetched = scene.alice.download(sent, Variant::Original, &to, false, first.watch());
    in_time("download", fetched).await?;
    let down = first.until_now(file.bytes).ok_or(Failure::NoFile("download"))?;
    if file.is_like(&to)? { Ok(down) } else { Err(Failure::WrongBytes("download")) }
}

async fn in_time<T>(
    what: &'static str,
    moving: impl Future<Output = Result<T, skein_client::Error>>,
) -> Result<T, Failure> {
    Ok(timeout(PATIENCE, moving).await.map_err(|_| Failure::NoFile(what))??)
}

/// An upload to raw quinn and a download from it, each over after `limit` at the latest.
async fn quinn(percent: u32, file: &Synthetic, limit: Duration) -> Result<[Moved; 2], Failure> {
    let folder = TempDir::new().map_err(Failure::machine("make a folder"))?;
    let network = Path::default();
    network.set_both(path(0));
    let bulk = Bulk::start_on(network.clone(), folder.path()).await?;
    network.set_both(path(percent));
    let up = bulk.upload_within(file, limit).await?;
    Ok([up, bulk.download_within(file.size, limit).await?])
}

/// When a file began to move.
#[derive(Default)]
struct FirstByte(Arc<OnceLock<Instant>>);

impl FirstByte {
    /// Waits for the stream to be open: the first byte follows at once.
    fn watch(&self) -> impl Fn(Progress) + Send + Sync + 'static + use<> {
        let first = Arc::clone(&self.0);
        move |now| {
            if now.phase == Phase::Opened {
                first.get_or_init(Instant::now);
            }
        }
    }

    /// All bytes have arrived. `None` if they never began to move.
    fn until_now(&self, bytes: u64) -> Option<Moved> {
        Some(Moved { bytes, seconds: self.0.get()?.elapsed().as_secs_f64() })
    }
}
