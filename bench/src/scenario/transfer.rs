//! `transfer`: how fast a file goes up and comes down, and what that costs the server's memory.
//!
//! An upload to Skein is over when the server has synced every byte, has checked the BLAKE3 of the
//! whole and has made the file visible. It is held against two streams of raw quinn: one to a
//! process that throws the bytes away, and one to a process that writes them to the same disk and
//! syncs it after each MiB, which is what durability costs by itself. A download is held against a
//! stream of bytes from memory. The rounds of all of them take turns, so that a change of the
//! machine's mood shows in each.
//!
//! One round more comes first, in which the bytes that come down are checked and nothing is
//! measured: the receiver's hashing would cost as much as the transport.

use std::time::Instant;

use bytes::Bytes;
use skein_testkit::{
    gate::Gate,
    memory,
    raw::RawSession,
    server::Server,
    transfer::{Synthetic, download, upload},
};
use skein_wire::pb::{self, download_status, open};

use crate::{
    arguments::Transfer,
    baseline::bulk::{Bulk, Fate},
    failure::Failure,
    report::{Finding, Report, ratio},
};

const UPLOAD: &str = "upload";
const DOWNLOAD: &str = "download";
const DISCARD: &str = "upload_discard";
const PERSIST: &str = "upload_persist";

/// The seed of the file's bytes. Any will do: they are as good as random.
const SEED: u8 = 7;

/// Seconds of each round.
#[derive(Default)]
struct Rounds {
    discard: Vec<f64>,
    persist: Vec<f64>,
    send: Vec<f64>,
    upload: Vec<f64>,
    download: Vec<f64>,
}

/// Bytes by which the server's memory rose at most.
#[derive(Default)]
struct Peaks {
    upload: u64,
    download: u64,
}

/// Measures both systems and tells what came out.
///
/// # Errors
/// If bytes are missing or wrong, or a system could not be started.
pub(crate) async fn run(load: &Transfer, report: &mut Report) -> Result<(), Failure> {
    // As much as all rounds leave on the disk, and the first, which is not measured.
    let quota = load.bytes.saturating_mul(u64::from(load.rounds) + 1);
    let config = format!("[resource]\naccount_bytes_max = {quota}\n");
    let mut server = Server::with_config(&config);
    let login = Gate::new(server.http()).newcomer("bench").await;
    // A fresh process, since the hashing of the password leaves memory that transfers would reuse.
    server.terminate();
    server.wait();
    server.restart();
    let session = RawSession::open(&login).await?;
    // Beside the server's files, so that both write to the same disk.
    let bulk = Bulk::start(&server.data()).await?;

    let file = Synthetic::new(load.bytes, SEED);
    let (mut rounds, mut peaks) = (Rounds::default(), Peaks::default());
    check(&session, &file).await?;
    for _ in 0..load.rounds {
        rounds.discard.push(bulk.upload(&file, Fate::Discard).await?);
        rounds.persist.push(bulk.upload(&file, Fate::Persist).await?);
        rounds.send.push(bulk.download(file.size).await?);
        round(&server, &session, &file, &mut rounds, &mut peaks).await?;
    }
    tell(load, &mut rounds, &peaks, report);
    Ok(())
}

/// One upload to Skein and one download from it.
async fn round(
    server: &Server,
    session: &RawSession,
    file: &Synthetic,
    rounds: &mut Rounds,
    peaks: &mut Peaks,
) -> Result<(), Failure> {
    let before = phase(server);
    let begun = Instant::now();
    let blob = upload(session, file).await;
    rounds.upload.push(begun.elapsed().as_secs_f64());
    peaks.upload = peaks.upload.max(server.peak_memory_bytes().saturating_sub(before));

    let before = phase(server);
    let begun = Instant::now();
    let came = pull(session, blob).await?;
    rounds.download.push(begun.elapsed().as_secs_f64());
    peaks.download = peaks.download.max(server.peak_memory_bytes().saturating_sub(before));
    if came == file.size { Ok(()) } else { Err(Failure::WrongBytes("download")) }
}

/// Uploads the file, downloads it, and checks every byte.
async fn check(session: &RawSession, file: &Synthetic) -> Result<(), Failure> {
    let blob = upload(session, file).await;
    match download(session, blob, 0).await {
        Ok((_, length, hash)) if length == file.size && hash == file.hash => Ok(()),
        Ok(_) | Err(_) => Err(Failure::WrongBytes("download")),
    }
}

/// Downloads a blob and only counts its bytes.
async fn pull(session: &RawSession, blob: Bytes) -> Result<u64, Failure> {
    let broken = |_| Failure::WrongBytes("download");
    let wanted = pb::DownloadOpen { blob, offset: 0, length: 0, thumbnail: false };
    let (mut sender, mut receiver) = session.work(open::Kind::Download(wanted)).await;
    sender.finish();
    let status = receiver.frame::<pb::DownloadStatus>().await.map_err(broken)?;
    let Some(download_status::Kind::Header(_)) = status.and_then(|status| status.kind) else {
        return Err(Failure::WrongBytes("download"));
    };
    let mut came = 0;
    while let Some(bytes) = receiver.bytes(usize::MAX).await.map_err(broken)? {
        came += bytes.len() as u64;
    }
    Ok(came)
}

/// Begins to watch the server's peak; gives what it holds now.
fn phase(server: &Server) -> u64 {
    memory::reset_peak(server.id());
    server.memory_bytes()
}

fn tell(load: &Transfer, rounds: &mut Rounds, peaks: &Peaks, report: &mut Report) {
    let discard = median(&mut rounds.discard);
    let persist = median(&mut rounds.persist);
    let send = median(&mut rounds.send);
    let upload = median(&mut rounds.upload);
    let download = median(&mut rounds.download);
    for finding in [
        rate(load, "quinn", DISCARD, discard, None),
        rate(load, "quinn", PERSIST, persist, None),
        rate(load, "skein", UPLOAD, upload, Some((PERSIST, persist))),
        rate(load, "skein", UPLOAD, upload, Some((DISCARD, discard))),
        rate(load, "quinn", DOWNLOAD, send, None),
        rate(load, "skein", DOWNLOAD, download, Some((DOWNLOAD, send))),
        peak(load, UPLOAD, peaks.upload),
        peak(load, DOWNLOAD, peaks.download),
    ] {
        report.tell(&finding);
    }
}

/// The middle one; of two in the middle the slower.
fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_unstable_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rate(
    load: &Transfer,
    system: &'static str,
    what: &'static str,
    seconds: f64,
    base: Option<(&'static str, f64)>,
) -> Finding {
    Finding::Rate {
        system,
        what,
        file_bytes: load.bytes,
        rounds: load.rounds,
        seconds,
        megabytes_per_second: load.bytes as f64 / 1e6 / seconds,
        // Of rates, so that less than 1 is slower.
        ratio: base.and_then(|(_, base)| ratio(base, seconds)),
        ratio_to: base.map(|(what, _)| what),
    }
}

fn peak(load: &Transfer, what: &'static str, peak_bytes: u64) -> Finding {
    Finding::Peak { system: "skein", what, file_bytes: load.bytes, peak_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_rounds() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [2.0, 1.0]), 2.0);
        assert!(median(&mut []).is_nan());
    }
}
