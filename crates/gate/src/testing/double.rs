//! Doubles of what the gate is handed: the verify and status roles, and the clock.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use skein_core::{
    limit::CODE_LIFETIME,
    name::Email,
    port::{
        directory::{ChatNode, Directory, NodeReport, Reported, Term, Trust},
        verifier::{CodeSent, Purpose, Verifier},
    },
    refusal::{Code, Refusal},
    time::{Clock, Timestamp},
};
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// The code that everyone gets.
pub(crate) const CODE: &str = "042917";

/// A request for a code.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) purpose: Purpose,
    pub(crate) from: IpAddr,
    pub(crate) delivered: bool,
}

/// Gives everyone the same code, good once.
#[derive(Default)]
pub(crate) struct Codes {
    requests: Mutex<Vec<Request>>,
    open: Mutex<HashSet<(Purpose, String)>>,
    limited: AtomicBool,
}

impl Codes {
    /// The last request.
    pub(crate) fn last_request(&self) -> Request {
        self.requests.lock().expect("not poisoned").last().expect("a request").clone()
    }

    /// Refuses further requests.
    pub(crate) fn limit(&self) {
        self.limited.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Verifier for Codes {
    async fn request(
        &self,
        purpose: Purpose,
        email: &Email,
        from: IpAddr,
        deliver: bool,
    ) -> Result<CodeSent, Refusal> {
        if self.limited.load(Ordering::Relaxed) {
            return Err(Refusal::limited("too many codes", Duration::from_secs(90)));
        }
        let request = Request { purpose, from, delivered: deliver };
        self.requests.lock().expect("not poisoned").push(request);
        self.open.lock().expect("not poisoned").insert((purpose, email.key()));
        Ok(CodeSent { expires_in: CODE_LIFETIME })
    }

    async fn check(&self, purpose: Purpose, email: &Email, code: &str) -> Result<(), Refusal> {
        let mut open = self.open.lock().expect("not poisoned");
        let asked = (purpose, email.key());
        if !open.contains(&asked) {
            return Err(Refusal::new(Code::ExpiredCode, "there is no code"));
        }
        if code != CODE {
            return Err(Refusal::new(Code::WrongCode, "the code is wrong"));
        }
        open.remove(&asked);
        Ok(())
    }
}

/// Knows one node, or none. Whoever holds the door keeps those waiting who ask for it.
#[derive(Default)]
pub(crate) struct OneNode {
    closed: AtomicBool,
    pub(crate) asked: Notify,
    pub(crate) door: AsyncMutex<()>,
}

impl OneNode {
    /// Forgets the node.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Directory for OneNode {
    async fn assign(&self, except: Option<&str>) -> Result<ChatNode, Refusal> {
        self.asked.notify_one();
        let _open = self.door.lock().await;
        if self.closed.load(Ordering::Relaxed) || except == Some("one") {
            let retry_after = Some(Duration::from_secs(2));
            return Err(Refusal { retry_after, ..Refusal::new(Code::Unavailable, "no node") });
        }
        Ok(ChatNode {
            name: "one".into(),
            address: "127.0.0.1:4433".into(),
            trust: Trust::Fingerprints(vec![[0xab; 32]]),
        })
    }

    async fn report(&self, _: NodeReport, _: Option<Term>) -> Result<Reported, Refusal> {
        Ok(Reported { term: Term(1), drain: None })
    }

    async fn leave(&self, _node: &str, _term: Term) -> Result<(), Refusal> {
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal> {
        Ok(Vec::new())
    }

    async fn drain(&self, _node: &str, _over: Duration) -> Result<Duration, Refusal> {
        Err(Refusal::not_found("node"))
    }
}

/// Stands until it is turned.
pub(crate) struct TurnedClock(AtomicU64);

impl TurnedClock {
    pub(crate) fn at(start: Timestamp) -> Self {
        Self(AtomicU64::new(start.0))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).expect("a test's span");
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}
