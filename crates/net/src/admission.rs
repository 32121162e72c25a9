//! Who gets a handshake, and who has to show first that it is there: decided here alone.
//!
//! A handshake costs a signature and some tens of kilobytes, and its first packet costs its sender
//! nothing and may bear any address. So what happens depends on the load. As long as few connections
//! are under way and few begin, whoever comes gets a handshake at once. Beyond, a client that has
//! not proved its address is sent a Retry (RFC 9000, section 8.1.2), for which nothing is kept: a
//! flood with forged addresses costs a packet for a packet. What is left are clients that are where
//! they say; those are counted by network, an IPv4 address or the /64 of an IPv6 one, and a network
//! gets no more than its share: of places at a time, and of handshakes a second. What was forged
//! never counts against the handshakes of the network that it names.
//!
//! A place is taken from the first packet to the login, and given back then: who has logged in is
//! counted by account from there on.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::pace::Pace;

/// Clients of one network that have not proved their address and get a handshake all the same.
/// Few: somebody elsewhere could have forged all of them, to take up that network's places.
const NETWORK_UNVALIDATED_MAX: usize = 8;
/// Networks that are remembered: more than a node can shake hands with in the time in which one is
/// forgotten. Beyond, clients of further networks are refused until some owe nothing any more.
const NETWORKS_MAX: usize = 16_384;
/// How often networks that owe nothing are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);
/// The same while no more fit: this takes less than a millisecond.
const FORGET_INTERVAL_FULL: Duration = Duration::from_millis(10);

/// How many clients are let in that nobody knows yet.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Connections that have not logged in, from everywhere together.
    pub unproven_max: usize,
    /// Connections that have not logged in from which on whoever comes must first prove that its
    /// address is its own.
    pub unvalidated_max: usize,
    /// Handshakes a second, from everywhere together, from which on the same holds.
    pub unvalidated_per_second: u32,
    /// Connections of one network that have not logged in.
    pub network_unproven_max: usize,
    /// Handshakes a second that one network gets in the long run.
    pub network_per_second: u32,
    /// Handshakes that it gets at once: many people may share one address.
    pub network_burst: u32,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            unproven_max: 2048,
            unvalidated_max: 256,
            unvalidated_per_second: 300,
            network_unproven_max: 256,
            network_per_second: 200,
            network_burst: 5_000,
        }
    }
}

/// What to do with a client.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It gets a handshake.
    Admitted(Place),
    /// It must first prove that its address is its own.
    Challenged,
    /// It is one too many.
    Refused,
}

/// Decides who gets in. Clones decide together.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    network_pace: Pace,
    unvalidated_pace: Pace,
    books: Arc<Mutex<Books>>,
}

#[derive(Debug)]
struct Books {
    inside: usize,
    networks: HashMap<Network, Account>,
    /// By when the handshakes of all that had not proved their address are paid off.
    unvalidated_due: Instant,
    forgotten: Instant,
}

/// What is known of a network.
#[derive(Debug)]
struct Account {
    inside: usize,
    /// By when its handshakes are paid off, if any counted: see [`Pace`].
    due: Option<Instant>,
}

/// Whom a limit counts: who has one address of these has all of them (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

/// A place among those who have not logged in. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    books: Arc<Mutex<Books>>,
    network: Network,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        let (inside, networks, now) = (0, HashMap::new(), Instant::now());
        let books = Books { inside, networks, unvalidated_due: now, forgotten: now };
        let a_second = limits.unvalidated_per_second;
        Self {
            limits,
            network_pace: Pace::new(limits.network_per_second, limits.network_burst),
            unvalidated_pace: Pace::new(a_second, a_second),
            books: Arc::new(Mutex::new(books)),
        }
    }

    /// Decides about a client at `address`. `validated` says that it has proved to be there.
    pub(crate) fn ask(&self, address: IpAddr, validated: bool, now: Instant) -> Verdict {
        let network = Network::of(address);
        let mut books = lock(&self.books);
        books.forget(now, FORGET_INTERVAL);
        if self.admits(&mut books, network, validated, now) {
            return Verdict::Admitted(Place { books: Arc::clone(&self.books), network });
        }
        // Whatever was too much: it may not have been this client's network that asked for it.
        if validated { Verdict::Refused } else { Verdict::Challenged }
    }

    fn admits(&self, books: &mut Books, network: Network, validated: bool, now: Instant) -> bool {
        let limits = &self.limits;
        let (everywhere, here) = if validated {
            (limits.unproven_max, limits.network_unproven_max)
        } else {
            let here = limits.network_unproven_max.min(NETWORK_UNVALIDATED_MAX);
            (limits.unproven_max.min(limits.unvalidated_max), here)
        };
        if books.inside >= everywhere {
            return false;
        }
        if !books.has_room(network, now) {
            return false;
        }
        let known = books.networks.get(&network);
        let (inside, mut due) = known.map_or((0, None), |account| (account.inside, account.due));
        if inside >= here {
            return false;
        }
        let keeps = if validated {
            self.network_pace.keeps(due.get_or_insert(now), now, 1)
        } else {
            self.unvalidated_pace.keeps(&mut books.unvalidated_due, now, 1)
        };
        if keeps {
            // Whoever does not get in leaves nothing behind: its address may be forged.
            books.networks.insert(network, Account { inside: inside + 1, due });
            books.inside += 1;
        }
        keeps
    }
}

impl Books {
    fn forget(&mut self, now: Instant, interval: Duration) {
        if now.saturating_duration_since(self.forgotten) >= interval {
            let owes = |account: &Account| account.due.is_some_and(|due| due > now);
            self.networks.retain(|_, account| account.inside > 0 || owes(account));
            self.forgotten = now;
        }
    }

    /// Whether `network` is known or can be.
    fn has_room(&mut self, network: Network, now: Instant) -> bool {
        if self.networks.len() < NETWORKS_MAX || self.networks.contains_key(&network) {
            return true;
        }
        self.forget(now, FORGET_INTERVAL_FULL);
        self.networks.len() < NETWORKS_MAX
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut books = lock(&self.books);
        books.inside -= 1;
        if let Some(account) = books.networks.get_mut(&self.network) {
            account.inside -= 1;
            // Only who has proved its address owes something, and only then it has to be known.
            if account.inside == 0 && account.due.is_none() {
                books.networks.remove(&self.network);
            }
        }
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AdmissionLimits = AdmissionLimits {
        unproven_max: 20,
        unvalidated_max: 10,
        unvalidated_per_second: 100,
        network_unproven_max: 9,
        network_per_second: 1,
        network_burst: 30,
    };

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Asks `count` times and keeps the places that it gets.
    fn ask(admission: &Admission, address: IpAddr, validated: bool, count: usize) -> Vec<Place> {
        let now = Instant::now();
        let verdicts = (0..count).map(|_| admission.ask(address, validated, now));
        let admitted = |verdict| match verdict {
            Verdict::Admitted(place) => Some(place),
            Verdict::Challenged | Verdict::Refused => None,
        };
        verdicts.filter_map(admitted).collect()
    }

    fn is_challenged(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Challenged)
    }

    #[test]
    fn forged_addresses_take_no_more_than_the_load_allows() {
        let admission = Admission::new(LIMITS);
        let mut held = Vec::new();
        for last in 0..=255 {
            held.extend(ask(&admission, v4(last), false, 1));
        }
        assert_eq!(held.len(), LIMITS.unvalidated_max);
        let now = Instant::now();
        assert!(is_challenged(&admission.ask(v4(1), false, now)));
        let proven = admission.ask(v4(1), true, now);
        assert!(matches!(proven, Verdict::Admitted(_)), "{proven:?}");
        drop(held);
        assert_eq!(ask(&admission, v4(1), false, 1).len(), 1, "the load is gone");
    }

    #[test]
    fn nobody_uses_up_a_network_from_elsewhere() {
        let admission = Admission::new(LIMITS);
        let forged = ask(&admission, v4(1), false, 100);
        assert_eq!(forged.len(), NETWORK_UNVALIDATED_MAX);
        assert!(is_challenged(&admission.ask(v4(1), false, Instant::now())));
        let real = ask(&admission, v4(1), true, 100);
        assert_eq!(real.len(), LIMITS.network_unproven_max - forged.len());
    }

    #[test]
    fn a_network_has_its_share_of_places_and_all_have_no_more_than_there_are() {
        let admission = Admission::new(LIMITS);
        let mut held: Vec<Place> =
            (0..3).flat_map(|last| ask(&admission, v4(last), true, 100)).collect();
        assert_eq!(held.len(), LIMITS.unproven_max);
        let refused = admission.ask(v4(9), true, Instant::now());
        assert!(matches!(refused, Verdict::Refused), "{refused:?}");
        held.clear();
        assert_eq!(ask(&admission, v4(9), true, 100).len(), LIMITS.network_unproven_max);
    }

    #[test]
    fn a_network_has_its_share_of_handshakes_a_second() {
        let admission = Admission::new(LIMITS);
        let start = Instant::now();
        let admitted = |at: Instant, address| {
            (0..100)
                .filter(|_| matches!(admission.ask(address, true, at), Verdict::Admitted(_)))
                .count()
        };
        assert_eq!(admitted(start, v4(1)), 30, "places were given back at once");
        assert_eq!(admitted(start, v4(2)), 30, "another network is another matter");
        assert_eq!(admitted(start + Duration::from_secs(3), v4(1)), 3);
    }

    #[test]
    fn handshakes_that_fail_at_once_are_load_too_but_not_their_networks() {
        let admission = Admission::new(LIMITS);
        let now = Instant::now();
        let forged = (0..1000).map(|_| admission.ask(v4(1), false, now));
        let admitted = forged.filter(|verdict| matches!(verdict, Verdict::Admitted(_))).count();
        assert_eq!(admitted, 100, "as many as begin in a second");
        assert!(is_challenged(&admission.ask(v4(2), false, now)));
        assert!(matches!(admission.ask(v4(1), true, now), Verdict::Admitted(_)));
    }

    #[test]
    fn a_network_of_ipv6_is_its_64_and_ipv4_is_the_same_in_both_forms() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn forged_addresses_leave_nothing_behind() {
        let admission = Admission::new(LIMITS);
        let now = Instant::now();
        for address in (0..50_000).map(std::net::Ipv4Addr::from_bits) {
            drop(admission.ask(address.into(), false, now));
        }
        assert_eq!(lock(&admission.books).networks.len(), 0);
        assert!(matches!(admission.ask(v4(1), true, now), Verdict::Admitted(_)));
    }

    #[test]
    fn a_full_table_of_networks_that_owe_nothing_keeps_nobody_out() {
        let admission = Admission::new(AdmissionLimits { network_per_second: 1_000, ..LIMITS });
        let start = Instant::now() + FORGET_INTERVAL;
        for address in (0..u32::try_from(NETWORKS_MAX).unwrap()).map(std::net::Ipv4Addr::from) {
            drop(admission.ask(address.into(), true, start));
        }
        assert_eq!(lock(&admission.books).networks.len(), NETWORKS_MAX);
        let soon = start + FORGET_INTERVAL_FULL;
        assert!(matches!(admission.ask(v4(1), true, soon), Verdict::Admitted(_)));
    }

    #[test]
    fn networks_are_forgotten_and_never_more_than_fit() {
        let admission = Admission::new(AdmissionLimits { network_per_second: 100, ..LIMITS });
        let start = Instant::now();
        let addresses =
            (0..u32::try_from(NETWORKS_MAX).unwrap() + 10).map(std::net::Ipv4Addr::from);
        for address in addresses {
            drop(admission.ask(address.into(), true, start));
        }
        let count = || lock(&admission.books).networks.len();
        assert_eq!(count(), NETWORKS_MAX);
        let late: IpAddr = "198.51.100.1".parse().unwrap();
        assert!(matches!(admission.ask(late, true, start), Verdict::Refused));
        let later = start + FORGET_INTERVAL;
        assert!(matches!(admission.ask(late, true, later), Verdict::Admitted(_)));
        assert_eq!(count(), 1);
    }
}
