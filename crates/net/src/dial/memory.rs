//! Which networks let QUIC through, as far as this process has seen.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::watch::local_address;

/// Networks that are remembered.
const NETWORKS_MAX: usize = 16;
/// How long a network that was silent on UDP is taken for one that blocks it.
pub(super) const BLOCKED_FOR: Duration = Duration::from_secs(5 * 60);
/// How long a network that has let QUIC through, if late, is trusted to do so again.
const OPEN_FOR: Duration = Duration::from_secs(60);
/// How long QUIC may take before WebSocket is tried beside it.
const AHEAD: Duration = Duration::from_millis(200);
/// The same where QUIC was seen to work although it is slow: somebody waits, but not long.
const AHEAD_WHERE_OPEN: Duration = Duration::from_secs(2);

/// A network, by the prefix of the address that this host has in it: 24 bits of IPv4, 64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(Option<IpAddr>);

impl Network {
    /// The one that leads to `address` now.
    pub(super) fn towards(address: SocketAddr) -> Self {
        Self(local_address(address).map(prefix))
    }
}

fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// What was seen, the latest last.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Vec<Seen>>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    network: Network,
    open: bool,
    until: Instant,
}

impl Memory {
    /// How far ahead of WebSocket QUIC is started. It is always started: that costs some packets, and
    /// where it works it is the first to finish.
    pub(super) fn ahead(&self, network: Network, now: Instant) -> Duration {
        let seen = self.seen();
        let known = seen.iter().find(|seen| seen.network == network && now < seen.until);
        match known {
            Some(Seen { open: true, .. }) => AHEAD_WHERE_OPEN,
            Some(Seen { open: false, .. }) => Duration::ZERO,
            None => AHEAD,
        }
    }

    /// WebSocket has won.
    pub(super) fn blocked(&self, network: Network, now: Instant) {
        self.keep(Seen { network, open: false, until: now + BLOCKED_FOR });
    }

    /// QUIC has won after all.
    pub(super) fn open(&self, network: Network, now: Instant) {
        self.keep(Seen { network, open: true, until: now + OPEN_FOR });
    }

    /// QUIC has won, as it should.
    pub(super) fn forget(&self, network: Network) {
        self.seen().retain(|seen| seen.network != network);
    }

    fn keep(&self, new: Seen) {
        let mut seen = self.seen();
        seen.retain(|seen| seen.network != new.network);
        if seen.len() == NETWORKS_MAX {
            seen.remove(0);
        }
        seen.push(new);
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        // What a panic elsewhere leaves here is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network(Some(prefix(text.parse().expect("an address"))))
    }

    #[test]
    fn a_network_is_remembered_for_a_while() {
        let (memory, now) = (Memory::default(), Instant::now());
        let (home, cafe) = (network("192.168.1.7"), network("10.0.0.7"));
        assert_eq!(home, network("192.168.1.99"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        memory.blocked(cafe, now);
        assert_eq!(memory.ahead(cafe, now), Duration::ZERO);
        assert_eq!(memory.ahead(home, now), AHEAD);
        assert_eq!(memory.ahead(cafe, now + BLOCKED_FOR), AHEAD);
        memory.open(cafe, now);
        assert_eq!(memory.ahead(cafe, now), AHEAD_WHERE_OPEN);
        memory.forget(cafe);
        assert_eq!(memory.ahead(cafe, now), AHEAD);
        for number in 0..100 {
            memory.blocked(network(&format!("10.1.{number}.1")), now);
        }
        assert_eq!(memory.seen().len(), NETWORKS_MAX);
    }

    #[test]
    fn this_host_reaches_itself() {
        let localhost = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(local_address(localhost), Some(localhost.ip()));
    }
}
