//! Counts connections by the network that they come from: one host must not use up the room of all
//! others before anyone knows who it is.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use skein_core::subject::Subject;

/// Lets a bounded number of connections of each network in.
#[derive(Debug, Clone)]
pub struct Doorkeeper {
    inside: Arc<Mutex<HashMap<Subject, usize>>>,
    per_network_max: usize,
}

/// A place inside. Given back when dropped: when the connection is gone, or needs no watching any
/// more.
#[derive(Debug)]
pub struct Place {
    keeper: Doorkeeper,
    network: Subject,
}

impl Doorkeeper {
    /// Gives each network so many places: an IPv4 address, an IPv6 /64.
    #[must_use]
    pub fn new(per_network_max: usize) -> Self {
        Self { inside: Arc::default(), per_network_max }
    }

    /// Places that the network of `address` has taken.
    #[must_use]
    pub fn inside(&self, address: IpAddr) -> usize {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.get(&Subject::network(address)).copied().unwrap_or(0)
    }

    /// A place for a client from `address`, unless its network has as many as it may.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Place> {
        let network = Subject::network(address);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inside.entry(network.clone()).or_default();
        if *count >= self.per_network_max {
            return None;
        }
        *count += 1;
        Some(Place { keeper: self.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.keeper.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_network_and_forgets() {
        let keeper = Doorkeeper::new(2);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let first = keeper.admit(address(1));
        let second = keeper.admit(address(1));
        assert!(first.is_some() && second.is_some());
        assert!(keeper.admit(address(1)).is_none());
        assert_eq!((keeper.inside(address(1)), keeper.inside(address(2))), (2, 0));
        assert!(keeper.admit(address(2)).is_some());
        drop(first);
        assert!(keeper.admit(address(1)).is_some());
        drop(second);
        assert!(keeper.inside.lock().expect("whole").is_empty());
    }
}
