//! The peers of one role: which is asked first, and who is asked when it is away.
//!
//! A call goes to one peer after the other until one answers or the deadline is over. What may not be
//! carried out twice goes to the next only while it surely was not sent. A refusal is an answer; only
//! a resource process that says that it cannot take an upload now is passed over like one that is
//! away.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use skein_core::refusal::{Code, Refusal};
use skein_ops::trace;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status, transport::Channel};

use crate::{
    access::Role,
    call::Method,
    credentials::Credentials,
    metric,
    peer::{BadPeer, Peer},
    refusal::{Failure, of_status, unavailable},
};

/// The peers of one role.
pub(crate) struct Peers {
    role: Role,
    peers: Vec<Peer>,
    /// The position of the one that answered last.
    good: AtomicUsize,
}

/// What a try sends with.
pub(crate) struct Try {
    /// To this peer.
    pub(crate) channel: Channel,
    /// It has this long.
    budget: Duration,
}

impl Try {
    /// A request that tells the server how long its answer is waited for.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream(message);
        request.set_timeout(self.budget);
        request
    }

    /// A request whose streams may go on for longer than its opening.
    #[allow(clippy::unused_self)]
    pub(crate) fn stream<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let parent = trace::current().and_then(|parent| parent.to_string().parse().ok());
        if let Some(parent) = parent {
            request.metadata_mut().insert("traceparent", parent);
        }
        request
    }
}

impl Peers {
    /// Peers of a role at these addresses.
    pub(crate) fn new(
        role: Role,
        addresses: &[String],
        credentials: &Arc<Credentials>,
    ) -> Result<Self, BadPeer> {
        let peers = addresses.iter().map(|address| Peer::new(role, address, credentials));
        Ok(Self { role, peers: peers.collect::<Result<_, _>>()?, good: AtomicUsize::new(0) })
    }

    /// All peers, from the one that answered last.
    pub(crate) fn preferred(&self) -> Vec<usize> {
        self.rotated(self.good.load(Ordering::Relaxed))
    }

    /// All peers, from this position on.
    pub(crate) fn rotated(&self, first: usize) -> Vec<usize> {
        let count = self.peers.len();
        (0..count).map(|step| (first % count + step) % count).collect()
    }

    /// All peers in an order that depends on their addresses and `key` alone (rendezvous hashing):
    /// everyone who knows the same peers finds the same order, and one peer that comes or goes
    /// changes it for few keys.
    pub(crate) fn by_key(&self, key: &[u8]) -> Vec<usize> {
        let weight = |peer: &Peer| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&(key.len() as u64).to_be_bytes()).update(key);
            hasher.update(peer.address().as_bytes());
            *hasher.finalize().as_bytes()
        };
        let mut order: Vec<_> = (0..self.peers.len()).collect();
        order.sort_by_cached_key(|position| weight(&self.peers[*position]));
        order
    }

    /// Calls the peers in this order until one answers.
    ///
    /// # Errors
    /// What the peer refused with; else `unavailable`, at the method's deadline at the latest.
    pub(crate) async fn call<T, F, Fut>(
        &self,
        method: Method,
        order: Vec<usize>,
        send: F,
    ) -> Result<T, Refusal>
    where
        F: Fn(Try) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let begun = Instant::now();
        let end = begun + method.deadline;
        let mut last = unavailable(self.role.name());
        for (tried, position) in order.iter().enumerate() {
            if tried > 0 {
                metric::failed_over(self.role.name());
            }
            let peer = &self.peers[*position];
            // Some time is left for the others, unless a peer that is late is the last to be asked.
            let others = if method.repeatable { order.len() - tried } else { 1 };
            let budget = end.saturating_duration_since(Instant::now())
                / u32::try_from(others).unwrap_or(u32::MAX);
            let sent = send(Try { channel: peer.channel(), budget });
            let failure = match timeout_at(Instant::now() + budget, sent).await {
                Ok(Ok(answer)) => {
                    self.good.store(*position, Ordering::Relaxed);
                    self.count(method, "ok", begun);
                    return Ok(answer);
                }
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Late,
            };
            self.count(method, failure.name(), begun);
            let may_be_done = matches!(failure, Failure::Lost(_) | Failure::Late);
            match failure {
                Failure::Refused(refusal) if !self.passes_over(&refusal) => {
                    self.good.store(*position, Ordering::Relaxed);
                    return Err(refusal);
                }
                Failure::Refused(refusal) => last = refusal,
                // The log says once, when the peer goes, that it cannot be reached.
                Failure::NotSent(cause) => tracing::debug!(
                    peer.address = peer.address(),
                    rpc.method = method.name,
                    error.cause = cause,
                    "a call was not sent",
                ),
                Failure::Lost(cause) => self.tell(method, peer, &cause),
                Failure::Late => self.tell(method, peer, "it does not answer in time"),
            }
            if may_be_done && !method.repeatable {
                // Not even now; but the next call need not begin with the same peer.
                self.good.store(position + 1, Ordering::Relaxed);
                break;
            }
        }
        Err(last)
    }

    fn passes_over(&self, refusal: &Refusal) -> bool {
        self.role == Role::Resource && matches!(refusal.code, Code::Unavailable | Code::Draining)
    }

    fn count(&self, method: Method, code: &'static str, begun: Instant) {
        metric::called(self.role.name(), method.name, code);
        metric::call_took(self.role.name(), method.name, begun.elapsed());
    }

    fn tell(&self, method: Method, peer: &Peer, cause: &str) {
        tracing::warn!(
            peer.role = %self.role,
            peer.address = peer.address(),
            rpc.method = method.name,
            error.cause = cause,
            "a call to another role has no answer",
        );
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        of_status(&status)
    }
}
