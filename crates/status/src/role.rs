//! The role itself: leases in, nodes out.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use skein_bus::{
    Unavailable,
    lease::{Epoch, Leases},
};
use skein_core::{
    port::directory::{ChatNode, Directory, NodeReport, Reported, Term},
    refusal::{Code, Refusal},
};

use crate::{
    choice, metric, order,
    record::{self, Known},
};

/// How long a node is known after its last report: three reports may be late or lost at one each
/// three seconds.
pub const LEASE_LIFETIME: Duration = Duration::from_secs(10);
/// How long an order to drain is kept beyond the drain itself, for a node that is slow to report.
const ORDER_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The longest drain that can be ordered.
const DRAIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// What the names of the leases begin with. Shared between nodes: stable.
const LEASE_PREFIX: &str = "node/";
/// Bytes in a node's name.
const NAME_BYTES_MAX: usize = 128;
/// When a client should ask again while no node takes sessions: a node that starts reports at once.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The status role over leases. It keeps nothing in memory, so that any of several processes may be
/// asked: the term that a node carries is the epoch of its lease.
///
/// A name belongs to one process at a time. A new process gets it at once if nobody holds it, or if
/// the holder was at the same address: two processes cannot listen there, so it is the same node
/// started again. Otherwise the new one is refused until the lease of the other has run out.
pub struct Status {
    leases: Arc<dyn Leases>,
}

impl Status {
    /// The role. It has no task of its own.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>) -> Self {
        Self { leases }
    }

    /// Begins a stay. `lost` is the term of the node's stay before, if it had one.
    async fn stay(&self, report: &NodeReport, lost: Option<Term>) -> Result<Term, Refusal> {
        let node = &report.node.name;
        let lease = lease_name(node);
        let fresh = record::encode(report, None, None);
        let mut acquired = self.leases.acquire(&lease, &fresh, LEASE_LIFETIME).await;
        let mut how = if lost.is_some() { "late" } else { "fresh" };
        if let Ok(None) = acquired
            && lost.is_none()
            && self.give_way(report).await?
        {
            acquired = self.leases.acquire(&lease, &fresh, LEASE_LIFETIME).await;
            how = "restarted";
        }
        let term = match (acquired.map_err(away)?, lost) {
            (Some(epoch), _) => Term(epoch.0),
            (None, Some(lost)) => {
                let begun = self.begun_after(report, lost).await?;
                begun.ok_or_else(|| held_by_another(node))?
            }
            (None, None) => return Err(held_by_another(node)),
        };
        let epoch = Epoch(term.0);
        // Only now is the term known that whoever comes next finds in the record.
        let value = record::encode(report, Some(term), lost);
        if !self.leases.renew(&lease, epoch, &value, LEASE_LIFETIME).await.map_err(away)? {
            return Err(held_by_another(node));
        }
        metric::stay(how);
        let address = &report.node.address;
        tracing::info!(node.name = %node, node.address = %address, term = term.0, how, "a node is known");
        Ok(term)
    }

    /// The stay that this very process has begun after it lost that term, if it never heard of it:
    /// the answer to an earlier report did not reach it.
    async fn begun_after(&self, report: &NodeReport, lost: Term) -> Result<Option<Term>, Refusal> {
        let holder = self.known(&report.node.name).await?;
        Ok(holder
            .filter(|it| it.follows == Some(lost) && it.report.node.address == report.node.address)
            .and_then(|it| it.term))
    }

    /// Releases the lease of an earlier process of the same node. Whether it did.
    async fn give_way(&self, report: &NodeReport) -> Result<bool, Refusal> {
        let node = &report.node.name;
        let Some(holder) = self.known(node).await? else { return Ok(false) };
        let Some(term) = holder.term else { return Ok(false) };
        if holder.report.node.address != report.node.address {
            return Ok(false);
        }
        self.leases.release(&lease_name(node), Epoch(term.0)).await.map_err(away)
    }

    /// The node of this name.
    async fn known(&self, node: &str) -> Result<Option<Known>, Refusal> {
        let name = lease_name(node);
        let held = self.leases.held(&name).await.map_err(away)?;
        let lease = held.into_iter().find(|lease| lease.name == name);
        Ok(lease.and_then(|lease| record::decode(&lease.value)))
    }

    /// The order to drain that was given to this stay.
    async fn order(&self, node: &str, term: Term) -> Result<Option<Duration>, Refusal> {
        let name = order::lease_name(node, term);
        let held = self.leases.held(&name).await.map_err(away)?;
        let lease = held.into_iter().find(|lease| lease.name == name);
        Ok(lease.and_then(|lease| order::decode(&lease.value)))
    }

    /// Gives a stay the order that was given to the one before it, so that it is the first here too.
    async fn carry_over(
        &self,
        node: &str,
        lost: Term,
        stay: Term,
    ) -> Result<Option<Duration>, Refusal> {
        let Some(over) = self.order(node, lost).await? else { return Ok(None) };
        let (name, lifetime) = (order::lease_name(node, stay), ORDER_LIFETIME + over);
        let acquired = self.leases.acquire(&name, &order::encode(over), lifetime).await;
        // Nobody else's is there unless an operator was quicker by a moment: then that one holds.
        if acquired.map_err(away)?.is_some() {
            Ok(Some(over))
        } else {
            self.order(node, stay).await
        }
    }
}

#[async_trait]
impl Directory for Status {
    async fn assign(&self, except: Option<&str>) -> Result<ChatNode, Refusal> {
        let nodes = self.nodes().await?;
        let chosen = choice::choose(&nodes, except, rand::random());
        metric::assigned(chosen.is_some());
        chosen
            .map(|report| report.node.clone())
            .ok_or_else(|| unavailable("no chat server takes sessions at the moment", RETRY_AFTER))
    }

    /// As the trait says. A node that was late gets a new term, unless another process has taken the
    /// name meanwhile.
    async fn report(&self, report: NodeReport, term: Option<Term>) -> Result<Reported, Refusal> {
        let node = &report.node.name;
        check_name(node)?;
        if let Some(term) = term {
            let (lease, value) = (lease_name(node), record::encode(&report, Some(term), None));
            let renewed = self.leases.renew(&lease, Epoch(term.0), &value, LEASE_LIFETIME).await;
            if renewed.map_err(away)? {
                return Ok(Reported { term, drain: self.order(node, term).await? });
            }
            // The node was late, or the bus was away for longer than the lease or lost it.
            tracing::warn!(node.name = %node, term = term.0, "a node's lease was lost");
        }
        let stay = self.stay(&report, term).await?;
        // An order that the node has not heard of before it was late holds.
        let drain = match (self.order(node, stay).await?, term) {
            (None, Some(lost)) => self.carry_over(node, lost, stay).await?,
            (drain, _) => drain,
        };
        Ok(Reported { term: stay, drain })
    }

    async fn leave(&self, node: &str, term: Term) -> Result<(), Refusal> {
        if self.leases.release(&lease_name(node), Epoch(term.0)).await.map_err(away)? {
            tracing::info!(node.name = %node, "a node has left");
        }
        Ok(())
    }

    /// As the trait says. A node that was ordered to drain is `draining` here from that moment.
    async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal> {
        let held = self.leases.held(LEASE_PREFIX).await.map_err(away)?;
        let orders = self.leases.held(order::PREFIX).await.map_err(away)?;
        let orders: HashSet<_> = orders.into_iter().map(|lease| lease.name).collect();
        let mut nodes = Vec::with_capacity(held.len());
        for lease in held {
            let Some(Known { mut report, term, .. }) = record::decode(&lease.value) else {
                tracing::warn!(lease.name = %lease.name, "a node's lease cannot be read");
                continue;
            };
            let order = term.map(|term| order::lease_name(&report.node.name, term));
            report.draining |= order.is_some_and(|order| orders.contains(&order));
            nodes.push(report);
        }
        let draining = nodes.iter().filter(|report| report.draining).count();
        metric::nodes(nodes.len() - draining, draining);
        Ok(nodes)
    }

    /// As the trait says. The first order holds; a later one to the same stay changes nothing.
    async fn drain(&self, node: &str, over: Duration) -> Result<Duration, Refusal> {
        check_name(node)?;
        let over = over.min(DRAIN_MAX);
        let known = self.known(node).await?;
        let known = known.ok_or_else(|| Refusal::not_found("chat server"))?;
        let starting = || unavailable("the chat server is just starting", RETRY_AFTER);
        let term = known.term.ok_or_else(starting)?;
        let name = order::lease_name(node, term);
        let lifetime = ORDER_LIFETIME + over;
        let acquired = self.leases.acquire(&name, &order::encode(over), lifetime).await;
        if acquired.map_err(away)?.is_some() {
            tracing::info!(node.name = %node, over_s = over.as_secs(), "a node is to drain");
            return Ok(over);
        }
        // It may have run out between the two, or be of a version that this one cannot read.
        let before = self.order(node, term).await?;
        before.ok_or_else(|| unavailable("the order to drain is changing", RETRY_AFTER))
    }
}

fn check_name(node: &str) -> Result<(), Refusal> {
    if (1..=NAME_BYTES_MAX).contains(&node.len())
        && node.chars().all(|c| !c.is_control() && c != '/')
    {
        return Ok(());
    }
    let message = format!("a chat server's name is 1 to {NAME_BYTES_MAX} bytes, without '/'");
    Err(Refusal::new(Code::Invalid, message))
}

fn lease_name(node: &str) -> String {
    format!("{LEASE_PREFIX}{node}")
}

fn held_by_another(node: &str) -> Refusal {
    tracing::warn!(node.name = %node, "two processes report under one name; the later is refused");
    unavailable("another chat server has this name, or had it a moment ago", LEASE_LIFETIME)
}

fn away(error: Unavailable) -> Refusal {
    tracing::error!(error.cause = %error, "the leases of the nodes cannot be reached");
    unavailable("the list of chat servers cannot be reached", RETRY_AFTER)
}

fn unavailable(what: &str, retry_after: Duration) -> Refusal {
    Refusal { retry_after: Some(retry_after), ..Refusal::new(Code::Unavailable, what) }
}

#[cfg(test)]
mod tests;
