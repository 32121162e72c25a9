//! How a service ends: softly, then hard.
//!
//! A soft stop asks each role to take nothing new and to let go of what it has; a hard stop ends
//! what is left. Roles spawn their tasks through [`Shutdown::spawn`], so that none is forgotten.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Told to every role when the process is to end. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    /// Whether a task was dropped before its end.
    dropped: Arc<AtomicBool>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every task ended by itself.
    Clean,
    /// Tasks were still running at the deadline or at the second signal.
    Forced,
}

impl Shutdown {
    /// Nothing is ending yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the soft stop.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Begins the hard stop.
    pub fn force(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Whether the soft stop has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Resolves when the soft stop begins.
    pub async fn begun(&self) {
        self.soft.cancelled().await;
    }

    /// Resolves when the hard stop begins.
    pub async fn forced(&self) {
        self.hard.cancelled().await;
    }

    /// Runs a task that the end of the process waits for. A hard stop drops it where it waits.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (hard, dropped) = (self.hard.clone(), Arc::clone(&self.dropped));
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = task => {}
                () = hard.cancelled() => dropped.store(true, Ordering::Release),
            }
        });
    }

    /// Waits until the soft stop has begun and every task has ended; forces them after `patience`.
    pub async fn finish(&self, patience: Duration) -> Outcome {
        self.begun().await;
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            self.force();
            self.tasks.wait().await;
        }
        if self.dropped.load(Ordering::Acquire) { Outcome::Forced } else { Outcome::Clean }
    }

    /// Begins the soft stop at the first SIGTERM or SIGINT, the hard one at the second.
    ///
    /// # Errors
    /// If the process may not listen for signals.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::info!("stopping; a second signal ends at once");
            shutdown.begin();
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!("second signal: ending at once");
            shutdown.force();
        });
        Ok(())
    }
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_clean_when_tasks_end() {
        let shutdown = Shutdown::new();
        let task = shutdown.clone();
        shutdown.spawn(async move { task.begun().await });
        shutdown.begin();
        assert_eq!(shutdown.finish(Duration::from_secs(60)).await, Outcome::Clean);
    }

    #[tokio::test]
    async fn forces_what_does_not_end() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending());
        shutdown.begin();
        assert_eq!(shutdown.finish(Duration::from_millis(1)).await, Outcome::Forced);
    }
}
