//! What the gate and the chat nodes ask of the status role.

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
}

/// Knows the chat nodes and their load.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The chat node for a login: the less loaded of two drawn at random.
    ///
    /// # Errors
    /// `unavailable`, with `retry_after`, if no node takes sessions.
    async fn assign(&self) -> Result<ChatNode, Refusal>;

    /// Takes a node's report and renews its lease. A node that stops reporting is forgotten.
    ///
    /// # Errors
    /// `unavailable` if the lease cannot be kept.
    async fn report(&self, report: NodeReport) -> Result<(), Refusal>;

    /// Forgets a node at once, when it stops in order.
    ///
    /// # Errors
    /// `unavailable`.
    async fn leave(&self, node: &str) -> Result<(), Refusal>;
}
