//! What a connection tells its controller, which belongs to quinn: both hold the same wishes, and the
//! controller looks at them when quinn asks it something.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What is wished for. Copies of a controller share it, so whoever asks quinn for a copy has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    probe: Arc<AtomicBool>,
    another_path: Arc<AtomicBool>,
}

impl Wishes {
    /// One packet is to leave, whatever is under way.
    pub(super) fn wish_probe(&self) {
        self.probe.store(true, Ordering::Relaxed);
    }

    /// Whether it still has to.
    pub(super) fn wants_probe(&self) -> bool {
        self.probe.load(Ordering::Relaxed)
    }

    /// A packet has left.
    pub(super) fn probed(&self) {
        self.probe.store(false, Ordering::Relaxed);
    }

    /// What is sent from now on takes another path.
    pub(super) fn tell_another_path(&self) {
        self.another_path.store(true, Ordering::Relaxed);
    }

    /// Whether that was told since this was last asked.
    pub(super) fn take_another_path(&self) -> bool {
        self.another_path.swap(false, Ordering::Relaxed)
    }
}
