//! Tells the directory, each few seconds, that the node is there and how loaded it is, and takes
//! from its answer what the node has to know: its term, and whether it is to drain.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use skein_core::{
    port::directory::{ChatNode, Directory, NodeReport, Reported, Term},
    refusal::Refusal,
};
use skein_ops::process;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{drain::Drain, hub::Hub};

/// How often a node reports: several times within the directory's lease.
const REPORT_INTERVAL: Duration = Duration::from_secs(3);
/// Reports that may fail in a row before it is an error and not a hitch: by then the lease is near
/// its end.
const FAILURES_MAX: u32 = 3;
/// How long after a report that was taken the node is believed to be in the directory: by then its
/// lease is at its end.
const PLACE_MAX: Duration = REPORT_INTERVAL.saturating_mul(FAILURES_MAX);

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
    /// When a report was taken last.
    taken: Option<time::Instant>,
    /// Reports that failed since, and why the last of them did.
    failures: u32,
    refusal: Option<Refusal>,
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
        let (term, taken, failures, refusal) = (None, None, 0, None);
        let state = Mutex::new(State { node, term, taken, failures, refusal, measured });
        Self { directory, hub, drain, sessions_max, state }
    }

    /// Shows another certificate from the next report on.
    pub(crate) fn renew_trust(&self, change: impl FnOnce(&mut ChatNode)) {
        change(&mut self.state().node);
    }

    /// Whether the node has a place in the directory.
    ///
    /// # Errors
    /// Why not: its reports fail, or another node holds its name.
    pub(crate) fn place(&self) -> Result<(), String> {
        let state = self.state();
        let why = state.refusal.as_ref().map(|refusal| format!(": {refusal}")).unwrap_or_default();
        match state.taken.map(|at| at.elapsed()) {
            Some(since) if since <= PLACE_MAX => Ok(()),
            Some(since) => Err(format!("no report was taken for {} s{why}", since.as_secs())),
            None => Err(format!("no report was taken yet{why}")),
        }
    }

    /// Reports now.
    pub(crate) async fn report(&self) {
        let (report, term) = self.measure();
        match self.directory.report(report, term).await {
            Ok(Reported { term: current, drain }) => {
                self.taken();
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
                    state.refusal = Some(refusal.clone());
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
                () = time::sleep(REPORT_INTERVAL) => {}
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

    fn taken(&self) {
        let mut state = self.state();
        (state.taken, state.failures, state.refusal) = (Some(time::Instant::now()), 0, None);
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use skein_core::{port::directory::Trust, refusal::Code};

    use super::*;
    use crate::testing::Crowd;

    /// Answers each report with what it was told to.
    struct Answers(Mutex<Result<Term, Refusal>>);

    fn held() -> Refusal {
        Refusal::new(Code::Unavailable, "another has this name")
    }

    #[async_trait]
    impl Directory for Answers {
        async fn assign(&self, _: Option<&str>) -> Result<ChatNode, Refusal> {
            Err(held())
        }

        async fn report(&self, _: NodeReport, _: Option<Term>) -> Result<Reported, Refusal> {
            let answer = self.0.lock().unwrap().clone();
            answer.map(|term| Reported { term, drain: None })
        }

        async fn leave(&self, _: &str, _: Term) -> Result<(), Refusal> {
            Err(held())
        }

        async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal> {
            Ok(Vec::new())
        }

        async fn drain(&self, _: &str, _: Duration) -> Result<Duration, Refusal> {
            Err(held())
        }
    }

    #[tokio::test]
    async fn a_node_has_its_place_while_its_reports_are_taken() {
        let crowd = Crowd::of(0).await;
        let directory = Arc::new(Answers(Mutex::new(Err(held()))));
        let trust = Trust::Fingerprints(Vec::new());
        let node = ChatNode { name: "chat-1".into(), address: "chat-1:4433".into(), trust };
        let (hub, over) = (Arc::clone(&crowd.hub), Duration::from_secs(1));
        let drain = Drain::new(directory.clone(), Arc::clone(&hub), node.name.clone(), over);
        let reporter = Reporter::new(directory.clone(), hub, Arc::new(drain), node, 1);
        assert_eq!(reporter.place(), Err("no report was taken yet".to_owned()));
        reporter.report().await;
        let why = reporter.place().unwrap_err();
        assert!(why.ends_with("another has this name"), "{why}");

        *directory.0.lock().unwrap() = Ok(Term(1));
        reporter.report().await;
        assert_eq!(reporter.place(), Ok(()));
        *directory.0.lock().unwrap() = Err(held());
        time::advance(REPORT_INTERVAL).await;
        reporter.report().await;
        assert_eq!(reporter.place(), Ok(()), "one may fail");
        time::advance(PLACE_MAX).await;
        let why = reporter.place().unwrap_err();
        assert!(why.starts_with("no report was taken for 12 s: "), "{why}");
        *directory.0.lock().unwrap() = Ok(Term(2));
        reporter.report().await;
        assert_eq!(reporter.place(), Ok(()));
    }
}
