//! Both directions of a path in real time: what relays send their bytes over, and share where they
//! are to share a network.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    conditions::Conditions,
    counts::Counts,
    link::{Link, Verdict},
};

/// The seed of a path whose user does not care.
pub const SEED: u64 = 0x536b_6569_6e00_0004;

/// From the client to the server, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// A path with two directions. Clones are the same path: relays on it share its bandwidth.
#[derive(Debug, Clone)]
pub struct Path {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    links: Mutex<Links>,
}

/// Both directions of a path, for one caller at a time.
#[derive(Debug)]
pub struct Links {
    /// From the client to the server.
    pub up: Link,
    /// From the server to the client.
    pub down: Link,
}

impl Default for Path {
    fn default() -> Self {
        Self::new(SEED)
    }
}

impl Path {
    /// A path that does nothing yet. Its chances are those of the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let links = Links::new(Conditions::default(), Conditions::default(), seed);
        Self { shared: Arc::new(Shared { began: Instant::now(), links: Mutex::new(links) }) }
    }

    /// The time of this path: since it was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Changes what happens in each direction from now on.
    pub fn set(&self, up: Conditions, down: Conditions) {
        let mut links = self.links();
        links.up.set(up);
        links.down.set(down);
    }

    /// Changes what happens in both directions from now on.
    pub fn set_both(&self, conditions: Conditions) {
        self.set(conditions, conditions);
    }

    /// Begins a blackout of both directions, or ends it. All else stays as it was set.
    pub fn cut(&self, cut: bool) {
        let mut links = self.links();
        let (up, down) = (links.up.conditions(), links.down.conditions());
        links.up.set(Conditions { cut, ..up });
        links.down.set(Conditions { cut, ..down });
    }

    /// What happens at present: up, down.
    #[must_use]
    pub fn conditions(&self) -> (Conditions, Conditions) {
        let links = self.links();
        (links.up.conditions(), links.down.conditions())
    }

    /// What has been carried: up, down.
    #[must_use]
    pub fn counts(&self) -> (Counts, Counts) {
        let links = self.links();
        (links.up.counts().clone(), links.down.counts().clone())
    }

    /// Sends a packet of so many bytes.
    pub fn offer(&self, direction: Direction, now: Duration, bytes: usize) -> Verdict {
        self.links().of(direction).offer(now, bytes)
    }

    /// Both directions, held until dropped.
    pub fn links(&self) -> MutexGuard<'_, Links> {
        self.shared.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    /// Links that have carried nothing yet. Their chances are those of the seed.
    #[must_use]
    pub fn new(up: Conditions, down: Conditions, seed: u64) -> Self {
        // The directions must not lose alike.
        Self { up: Link::new(up, seed), down: Link::new(down, !seed) }
    }

    /// One of them.
    pub const fn of(&mut self, direction: Direction) -> &mut Link {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// Where a relay before this server listens, unless told otherwise.
pub(super) const fn loopback_of(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}
