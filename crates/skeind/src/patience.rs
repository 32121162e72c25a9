//! Waiting for what is not there yet, for so long and no longer: the processes of a cluster start
//! in any order.

use std::{fmt::Display, time::Duration};

use skein_ops::{health::Health, lifecycle::Shutdown};
use tokio::time::{Instant, sleep, timeout_at};

/// Before the second try; then twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Between later tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Between two looks at the checks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often the log says what is still waited for.
const REMINDER_INTERVAL: Duration = Duration::from_secs(10);

/// How long the start of this process may take.
#[derive(Clone)]
pub(crate) struct Patience {
    end: Instant,
    shutdown: Shutdown,
}

/// What waiting came to, if not to what was waited for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited<E> {
    /// The last failure: one that waiting does not mend, or the last in time.
    Failed(E),
    /// The process was told to stop.
    Stopped,
}

impl Patience {
    /// Patience that ends so long from now.
    pub(crate) fn new(length: Duration, shutdown: &Shutdown) -> Self {
        Self { end: Instant::now() + length, shutdown: shutdown.clone() }
    }

    /// Tries until it succeeds, or fails in a way that `passes` says will not pass, or time is up.
    /// `what` follows "waiting for".
    pub(crate) async fn until<T, E: Display>(
        &self,
        what: &str,
        passes: impl Fn(&E) -> bool,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, Waited<E>> {
        let mut pause = PAUSE_MIN;
        let mut reminded: Option<Instant> = None;
        loop {
            let tried = tokio::select! {
                tried = attempt() => tried,
                () = self.shutdown.begun() => return Err(Waited::Stopped),
            };
            let error = match tried {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let now = Instant::now();
            if !passes(&error) || now + pause > self.end {
                return Err(Waited::Failed(error));
            }
            if reminded.is_none_or(|at| now - at >= REMINDER_INTERVAL) {
                tracing::warn!("waiting for {what}: {error}");
                reminded = Some(now);
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.shutdown.begun() => return Err(Waited::Stopped),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits until every check passes, the advisory ones too, or time is up: then the process serves
    /// what it can without, and its checks go on to tell.
    pub(crate) async fn until_ready(&self, health: &Health) {
        let mut last = String::new();
        loop {
            let looked = tokio::select! {
                looked = timeout_at(self.end, health.findings()) => looked,
                () = self.shutdown.begun() => return,
            };
            let Ok(findings) = looked else { break };
            if findings.whole() {
                return;
            }
            let failing = findings.checks.iter().filter(|(_, found)| *found != "ok");
            let failing: Vec<_> =
                failing.map(|(name, found)| format!("{name} ({found})")).collect();
            let failing = failing.join(", ");
            if failing != last {
                tracing::warn!("waiting for {failing}");
                last = failing;
            }
            if Instant::now() + LOOK_INTERVAL > self.end {
                break;
            }
            tokio::select! {
                () = sleep(LOOK_INTERVAL) => {}
                () = self.shutdown.begun() => return,
            }
        }
        tracing::warn!("going on without {last}; /readyz and `skeind doctor` tell more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(seconds: u64) -> (Patience, Shutdown) {
        let shutdown = Shutdown::new();
        (Patience::new(Duration::from_secs(seconds), &shutdown), shutdown)
    }

    #[tokio::test(start_paused = true)]
    async fn tries_again_while_that_may_help_and_time_is_left() {
        let (patience, _) = patience(60);
        let mut tries = 0;
        let waited = patience.until(
            "it",
            |_: &&str| true,
            async || {
                tries += 1;
                if tries < 20 { Err("not yet") } else { Ok(tries) }
            },
        );
        assert_eq!(waited.await, Ok(20));
        let hopeless = patience.until("it", |_| false, async || Err::<(), _>("wrong")).await;
        assert_eq!(hopeless, Err(Waited::Failed("wrong")));
        let never = patience.until("it", |_| true, async || Err::<(), _>("away")).await;
        assert_eq!(never, Err(Waited::Failed("away")));
        assert!(Instant::now() <= patience.end);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait() {
        let (patience, shutdown) = patience(60);
        let waiting = patience.until("it", |_: &&str| true, async || std::future::pending().await);
        shutdown.begin();
        assert_eq!(waiting.await, Err::<(), _>(Waited::Stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_without_what_does_not_come() {
        let (patience, _) = patience(5);
        let health = Health::default();
        health.advise("peer", || async { Err("refused".to_owned()) });
        patience.until_ready(&health).await;
        assert!(Instant::now() <= patience.end);
        health.advise("peer", || async { Ok(()) });
        let (patience, begun) =
            (Patience { end: Instant::now() + PAUSE_MAX, ..patience }, Instant::now());
        patience.until_ready(&health).await;
        assert!(begun.elapsed() <= PAUSE_MAX);
    }
}
