//! Tells the directory, each few seconds, that the node is there and how loaded it is, and takes
//! from its answer what the node has to know: its term, and whether it is to drain.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use skein_core::port::directory::{ChatNode, Directory, NodeReport, Reported, Term};
use skein_ops::process;
use tokio_util::sync::CancellationToken;

use crate::{drain::Drain, hub::Hub};

/// How often a node reports: several times within the directory's lease.
const REPORT_INTERVAL: Duration = Duration::from_secs(3);
/// Reports that may fail in a row before it is an error and not a hitch: by then the lease is near
/// its end.
const FAILURES_MAX: u32 = 3;

/// What a node reports about itself.
pub(crate) struct Reporter {
    directory: Arc<dyn Directory>,
    hub: Arc<Hub>,
    drain: Arc<Drain>,
    sessions_max: usize,
    state: Mutex<State>,
}

struct State {
    node: ChatNode,
    term: Option<Term>,
    failures: u32,
    /// When the processor's time was read last, and what it was.
    measured: (Instant, Duration),
}

impl Reporter {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        hub: Arc<Hub>,
        drain: Arc<Drain>,
        node: ChatNode,
        sessions_max: usize,
    ) -> Self {
        let measured = (Instant::now(), process::usage().cpu);
        let state = Mutex::new(State { node, term: None, failures: 0, measured });
        Self { directory, hub, drain, sessions_max, state }
    }

    /// Shows another certificate from the next report on.
    pub(crate) fn renew_trust(&self, change: impl FnOnce(&mut ChatNode)) {
        change(&mut self.state().node);
    }

    /// Reports now.
    pub(crate) async fn report(&self) {
        let (report, term) = self.measure();
        match self.directory.report(report, term).await {
            Ok(Reported { term: current, drain }) => {
                self.state().failures = 0;
                if term != Some(current) {
                    self.begin_term(term, current);
                }
                if let Some(over) = drain {
                    self.drain.order(over);
                }
            }
            Err(refusal) => {
                let failures = {
                    let mut state = self.state();
                    state.failures = state.failures.saturating_add(1);
                    state.failures
                };
                if failures < FAILURES_MAX {
                    tracing::warn!(error.code = %refusal.code, "could not report: {refusal}");
                } else {
                    tracing::error!(
                        error.code = %refusal.code,
                        failures,
                        "this node is not in the directory and gets no sessions: {refusal}"
                    );
                }
            }
        }
    }

    /// Reports until the node is closed, then leaves the directory.
    pub(crate) async fn run(self: Arc<Self>, closing: CancellationToken) {
        let mut draining = false;
        loop {
            tokio::select! {
                () = closing.cancelled() => break,
                // The directory is to hear of it at once.
                () = self.hub.drain_begun(), if !draining => draining = true,
                () = tokio::time::sleep(REPORT_INTERVAL) => {}
            }
            self.report().await;
        }
        let (node, term) = {
            let state = self.state();
            (state.node.name.clone(), state.term)
        };
        let Some(term) = term else { return };
        if let Err(refusal) = self.directory.leave(&node, term).await {
            tracing::warn!(error.code = %refusal.code, "could not leave the directory");
        }
    }

    /// A new stay has begun. If there was one before, this process was held up for longer than its
    /// lease, and whatever it knows may be out of date.
    fn begin_term(&self, before: Option<Term>, current: Term) {
        self.state().term = Some(current);
        self.hub.begin_term(current);
        if before.is_some() {
            tracing::warn!(term = current.0, "the node had lost its place in the directory");
            self.hub.suspect();
        }
    }

    fn measure(&self) -> (NodeReport, Option<Term>) {
        let usage = process::usage();
        let mut state = self.state();
        let (at, cpu) = std::mem::replace(&mut state.measured, (Instant::now(), usage.cpu));
        let (busy, elapsed) = (usage.cpu.saturating_sub(cpu), at.elapsed());
        let permille = busy.as_millis() * 1000 / elapsed.as_millis().max(1);
        let report = NodeReport {
            node: state.node.clone(),
            sessions: self.hub.sessions() as u64,
            sessions_max: self.sessions_max as u64,
            draining: self.hub.is_draining(),
            memory_bytes: usage.resident_bytes,
            cpu_permille: u32::try_from(permille).unwrap_or(u32::MAX),
        };
        (report, state.term)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each use leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
