//! Whether and when an interrupted transfer is tried again.

use std::time::Duration;

use crate::{
    backoff::Backoff,
    refusal::{Code, Refusal},
};

/// Failures in a row, without a byte of progress between them, after which a transfer is given up.
/// With the backoff's delays these are two minutes and more: longer than a server restart or a
/// tunnel, and shorter than the patience of someone who watches.
pub const FAILURES_IN_A_ROW_MAX: u32 = 30;
/// How often an upload that was opened elsewhere is opened again. An opening of one's own may have
/// been held up at a node that was thought dead; but where two processes send the same file, one
/// has to give way.
const SUPERSEDED_MAX: u32 = 3;

/// How long to wait at least, and twice that at most, before a file that is still coming is asked for
/// again: the server has waited for it before it answers.
const COMING_DELAY: Duration = Duration::from_secs(2);

/// Counts failures since the last progress.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    backoff: Backoff,
    superseded: u32,
    /// Nobody watches: what may pass is waited for, however long it takes.
    endless: bool,
    /// The file is still coming: its sender may pause for as long as they like.
    coming: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Open the transfer again after this long.
    Retry(Duration),
    /// Trying again cannot help, or has not helped often enough.
    GiveUp,
}

impl Patience {
    /// That of a transfer in the background, which only a refusal for good ends.
    #[must_use]
    pub fn endless() -> Self {
        Self { endless: true, ..Self::default() }
    }

    /// That of a file that is still coming. That its sender pauses, or that it cannot be followed
    /// just now, counts for nothing; a server that is away, or fails, still does.
    #[must_use]
    pub fn for_coming() -> Self {
        Self { coming: true, ..Self::default() }
    }

    /// Bytes have moved: a failure from here on is the first in a row.
    pub const fn progressed(&mut self) {
        self.backoff.reset();
    }

    /// The connection was lost, or could not be made.
    pub fn lost(&mut self, random: u64) -> Next {
        if !self.endless && self.backoff.failures() >= FAILURES_IN_A_ROW_MAX {
            return Next::GiveUp;
        }
        Next::Retry(self.backoff.failed(random))
    }

    /// The server has refused to open or to go on.
    pub fn refused(&mut self, refusal: &Refusal, random: u64) -> Next {
        match refusal.code {
            // The two sides disagree about the offset: opening again settles it.
            Code::WrongOffset | Code::Incomplete => self.lost(random),
            // Progress does not make up for it: each of two rivals makes some.
            Code::Superseded if self.superseded < SUPERSEDED_MAX => {
                self.superseded += 1;
                self.lost(random)
            }
            // The server is there, and answers.
            Code::Unavailable | Code::TimedOut if self.coming => {
                self.backoff.reset();
                let spread = Duration::from_millis(random % (COMING_DELAY.as_secs() * 1000));
                later(refusal, COMING_DELAY + spread)
            }
            code if code.is_transient() => match self.lost(random) {
                Next::Retry(delay) => later(refusal, delay),
                Next::GiveUp => Next::GiveUp,
            },
            _ => Next::GiveUp,
        }
    }
}

/// After this long, or when the server says.
fn later(refusal: &Refusal, delay: Duration) -> Next {
    Next::Retry(refusal.retry_after.map_or(delay, |named| named.max(delay)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_refusal_means() {
        for code in Code::ALL {
            let again = matches!(code, Code::WrongOffset | Code::Incomplete | Code::Superseded);
            let retried = again || code.is_transient();
            let next = Patience::default().refused(&Refusal::new(*code, "x"), 1);
            assert_eq!(next != Next::GiveUp, retried, "{code}");
        }
        let limited = Refusal::limited("x", Duration::from_secs(7));
        let next = Patience::default().refused(&limited, 1);
        assert_eq!(next, Next::Retry(Duration::from_secs(7)));
    }

    #[test]
    fn gives_way_to_a_rival() {
        let (mut patience, superseded) = (Patience::default(), Refusal::new(Code::Superseded, "x"));
        for _ in 0..SUPERSEDED_MAX {
            assert_ne!(patience.refused(&superseded, 1), Next::GiveUp);
            patience.progressed();
        }
        assert_eq!(patience.refused(&superseded, 1), Next::GiveUp);
    }

    #[test]
    fn has_no_end_in_the_background() {
        let mut patience = Patience::endless();
        for _ in 0..10 * FAILURES_IN_A_ROW_MAX {
            assert_ne!(patience.lost(1), Next::GiveUp);
        }
        let refusal = Refusal::new(Code::Quota, "x");
        assert_eq!(patience.refused(&refusal, 1), Next::GiveUp);
    }

    #[test]
    fn waits_for_a_sender_who_pauses_and_for_no_server_that_is_gone() {
        let mut patience = Patience::for_coming();
        for _ in 0..10 * FAILURES_IN_A_ROW_MAX {
            for code in [Code::Unavailable, Code::TimedOut] {
                let next = patience.refused(&Refusal::new(code, "x"), 1);
                let Next::Retry(delay) = next else { panic!("{code}") };
                assert!(delay >= COMING_DELAY);
            }
        }
        let refusal = Refusal::new(Code::NotFound, "x");
        assert_eq!(patience.refused(&refusal, 1), Next::GiveUp, "they gave it up");
        let lost = (0..=FAILURES_IN_A_ROW_MAX).map(|_| patience.lost(1));
        assert!(lost.into_iter().any(|next| next == Next::GiveUp));
    }

    #[test]
    fn is_bounded_without_progress() {
        let mut patience = Patience::default();
        for round in 0..3 {
            for _ in 0..FAILURES_IN_A_ROW_MAX {
                assert_ne!(patience.lost(1), Next::GiveUp, "{round}");
            }
            assert_eq!(patience.lost(1), Next::GiveUp);
            patience.progressed();
        }
    }
}
