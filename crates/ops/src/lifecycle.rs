//! How a service ends: softly, then hard.
//!
//! A soft stop asks each role to take nothing new and to let go of what it has; a hard stop ends
//! what is left. Roles spawn their tasks through [`Shutdown::spawn`], so that none is forgotten and
//! none fails unseen.

use std::{
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a hard stop waits for what it has ended. A task can only be dropped where it waits, so
/// one that blocks its thread is left behind.
const HARD_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The exit code of a process that a third signal ended.
const ABORTED: i32 = 1;

/// Told to every role when the process is to end. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    /// Whether a task was dropped before its end.
    dropped: Arc<AtomicBool>,
    /// Whether a task has panicked.
    panicked: Arc<AtomicBool>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every task ended by itself.
    Clean,
    /// A task has panicked since the start; every other one ended by itself.
    Panicked,
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

    /// Resolves when the soft stop has begun for so long.
    pub async fn begun_for(&self, patience: Duration) {
        self.begun().await;
        sleep(patience).await;
    }

    /// Resolves when the hard stop begins.
    pub async fn forced(&self) {
        self.hard.cancelled().await;
    }

    /// Runs a task that the end of the process waits for. A hard stop drops it where it waits. If it
    /// panics, the others go on, and [`Shutdown::finish`] tells.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (hard, dropped) = (self.hard.clone(), Arc::clone(&self.dropped));
        let panicked = Arc::clone(&self.panicked);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                ended = unless_panicked(task) => if ended.is_err() {
                    // What the panic says is on standard error already.
                    tracing::error!("a task has panicked");
                    panicked.store(true, Ordering::Release);
                },
                () = hard.cancelled() => dropped.store(true, Ordering::Release),
            }
        });
    }

    /// Waits until the soft stop has begun and every task has ended; forces them after `patience`.
    /// Tasks that even the hard stop does not end are left behind after a few seconds.
    pub async fn finish(&self, patience: Duration) -> Outcome {
        self.begun().await;
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = self.forced() => {}
            () = sleep(patience) => self.force(),
        }
        if timeout(HARD_STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::error!(tasks = self.tasks.len(), "left tasks behind that do not end");
            return Outcome::Forced;
        }
        match (self.dropped.load(Ordering::Acquire), self.panicked.load(Ordering::Acquire)) {
            (true, _) => Outcome::Forced,
            (false, true) => Outcome::Panicked,
            (false, false) => Outcome::Clean,
        }
    }

    /// Begins the soft stop at the first SIGTERM or SIGINT, the hard one at the second. The third
    /// ends the process where it is.
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
            either(&mut terminate, &mut interrupt).await;
            process::exit(ABORTED);
        });
        Ok(())
    }
}

/// The task has panicked.
struct Panicked;

/// Runs the task to its end. After a panic it is not touched again but to drop it.
async fn unless_panicked(task: impl Future<Output = ()>) -> Result<(), Panicked> {
    let mut task = pin!(task);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        polled.map_or(Poll::Ready(Err(Panicked)), |poll| poll.map(Ok))
    })
    .await
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

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

    #[tokio::test]
    async fn tells_of_a_panic_and_keeps_the_others_going() {
        let shutdown = Shutdown::new();
        shutdown.spawn(async { panic!("on purpose") });
        let task = shutdown.clone();
        shutdown.spawn(async move { task.begun().await });
        shutdown.begin();
        assert_eq!(shutdown.finish(Duration::from_secs(60)).await, Outcome::Panicked);
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_behind_what_even_the_hard_stop_does_not_end() {
        let shutdown = Shutdown::new();
        let _blocked = shutdown.tasks.token();
        shutdown.force();
        assert_eq!(shutdown.finish(Duration::from_secs(60)).await, Outcome::Forced);
    }

    #[tokio::test]
    #[ignore = "the process that the next test sends signals to"]
    async fn never_ends() {
        let shutdown = Shutdown::new();
        shutdown.on_signals().expect("it may listen");
        println!("listening");
        shutdown.begun().await;
        println!("begun");
        shutdown.forced().await;
        println!("forced");
        std::future::pending::<()>().await;
    }

    #[test]
    fn a_third_signal_ends_what_hangs() {
        let mut hanging = Command::new(std::env::current_exe().expect("a test"))
            .args(["--exact", "lifecycle::tests::never_ends", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(hanging.stdout.take().expect("a pipe")).lines();
        for (word, signal) in [("listening", "-TERM"), ("begun", "-INT"), ("forced", "-TERM")] {
            let heard = said.any(|line| line.is_ok_and(|line| line.ends_with(word)));
            assert!(heard, "{word}");
            let pid = hanging.id().to_string();
            let sent = Command::new("kill").args([signal, &pid]).status().expect("kill");
            assert!(sent.success());
        }
        assert_eq!(hanging.wait().expect("it ends").code(), Some(ABORTED));
    }
}
