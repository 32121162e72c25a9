//! What a process takes of the machine's memory, as Linux tells it (proc(5)).

use std::fs;

/// The memory that the process holds now, in bytes (`VmRSS`).
#[must_use]
pub fn resident_bytes(process: u32) -> u64 {
    status_bytes(process, "VmRSS:")
}

/// The most memory that the process has held, in bytes (`VmHWM`).
#[must_use]
pub fn peak_bytes(process: u32) -> u64 {
    status_bytes(process, "VmHWM:")
}

/// Makes what the process holds now its peak, so that the next phase is measured by itself.
pub fn reset_peak(process: u32) {
    // 5 resets the peak (proc(5), "clear_refs").
    fs::write(format!("/proc/{process}/clear_refs"), "5").expect("the process is ours");
}

fn status_bytes(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("proc(5) names the field in kB") * 1024
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn the_peak_can_begin_anew() {
        let own = process::id();
        let filled = vec![1_u8; 64 * 1024 * 1024];
        assert!(filled.iter().all(|byte| *byte == 1));
        let before = peak_bytes(own);
        drop(filled);
        reset_peak(own);
        assert!(peak_bytes(own) < before && resident_bytes(own) > 0);
    }
}
