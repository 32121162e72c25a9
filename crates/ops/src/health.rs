//! Whether a process can do its work: checks by name, each of a part that it works with.
//!
//! A part is needed, or it is only good to have: without the first the process should get no work,
//! without the other it still does most of it, and taking it out would make things worse. What was
//! found is kept for a moment, so that asking often costs the parts nothing.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use serde::Serialize;
use tokio::time::{Instant, timeout};

/// How long a check may take. One that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long what was found is answered again.
const FRESH: Duration = Duration::from_secs(1);

/// What makes a check's future.
type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What a failure of a check means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// The process cannot do its work.
    Needed,
    /// It does less, and says so.
    Advisory,
}

/// A check, and what its failure means.
type Weighed = (Weight, Arc<Check>);

/// The checks of one process. Clones share them.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<String, Weighed>>>,
    last: Arc<tokio::sync::Mutex<Option<(Instant, Findings)>>>,
}

/// What the checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Whether every check of a part that is needed passed.
    pub ready: bool,
    /// The advisory checks that failed: some of the work is not done.
    pub degraded: Vec<String>,
    /// `ok`, or why not, by the name of the check.
    pub checks: BTreeMap<String, String>,
}

impl Findings {
    /// Whether every check passed, the advisory ones too.
    #[must_use]
    pub const fn whole(&self) -> bool {
        self.ready && self.degraded.is_empty()
    }
}

impl Health {
    /// Adds the check of a part without which the process is not ready, or replaces the one of this
    /// name. It says in a sentence what is wrong.
    pub fn register<F, Fut>(&self, name: &str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.add(name, Weight::Needed, check);
    }

    /// As [`register`](Self::register), for a part without which the process still does most of its
    /// work: it is called degraded while the check fails, and stays ready.
    pub fn advise<F, Fut>(&self, name: &str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.add(name, Weight::Advisory, check);
    }

    fn add<F, Fut>(&self, name: &str, weight: Weight, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Box::new(move || check().boxed());
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.insert(name.to_owned(), (weight, Arc::new(check)));
    }

    /// Runs all checks at once, unless that was done a moment ago.
    pub async fn findings(&self) -> Findings {
        let mut last = self.last.lock().await;
        if let Some((at, findings)) = &*last
            && at.elapsed() < FRESH
        {
            return findings.clone();
        }
        let checks: Vec<_> = {
            let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
            checks.iter().map(|(name, weighed)| (name.clone(), weighed.clone())).collect()
        };
        let found = join_all(checks.into_iter().map(|(name, (weight, check))| async move {
            let found = match timeout(CHECK_TIMEOUT, check()).await {
                Ok(found) => found,
                Err(_) => Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
            };
            (name, weight, found)
        }));
        let found = found.await;
        let failed = |weight| {
            let failed = found.iter().filter(move |(_, of, found)| *of == weight && found.is_err());
            failed.map(|(name, ..)| name.clone())
        };
        let ready = failed(Weight::Needed).next().is_none();
        let degraded = failed(Weight::Advisory).collect();
        let words = |found: Result<(), String>| found.err().unwrap_or_else(|| "ok".to_owned());
        let checks = found.into_iter().map(|(name, _, found)| (name, words(found))).collect();
        let findings = Findings { ready, degraded, checks };
        *last = Some((Instant::now(), findings.clone()));
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn is_ready_when_every_check_passes() {
        let health = Health::default();
        assert!(health.findings().await.ready, "nothing is needed");
        tokio::time::advance(FRESH).await;

        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        health.register("store", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        health.register("bus", || async { Err("connection refused".to_owned()) });
        health.register("mail", std::future::pending);
        for _ in 0..3 {
            let findings = health.findings().await;
            assert!(!findings.ready);
            assert_eq!(findings.checks["store"], "ok");
            assert_eq!(findings.checks["bus"], "connection refused");
            assert_eq!(findings.checks["mail"], "no answer within 2 s");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);

        for repaired in ["bus", "mail"] {
            health.register(repaired, || async { Ok(()) });
        }
        tokio::time::advance(FRESH).await;
        assert!(health.findings().await.ready);
    }

    #[tokio::test(start_paused = true)]
    async fn is_ready_but_degraded_without_what_is_only_good_to_have() {
        let health = Health::default();
        health.register("store", || async { Ok(()) });
        health.advise("verify", || async { Err("connection refused".to_owned()) });
        let findings = health.findings().await;
        assert!(findings.ready && !findings.whole());
        assert_eq!(findings.degraded, ["verify"]);
        assert_eq!(findings.checks["verify"], "connection refused");

        health.register("store", || async { Err("it is away".to_owned()) });
        tokio::time::advance(FRESH).await;
        let findings = health.findings().await;
        assert!(!findings.ready, "one does not hide the other");
        assert_eq!(findings.degraded, ["verify"]);

        health.register("store", || async { Ok(()) });
        health.advise("verify", || async { Ok(()) });
        tokio::time::advance(FRESH).await;
        assert!(health.findings().await.whole());
    }
}
