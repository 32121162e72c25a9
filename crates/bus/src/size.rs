//! How large names and values may be, and how long they may live. The same on every bus, so that
//! what works on one machine works in a cluster.

use std::time::Duration;

use crate::Unavailable;

/// Bytes in a key or in the name of a lease.
pub const NAME_BYTES_MAX: usize = 512;
/// Bytes in the value of a key or of a lease.
pub const VALUE_BYTES_MAX: usize = 4 * 1024;

/// The longest lifetime; keeps the sum of a moment and a lifetime within what a moment can hold.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

pub(crate) fn check(name: &str, value: &[u8]) -> Result<(), Unavailable> {
    if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(Unavailable(format!(
            "a name takes at most {NAME_BYTES_MAX} bytes and a value {VALUE_BYTES_MAX}"
        )));
    }
    Ok(())
}
