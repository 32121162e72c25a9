//! What is known of the path that a transfer takes.

use std::time::Duration;

/// What the transport knows of the path.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// How long a packet and its acknowledgement take together, as estimated now.
    pub round_trip: Duration,
    /// Packets that were lost so far. `None` where the transport does not tell, as over TCP: there what
    /// is ahead waits in queues of this host, and the round trip counts them.
    pub lost: Option<u64>,
}

/// Bytes that come in so long at this rate, in bytes a second.
pub(super) fn within(bytes_per_second: u64, time: Duration) -> u64 {
    let bytes = u128::from(bytes_per_second).saturating_mul(time.as_micros()) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Takes its own queue out of what a transport says that does not know better.
#[derive(Debug, Clone, Default)]
pub(super) struct Shortest(Option<Duration>);

impl Shortest {
    /// The path as it is where nothing waits. A transport that does not tell of losses cannot move to
    /// a longer path either, so the shortest round trip of the connection holds.
    pub(super) fn without_own_queue(&mut self, path: Path) -> Path {
        let shortest = self.0.map_or(path.round_trip, |known| known.min(path.round_trip));
        self.0 = Some(shortest);
        match path.lost {
            Some(_) => path,
            None => Path { round_trip: shortest, ..path },
        }
    }
}
