//! What the role counts. Names are stable; dashboards use them.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Logins that asked for a node, by `outcome`: `assigned` or `none`.
pub const ASSIGNMENTS: &str = "skein_status_assignments_total";
/// Nodes that hold a lease, as last looked at.
pub const NODES: &str = "skein_status_nodes";
/// Times that a node took a name, by `how`: `fresh`, `restarted` or `late`.
pub const STAYS: &str = "skein_status_stays_total";

/// Tells the recorder units and meanings. Call it once a recorder is installed.
pub fn describe() {
    describe_counter!(ASSIGNMENTS, Unit::Count, "Requests for a chat node, by outcome");
    describe_gauge!(NODES, Unit::Count, "Chat nodes that hold a lease, by whether they drain");
    describe_counter!(STAYS, Unit::Count, "Stays that chat nodes began, by how");
}

pub(crate) fn assigned(found: bool) {
    counter!(ASSIGNMENTS, "outcome" => if found { "assigned" } else { "none" }).increment(1);
}

pub(crate) fn nodes(open: usize, draining: usize) {
    for (state, count) in [("open", open), ("draining", draining)] {
        // There are a few thousand nodes at most, which a float holds exactly.
        #[allow(clippy::cast_precision_loss)]
        gauge!(NODES, "state" => state).set(count as f64);
    }
}

pub(crate) fn stay(how: &'static str) {
    counter!(STAYS, "how" => how).increment(1);
}
