//! What the gate and the chat nodes ask of the status role.

use std::time::Duration;

use async_trait::async_trait;

use crate::refusal::Refusal;

/// Where a client finds its chat node, and how it knows that it is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatNode {
    /// The node's name, unique in the cluster.
    pub name: String,
    /// `host:port` for QUIC, as clients reach it.
    pub address: String,
    /// What makes its certificate trustworthy.
    pub trust: Trust,
}

/// What makes a chat node's certificate trustworthy to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is signed for this name by an authority that the client's system trusts.
    Authority {
        /// The name in the certificate.
        server_name: String,
    },
    /// Its SHA-256 is one of these, as in WebTransport's `serverCertificateHashes`: the one in use,
    /// and during a change its successor.
    Fingerprints(Vec<[u8; 32]>),
}

/// What a chat node says about itself, each few seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Which node, and how to reach it.
    pub node: ChatNode,
    /// Sessions that it holds.
    pub sessions: u64,
    /// Sessions that it takes at most.
    pub sessions_max: u64,
    /// Whether it is going away and should get no one.
    pub draining: bool,
    /// Bytes of memory that its process holds.
    pub memory_bytes: u64,
    /// Thousandths of one core that its process used since the report before.
    pub cpu_permille: u32,
}

/// One stay of a node in the directory: grows each time its name is taken anew, so that the late
/// word of a former holder can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub u64);

/// What a node is told when it reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Its stay; to be named in the next report.
    pub term: Term,
    /// An operator wants it to send its sessions elsewhere, spread over this time. Once begun, a
    /// drain is not taken back.
    pub drain: Option<Duration>,
}

/// Knows the chat nodes and their load.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The chat node for a login: the less loaded of two drawn at random. `except` names a node that
    /// wants the session elsewhere.
    ///
    /// # Errors
    /// `unavailable`, with `retry_after`, if no node takes sessions.
    async fn assign(&self, except: Option<&str>) -> Result<ChatNode, Refusal>;

    /// Takes a node's report and renews its lease. A node that stops reporting is forgotten. `term`
    /// is what the last report answered, `None` at first; the directory itself remembers nothing,
    /// so that any of its processes may be asked.
    ///
    /// # Errors
    /// `unavailable` if the lease cannot be kept, or another node holds the name.
    async fn report(&self, report: NodeReport, term: Option<Term>) -> Result<Reported, Refusal>;

    /// Forgets a node at once, when it stops in order.
    ///
    /// # Errors
    /// `unavailable`.
    async fn leave(&self, node: &str, term: Term) -> Result<(), Refusal>;

    /// What the nodes said last, by name.
    ///
    /// # Errors
    /// `unavailable`.
    async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal>;

    /// Asks a node to send its sessions to others, spread over this time. It learns of it with its
    /// next report. Answers the time that holds: the first order does, so it is another one if the
    /// node was told before, or if this one is longer than a drain may be.
    ///
    /// # Errors
    /// `not_found` if no node of this name is there; `unavailable`.
    async fn drain(&self, node: &str, over: Duration) -> Result<Duration, Refusal>;
}
