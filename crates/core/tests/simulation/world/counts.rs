//! What happened in worlds, to see that enough did.

/// What happened, to see that enough did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) rejected: u64,
    pub(crate) repeated: u64,
    pub(crate) lost: u64,
    pub(crate) silenced: u64,
    pub(crate) server_crashes: u64,
    pub(crate) client_crashes: u64,
    pub(crate) kicked: u64,
    pub(crate) dropped_hints: u64,
    pub(crate) uncommitted: u64,
    pub(crate) refused_for_now: u64,
    pub(crate) moved: u64,
    pub(crate) promoted: u64,
    pub(crate) suspected: u64,
    pub(crate) changed_networks: u64,
    pub(crate) probes: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.acked += other.acked;
        self.rejected += other.rejected;
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.silenced += other.silenced;
        self.server_crashes += other.server_crashes;
        self.client_crashes += other.client_crashes;
        self.kicked += other.kicked;
        self.dropped_hints += other.dropped_hints;
        self.uncommitted += other.uncommitted;
        self.refused_for_now += other.refused_for_now;
        self.moved += other.moved;
        self.promoted += other.promoted;
        self.suspected += other.suspected;
        self.changed_networks += other.changed_networks;
        self.probes += other.probes;
    }
}
