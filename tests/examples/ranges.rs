//! Fetches one file over a network in userspace, whole and in ranges side by side on one connection,
//! and prints what each takes: `ranges`. Whether it pays to fetch in ranges is told in
//! `docs/adr/0006-a-file-is-fetched-in-one-range.md`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use skein_net::Connection;
use skein_net::priority::Priority;
use skein_testkit::{
    gate::Gate,
    network::{Conditions, UdpRelay},
    raw::RawSession,
    server::Server,
    transfer::{Synthetic, upload},
};
use skein_wire::pb::{self, open};

const MIB: u64 = 1024 * 1024;
/// How often each is measured; the median counts.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let login = gate.newcomer("alice").await;
    let direct = RawSession::open(&login).await.expect("a session");
    let file = Synthetic::new(96 * MIB, 3);
    let blob = upload(&direct, &file).await;
    println!(
        "{:>8} {:>6} {:>6} {:>5} {:>7} {:>7} {:>7}",
        "Mbit/s", "ms", "loss", "MiB", "1", "2", "4"
    );
    for (megabits, trip_ms, loss, mib) in [
        (20, 40, 0.0, 8),
        (50, 80, 0.0, 16),
        (50, 80, 0.02, 16),
        (200, 40, 0.0, 24),
        (200, 200, 0.0, 24),
        (200, 200, 0.0, 96),
    ] {
        let relay = UdpRelay::start(server.quic()).expect("a relay");
        let path = Conditions::delayed(Duration::from_millis(trip_ms / 2)).with_loss(loss);
        relay.set_both(path.with_rate(megabits * 1_000_000, Duration::from_millis(100)));
        let mut far = login.clone();
        far.chat.address = relay.address().to_string();
        let mut line = format!("{megabits:>8} {trip_ms:>6} {loss:>6} {mib:>5}");
        for ranges in [1, 2, 4] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                // Each on a connection of its own: none profits from what another has learnt.
                let session = RawSession::open(&far).await.expect("a session");
                let began = Instant::now();
                fetch(&session.connection, &blob, mib * MIB, ranges).await;
                times.push(began.elapsed());
            }
            times.sort_unstable();
            line.push_str(&format!(" {:>6.2}s", times[ROUNDS / 2].as_secs_f64()));
        }
        println!("{line}");
    }
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
