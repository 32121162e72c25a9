//! Which path a controller belongs to. quinn has one for each path: it makes a new one when the peer goes
//! on from another host, and copies the former one when only the port is another. So a mark that is
//! never the same twice tells whether a connection has moved, there and back too.

use std::sync::atomic::{AtomicU64, Ordering};

/// Marks that were given, by all controllers of the process.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// A copy has another mark, and knows that of what it was copied from: whoever asks quinn for the
/// controller of a path has a copy.
#[derive(Debug)]
pub(super) struct Mark {
    own: u64,
    copied: u64,
}

impl Mark {
    /// The mark of the controller that this was copied from. Those of later paths are higher.
    pub(super) const fn copied(&self) -> u64 {
        self.copied
    }
}

impl Default for Mark {
    fn default() -> Self {
        let own = GIVEN.fetch_add(1, Ordering::Relaxed);
        Self { own, copied: own }
    }
}

impl Clone for Mark {
    fn clone(&self) -> Self {
        Self { copied: self.own, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_at_a_path_leaves_its_mark_and_each_later_path_has_a_higher_one() {
        let path = Mark::default();
        let mark = path.clone().copied();
        assert_eq!(path.clone().copied(), mark);
        let (port, host) = (path.clone(), Mark::default());
        assert!(port.clone().copied() > mark);
        assert!(host.clone().copied() > port.clone().copied());
        assert_eq!(path.clone().copied(), mark, "quinn goes back");
    }
}
