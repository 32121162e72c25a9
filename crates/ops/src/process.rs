//! What the process itself uses, read from Linux' `/proc` (proc(5)); nothing elsewhere.

use std::{fs, time::Duration};

/// Clock ticks in a second in `/proc/self/stat`: fixed to 100 in the kernel's interface on every
/// architecture that Rust's standard library supports.
const TICKS_PER_SECOND: u64 = 100;

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time on a processor since the start, user and system together.
    pub cpu: Duration,
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
}

/// What this process uses now; zeros where the system does not say.
#[must_use]
pub fn usage() -> Usage {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The listing holds the descriptor that lists.
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
    Usage {
        cpu: cpu(&stat).unwrap_or_default(),
        resident_bytes: resident(&status).unwrap_or_default(),
        open_files: open as u64,
    }
}

/// Fields 14 and 15, counted from the name in parentheses, which may itself hold spaces.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 5 0 0 0 150 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("7 (a"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1532 kB\n"), Some(1532 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_something() {
        let usage = usage();
        assert!(usage.resident_bytes > 0 && usage.open_files > 0, "{usage:?}");
    }
}
