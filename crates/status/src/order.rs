//! What the lease `drain/<name>/<term>` says: an operator wants this stay of the node to end.
//!
//! The stay is part of the name, so that an order ends with the process that it was given to: a node
//! that was drained and started again is an ordinary node.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use skein_core::port::directory::Term;

/// What the names of the leases begin with. Shared between nodes: stable.
pub(crate) const PREFIX: &str = "drain/";
/// The layout that this version writes and reads.
const ORDER_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Order {
    /// The layout.
    v: u32,
    /// Milliseconds over which the sessions are to leave.
    over_ms: u64,
}

/// The name of the lease.
pub(crate) fn lease_name(node: &str, term: Term) -> String {
    format!("{PREFIX}{node}/{}", term.0)
}

/// The stored form of an order.
pub(crate) fn encode(over: Duration) -> Vec<u8> {
    let over_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
    serde_json::to_vec(&Order { v: ORDER_VERSION, over_ms }).expect("numbers are always JSON")
}

/// Over which time the node drains, unless this version cannot read it.
pub(crate) fn decode(bytes: &[u8]) -> Option<Duration> {
    let order: Order = serde_json::from_slice(bytes).ok()?;
    (order.v == ORDER_VERSION).then(|| Duration::from_millis(order.over_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_stable() {
        let stored = br#"{"v":1,"over_ms":30000}"#;
        assert_eq!(encode(Duration::from_secs(30)), stored);
        assert_eq!(decode(stored), Some(Duration::from_secs(30)));
        assert_eq!(decode(br#"{"v":2,"over_ms":1}"#), None);
        assert_eq!(decode(b""), None);
        assert_eq!(lease_name("a", Term(7)), "drain/a/7");
    }
}
