//! What is printed: a line for each window of the load, and what a drain adds to one without.

use std::time::Duration;

use crate::{
    fault::{DRAINED, UNDISTURBED},
    ledger::{Longest, State},
};

/// What came of one window: the time from letting the load run to the last acknowledgement.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Messages that were acknowledged.
    pub(crate) messages: usize,
    /// Files that were.
    pub(crate) files: usize,
    /// Files that a client gave up, so that they had to be sent again.
    pub(crate) given_up: usize,
    /// Uploads that went on where they had been, and where that was.
    resumed: String,
    longest: Longest,
    acknowledged: Waits,
}

/// How long clients waited for acknowledgements.
#[derive(Debug, Clone, Copy, Default)]
struct Waits {
    longest: Duration,
    /// 99 of 100 took no longer.
    p99: Duration,
}

/// All windows, in their order.
#[derive(Debug, Default)]
pub(crate) struct Report {
    windows: Vec<(&'static str, Window)>,
}

impl Window {
    /// What the ledger has of it.
    pub(crate) fn of(state: &State) -> Self {
        Self {
            messages: 0,
            files: 0,
            given_up: state.given_up,
            resumed: format!("{} at {} MiB", state.resumed, state.resumed_bytes >> 20),
            longest: state.longest,
            acknowledged: Waits::of(state.waits.clone()),
        }
    }
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let p99 = waits.get((waits.len() * 99).div_ceil(100).saturating_sub(1));
        let longest = waits.last().copied().unwrap_or_default();
        Self { longest, p99: p99.copied().unwrap_or_default() }
    }
}

impl Report {
    /// Prints what stands above the lines.
    pub(crate) fn head() {
        println!(
            "{:<26} {:>9} {:>6} {:>17} {:>8} {:>9} {:>9} {:>9} {:>9}",
            "", "", "", "uploads", "", "ack", "ack", "delivery", "file"
        );
        println!(
            "{:<26} {:>9} {:>6} {:>17} {:>8} {:>9} {:>9} {:>9} {:>9}",
            "fault",
            "messages",
            "files",
            "continued",
            "given up",
            "99 %",
            "longest",
            "longest",
            "longest"
        );
    }

    /// Prints a window, and what a drain has added.
    pub(crate) fn add(&mut self, name: &'static str, window: Window) {
        println!(
            "{name:<26} {:>9} {:>6} {:>17} {:>8} {:>7.2} s {:>7.2} s {:>7.2} s {:>7.2} s",
            window.messages,
            window.files,
            window.resumed,
            window.given_up,
            window.acknowledged.p99.as_secs_f64(),
            window.acknowledged.longest.as_secs_f64(),
            window.longest.delivered.as_secs_f64(),
            window.longest.uploaded.as_secs_f64()
        );
        self.windows.push((name, window));
    }

    /// Prints what each drain added to the window before it. That is a matter of time, which nobody
    /// judges.
    pub(crate) fn drains(&self) {
        for pair in self.windows.windows(2) {
            let [(UNDISTURBED, before), (DRAINED, drained)] = pair else { continue };
            let (before, drained) = (before.acknowledged, drained.acknowledged);
            let more = |drained: Duration, before: Duration| {
                format!("{:+.0} ms", (drained.as_secs_f64() - before.as_secs_f64()) * 1000.0)
            };
            println!(
                "drained: {} to the longest acknowledgement ({} ms before), {} to 99 % of them \
                 ({} ms before)",
                more(drained.longest, before.longest),
                before.longest.as_millis(),
                more(drained.p99, before.p99),
                before.p99.as_millis(),
            );
        }
    }
}
