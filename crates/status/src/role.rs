//! The role itself: leases in, nodes out.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use skein_bus::{
    Unavailable,
    lease::{Epoch, Leases},
};
use skein_core::{
    port::directory::{ChatNode, Directory, NodeReport},
    refusal::{Code, Refusal},
};

use crate::{choice, record};

/// How long a node is known after its last report: three reports may be late or lost at one each
/// three seconds.
pub const LEASE_LIFETIME: Duration = Duration::from_secs(10);
/// What the names of the leases begin with. Shared between nodes: stable.
const LEASE_PREFIX: &str = "node/";
/// Nodes that one process keeps leases for.
const NODES_MAX: usize = 1024;
/// When a client should ask again while no node takes sessions: a node that starts reports at once.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The status role over leases. The epochs of the leases are kept here, so a node reports to the
/// same `Status` each time; reporting to another one works again once the lease has run out.
pub struct Status {
    leases: Arc<dyn Leases>,
    epochs: Mutex<HashMap<String, Epoch>>,
}

impl Status {
    /// The role. It has no task of its own.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>) -> Self {
        Self { leases, epochs: Mutex::default() }
    }

    /// What the nodes said last, by name.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal> {
        let held = self.leases.held(LEASE_PREFIX).await.map_err(away)?;
        let nodes = held.iter().filter_map(|lease| {
            let report = record::decode(&lease.value);
            if report.is_none() {
                tracing::warn!(lease.name = %lease.name, "a node's lease cannot be read");
            }
            report
        });
        Ok(nodes.collect())
    }

    async fn acquire(&self, report: &NodeReport) -> Result<(), Refusal> {
        let node = &report.node.name;
        self.make_room().await?;
        let value = record::encode(report);
        let acquired = self.leases.acquire(&lease_name(node), &value, LEASE_LIFETIME).await;
        let Some(epoch) = acquired.map_err(away)? else {
            return Err(unavailable(
                "another node reports under the same name, or did a moment ago",
                LEASE_LIFETIME,
            ));
        };
        self.epochs().insert(node.clone(), epoch);
        tracing::info!(node.name = %node, node.address = %report.node.address, "a node is known");
        Ok(())
    }

    /// Forgets the epochs of nodes that are gone, before there are too many.
    async fn make_room(&self) -> Result<(), Refusal> {
        if self.epochs().len() < NODES_MAX {
            return Ok(());
        }
        let held = self.leases.held(LEASE_PREFIX).await.map_err(away)?;
        let held: HashSet<_> = held.into_iter().map(|lease| lease.name).collect();
        let mut epochs = self.epochs();
        epochs.retain(|node, _| held.contains(&lease_name(node)));
        if epochs.len() < NODES_MAX {
            return Ok(());
        }
        Err(unavailable("there are too many nodes", LEASE_LIFETIME))
    }

    fn epochs(&self) -> MutexGuard<'_, HashMap<String, Epoch>> {
        // Each use is one call on the map, which leaves nothing half done.
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Directory for Status {
    async fn assign(&self) -> Result<ChatNode, Refusal> {
        let nodes = self.nodes().await?;
        let chosen = choice::choose(&nodes, rand::random());
        chosen
            .map(|report| report.node.clone())
            .ok_or_else(|| unavailable("no chat server takes sessions at the moment", RETRY_AFTER))
    }

    async fn report(&self, report: NodeReport) -> Result<(), Refusal> {
        let node = &report.node.name;
        let known = self.epochs().get(node).copied();
        let Some(epoch) = known else { return self.acquire(&report).await };
        let value = record::encode(&report);
        let renewed = self.leases.renew(&lease_name(node), epoch, &value, LEASE_LIFETIME).await;
        if renewed.map_err(away)? {
            return Ok(());
        }
        // The node was late, or the bus was away for longer than the lease.
        tracing::warn!(node.name = %node, "a node's lease was lost");
        self.epochs().remove(node);
        self.acquire(&report).await
    }

    async fn leave(&self, node: &str) -> Result<(), Refusal> {
        let known = self.epochs().remove(node);
        let Some(epoch) = known else { return Ok(()) };
        if self.leases.release(&lease_name(node), epoch).await.map_err(away)? {
            tracing::info!(node.name = %node, "a node has left");
        }
        Ok(())
    }
}

fn lease_name(node: &str) -> String {
    format!("{LEASE_PREFIX}{node}")
}

fn away(error: Unavailable) -> Refusal {
    tracing::error!(error.cause = %error, "the leases of the nodes cannot be reached");
    unavailable("the list of chat servers cannot be reached", RETRY_AFTER)
}

fn unavailable(what: &str, retry_after: Duration) -> Refusal {
    Refusal { retry_after: Some(retry_after), ..Refusal::new(Code::Unavailable, what) }
}

#[cfg(test)]
mod tests {
    use skein_bus::local::Local;
    use skein_core::port::directory::Trust;
    use tokio::time;

    use super::*;

    fn report(name: &str, sessions: u64) -> NodeReport {
        let trust = Trust::Authority { server_name: "chat.example.org".into() };
        let node = ChatNode { name: name.into(), address: format!("{name}:4433"), trust };
        NodeReport { node, sessions, sessions_max: 10, draining: false }
    }

    async fn assigned(status: &Status) -> Result<String, Code> {
        status.assign().await.map(|node| node.name).map_err(|refusal| refusal.code)
    }

    #[tokio::test]
    async fn assigns_who_reports() {
        let status = Status::new(Arc::new(Local::new()));
        let refusal = status.assign().await.expect_err("there is no node");
        assert_eq!((refusal.code, refusal.retry_after), (Code::Unavailable, Some(RETRY_AFTER)));

        status.report(report("a", 1)).await.expect("the first report");
        assert_eq!(status.assign().await, Ok(report("a", 1).node));
        status.report(report("b", 2)).await.expect("the first report");
        assert_eq!(assigned(&status).await, Ok("a".into()));
        status.report(report("a", 3)).await.expect("a later report");
        assert_eq!(assigned(&status).await, Ok("b".into()));
    }

    #[tokio::test]
    async fn drains_and_leaves() {
        let status = Status::new(Arc::new(Local::new()));
        status.report(report("a", 0)).await.expect("the first report");
        let draining = NodeReport { draining: true, ..report("a", 0) };
        status.report(draining).await.expect("a later report");
        assert_eq!(assigned(&status).await, Err(Code::Unavailable));
        assert_eq!(status.nodes().await.map(|nodes| nodes.len()), Ok(1));

        status.leave("a").await.expect("it was there");
        status.leave("a").await.expect("leaving again changes nothing");
        assert_eq!(status.nodes().await, Ok(Vec::new()));
        status.report(report("a", 0)).await.expect("it comes back at once");
        assert_eq!(assigned(&status).await, Ok("a".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_who_stops_and_takes_back_who_was_late() {
        let status = Status::new(Arc::new(Local::new()));
        status.report(report("a", 0)).await.expect("the first report");
        time::advance(LEASE_LIFETIME - Duration::from_millis(1)).await;
        status.report(report("a", 0)).await.expect("just in time");
        time::advance(LEASE_LIFETIME - Duration::from_millis(1)).await;
        assert_eq!(assigned(&status).await, Ok("a".into()));
        time::advance(Duration::from_millis(1)).await;
        assert_eq!(assigned(&status).await, Err(Code::Unavailable));
        status.report(report("a", 0)).await.expect("late is no harm");
        assert_eq!(assigned(&status).await, Ok("a".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_has_one_node_at_a_time() {
        let leases = Arc::new(Local::new());
        let (status, other) = (Status::new(leases.clone()), Status::new(leases));
        status.report(report("a", 0)).await.expect("the first report");
        let refusal = other.report(report("a", 5)).await.expect_err("the name is held");
        assert_eq!(refusal.code, Code::Unavailable);
        time::advance(LEASE_LIFETIME).await;
        other.report(report("a", 5)).await.expect("the lease has run out");
        let refusal = status.report(report("a", 0)).await.expect_err("the lease was lost");
        assert_eq!(refusal.code, Code::Unavailable);
    }

    #[tokio::test]
    async fn makes_room_for_new_names() {
        let status = Status::new(Arc::new(Local::new()));
        for number in 0..NODES_MAX {
            status.epochs().insert(number.to_string(), Epoch(1));
        }
        status.report(report("a", 0)).await.expect("the others hold no lease");
        assert_eq!(status.epochs().len(), 1);
    }

    #[tokio::test]
    async fn passes_over_leases_that_it_cannot_read() {
        let leases = Arc::new(Local::new());
        let acquired = leases.acquire("node/new", b"{\"v\":9}", LEASE_LIFETIME).await;
        assert!(acquired.expect("the bus is there").is_some());
        let status = Status::new(leases);
        status.report(report("a", 0)).await.expect("the first report");
        assert_eq!(assigned(&status).await, Ok("a".into()));
    }
}
