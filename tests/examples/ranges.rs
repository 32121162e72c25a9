//! Fetches files over a network in userspace: whole, in ranges side by side on one connection, and as a
//! client does. Prints what each takes: `ranges`. Whether it pays to fetch in ranges is told in
//! `docs/adr/0006-ranges-where-the-path-is-long.md`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::try_join_all;
use skein_client::{
    Attachment, BlobId, Client, DeviceName, FileName, MediaType, Username, Variant,
};
use skein_net::{Connection, priority::Priority};
use skein_testkit::{
    PATIENCE,
    cli::PASSWORD,
    gate::Gate,
    network::{Conditions, UdpRelay},
    raw::RawSession,
    server::Server,
    transfer::{Synthetic, upload},
};
use skein_wire::pb::{self, open};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;
/// How often each is measured; the median counts.
const ROUNDS: usize = 3;
/// Megabits a second, milliseconds there and back, the share that is lost, and MiB of the file.
const PATHS: [(u64, u64, f64, u64); 7] = [
    (20, 40, 0.0, 8),
    (50, 80, 0.0, 16),
    (50, 80, 0.02, 16),
    (200, 40, 0.0, 24),
    (200, 200, 0.0, 24),
    (200, 200, 0.0, 96),
    (400, 200, 0.0, 192),
];

#[tokio::main]
async fn main() {
    let (server, relay) = Server::behind_a_relay("");
    let gate = Gate::new(server.http());
    let login = gate.newcomer("alice").await;
    let folder = TempDir::new().expect("the temporary folder takes folders");
    let home = folder.path().join("home");
    let client = Client::open(&home).expect("a home");
    let user = Username::parse("alice").expect("a name");
    let device = DeviceName::parse("laptop").expect("a name");
    client.log_in(server.http(), &user, PASSWORD, &device).await.expect("the password is right");
    println!(
        "{:>8} {:>6} {:>6} {:>5} {:>7} {:>7} {:>7} {:>7}",
        "Mbit/s", "ms", "loss", "MiB", "1", "2", "4", "client"
    );
    for (megabits, trip_ms, loss, mib) in PATHS {
        relay.set_both(Conditions::default());
        let file = Synthetic::new(mib * MIB, 3);
        let blob = upload(&RawSession::open(&login).await.expect("a session"), &file).await;
        restrict(&relay, megabits, trip_ms, loss);
        let mut line = format!("{megabits:>8} {trip_ms:>6} {loss:>6} {mib:>5}");
        for ranges in [1, 2, 4] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                // Each on a connection of its own: none profits from what another has learnt.
                let session = RawSession::open(&login).await.expect("a session");
                let began = Instant::now();
                fetch(&session.connection, &blob, file.size, ranges).await;
                times.push(began.elapsed());
            }
            line.push_str(&format!(" {:>6.2}s", median(times)));
        }
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(download(&home, &folder.path().join("copy"), &blob, &file).await);
        }
        println!("{line} {:>6.2}s", median(times));
    }
}

fn restrict(relay: &UdpRelay, megabits: u64, trip_ms: u64, loss: f64) {
    let path = Conditions::delayed(Duration::from_millis(trip_ms / 2)).with_loss(loss);
    relay.set_both(path.with_rate(megabits * 1_000_000, Duration::from_millis(100)));
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// What every program on the SDK does: until the file is on disk and its hash was checked.
async fn download(home: &Path, to: &Path, blob: &Bytes, file: &Synthetic) -> Duration {
    let client = Client::open(home).expect("a home");
    client.connect().await.expect("there is a login");
    client.live(PATIENCE).await.expect("live");
    let attachment = Attachment {
        blob: BlobId::try_from(&blob[..]).expect("an id"),
        name: FileName::parse("file").expect("a name"),
        size: file.size,
        media_type: MediaType::parse("application/octet-stream").expect("a type"),
        hash: file.hash,
    };
    let began = Instant::now();
    let fetched = client.download(&attachment, Variant::Original, to, true, |_| {}).await;
    let took = began.elapsed();
    fetched.expect("the connection holds");
    client.close().await;
    took
}

async fn fetch(connection: &Connection, blob: &Bytes, size: u64, ranges: u64) {
    let length = size / ranges;
    let parts = (0..ranges).map(|number| async move {
        let (mut sender, mut receiver) = connection.open(Priority::Bulk).await?;
        let wanted = pb::DownloadOpen {
            blob: blob.clone(),
            offset: number * length,
            length,
            thumbnail: false,
        };
        sender.frame(&pb::Open { kind: Some(open::Kind::Download(wanted)) }).await?;
        sender.finish();
        receiver.frame::<pb::DownloadStatus>().await?;
        let mut got = 0;
        while let Some(bytes) = receiver.bytes(usize::MAX).await? {
            got += bytes.len() as u64;
        }
        assert_eq!(got, length, "all of the range");
        Ok::<_, skein_net::stream::StreamError>(())
    });
    try_join_all(parts).await.expect("the connection holds");
}
