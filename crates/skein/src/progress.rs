//! The bar of a transfer, on a terminal; in a pipe there is none.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use skein_client::{Phase, Progress};

/// Shows how a transfer goes. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    bar: ProgressBar,
    /// The byte at which the first stream began: where an earlier run had stopped.
    began_at: Arc<AtomicU64>,
    resent: Arc<AtomicU64>,
    verb: &'static str,
}

/// No stream was opened yet.
const NOT_YET: u64 = u64::MAX;

impl Bar {
    /// A bar for a transfer that `verb` names, as in "sending".
    pub(crate) fn new(verb: &'static str) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{msg:9} [{bar:30}] {bytes}/{total_bytes} {prefix}";
        bar.set_style(
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        Self { bar, began_at: Arc::new(AtomicU64::new(NOT_YET)), resent: Arc::default(), verb }
    }

    /// Takes in how it goes.
    pub(crate) fn update(&self, progress: Progress) {
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        let phase = match progress.phase {
            Phase::Hashing => "reading",
            Phase::Waiting => "waiting",
            Phase::Opened | Phase::Sending | Phase::Receiving => self.verb,
        };
        self.resent.store(progress.resent, Ordering::Relaxed);
        self.bar.set_message(phase);
        self.bar.set_position(progress.done);
        self.bar.set_prefix(match (progress.bytes_per_second, progress.time_left) {
            (Some(rate), Some(left)) => {
                format!("{}/s, {} s left", HumanBytes(rate), left.as_secs())
            }
            _ => String::new(),
        });
        if progress.phase == Phase::Opened {
            self.opened(progress.done);
        }
    }

    /// The byte from which this run continued what an earlier one had begun; 0 if it began.
    pub(crate) fn began_at(&self) -> u64 {
        match self.began_at.load(Ordering::Relaxed) {
            NOT_YET => 0,
            began_at => began_at,
        }
    }

    /// Bytes that were sent more than once, because a connection was lost.
    pub(crate) fn resent(&self) -> u64 {
        self.resent.load(Ordering::Relaxed)
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn opened(&self, at: u64) {
        let first = self
            .began_at
            .compare_exchange(NOT_YET, at, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if first && at > 0 {
            let line = format!("continuing from byte {at} ({})", HumanBytes(at));
            // The bar knows how to keep a line above itself; without one, stderr takes it.
            if self.bar.is_hidden() {
                writeln!(io::stderr(), "{line}").ok();
            } else {
                self.bar.println(line);
            }
        }
    }
}
