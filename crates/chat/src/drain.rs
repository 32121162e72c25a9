//! How a node goes away: it sends its sessions elsewhere, a few at a time, and serves them until they
//! have left.
//!
//! Each session is told another node, which the directory names for it or for a few together, so
//! that the load spreads. The client opens its connection there before it leaves the one here. One
//! that is still here after a while is told again: what it was told may have led nowhere. What is
//! still here when the time is over is closed with `draining`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::stream::{self, StreamExt};
use skein_core::{
    port::directory::{Directory, NodeReport},
    refusal::Refusal,
};
use skein_ops::lifecycle::Shutdown;
use skein_wire::pb;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::{Hub, SessionNumber, event},
    metric,
};

/// How often some sessions are told to move.
const TICK: Duration = Duration::from_millis(100);
/// Sessions that are sent to the same node at a time.
const GROUP_MAX: usize = 8;
/// Questions to the directory at a time.
const ASSIGNS_MAX: usize = 8;
/// How long the directory may take to name a node: time for a second of its processes to answer where
/// the first does not.
const ASSIGN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a session that was told has before it is told again.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(15);
/// Sessions that are told again in one turn.
const AGAIN_MAX: usize = 64;
/// How soon the directory is asked again after it has named no node.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long those that were told last have to go, where there is time for it. Who is still here then
/// has a client that does not know how to move, or none.
const GRACE: Duration = Duration::from_secs(2);

/// Why the sessions are sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// An operator has time.
    Ordered,
    /// The process is to end.
    Stopping,
}

/// The end of one node.
pub(crate) struct Drain {
    directory: Arc<dyn Directory>,
    hub: Arc<Hub>,
    node: String,
    /// How long the process has from the soft stop to the end of its sessions.
    stop_within: Duration,
    ordered: watch::Sender<Option<Duration>>,
    /// The sessions that are still here end.
    pub(crate) ending: CancellationToken,
    /// Nobody is let in any more.
    pub(crate) closing: CancellationToken,
}

impl Drain {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        hub: Arc<Hub>,
        node: String,
        stop_within: Duration,
    ) -> Self {
        Self {
            directory,
            hub,
            node,
            stop_within,
            ordered: watch::Sender::new(None),
            ending: CancellationToken::new(),
            closing: CancellationToken::new(),
        }
    }

    /// An operator wants the sessions to go, spread over this time. The first order counts.
    pub(crate) fn order(&self, over: Duration) {
        self.ordered.send_if_modified(|order| {
            let news = order.is_none();
            if news {
                *order = Some(over);
            }
            news
        });
    }

    /// Waits for an order or for the soft stop, and sends the sessions away.
    pub(crate) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut ordered = self.ordered.subscribe();
        let over = tokio::select! {
            () = shutdown.begun() => None,
            over = ordered.wait_for(Option::is_some) => over.ok().and_then(|over| *over),
        };
        if let Some(over) = over {
            tracing::info!(seconds = over.as_secs(), "an operator drains this node");
            self.hub.begin_drain();
            tokio::select! {
                () = self.send_away(over, GRACE, Cause::Ordered) => {
                    tracing::info!(left = self.hub.sessions(), "the drain is over");
                    self.ending.cancel();
                    shutdown.begun().await;
                }
                () = shutdown.begun() => {}
            }
        }
        self.hub.begin_drain();
        let grace = GRACE.min(self.stop_within / 4);
        self.send_away(self.stop_within.saturating_sub(grace), grace, Cause::Stopping).await;
        tracing::info!(left = self.hub.sessions(), "the sessions that are still here end");
        self.ending.cancel();
        self.closing.cancel();
    }

    /// Tells every session where to go, spread over `over`, and waits until they have gone, but no
    /// longer than `grace` after that; if the process is to end, no longer than `grace` after the
    /// last was told, and not at all if there is no other node.
    async fn send_away(&self, over: Duration, grace: Duration, cause: Cause) {
        let telling = self.tell_all(over, grace, cause);
        if tokio::time::timeout(over + grace, telling).await.is_err() {
            tracing::debug!("some sessions are still here after the time to send them away");
        }
    }

    /// As [`send_away`](Self::send_away), for as long as it may take.
    async fn tell_all(&self, over: Duration, grace: Duration, cause: Cause) {
        let began = Instant::now();
        let mut told: HashMap<SessionNumber, Instant> = HashMap::new();
        let mut last_told = began;
        loop {
            let here = self.hub.session_numbers();
            let now = Instant::now();
            let (again, untold): (Vec<_>, Vec<_>) =
                here.iter().copied().partition(|number| told.contains_key(number));
            let all_told = cause == Cause::Stopping && untold.is_empty();
            if here.is_empty() || (all_told && now >= last_told + grace) {
                return;
            }
            let due = due(cause, told.len(), untold.len(), now - began, over);
            let late = |number: &SessionNumber| now - told[number] >= TELL_AGAIN_AFTER;
            let again = again.into_iter().filter(late).take(AGAIN_MAX);
            let turn: Vec<_> = untold[..due].iter().copied().chain(again).collect();
            let groups = turn.chunks(GROUP_MAX).map(<[_]>::to_vec);
            let mut named = stream::iter(groups)
                .map(|group| async { (group, self.name_node().await) })
                .buffer_unordered(ASSIGNS_MAX);
            let mut none = None;
            while let Some((group, frame)) = named.next().await {
                match frame {
                    Ok(frame) => {
                        // One whose queue is full is told in another turn.
                        let heard = group.iter().filter(|number| self.hub.tell(**number, &frame));
                        last_told = Instant::now();
                        told.extend(heard.map(|number| (*number, last_told)));
                    }
                    Err(refusal) => none = Some(refusal),
                }
            }
            let Some(refusal) = none else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            if cause == Cause::Stopping
                && told.is_empty()
                && (began.elapsed() >= over / 2 || self.is_alone().await)
            {
                tracing::info!("no other node takes the sessions: {refusal}");
                return;
            }
            tracing::warn!(error.code = %refusal.code, "no node to move to: {refusal}");
            tokio::time::sleep(ASK_AGAIN_AFTER.min(over / 8)).await;
        }
    }

    /// Whether the directory says that there is no other node. One that does not answer says nothing.
    async fn is_alone(&self) -> bool {
        let nodes = crate::connection::in_time(ASSIGN_TIMEOUT, self.directory.nodes()).await;
        let other = |report: &NodeReport| report.node.name != self.node && !report.draining;
        matches!(nodes, Ok(Ok(nodes)) if !nodes.iter().any(other))
    }

    /// The event that names another node.
    async fn name_node(&self) -> Result<bytes::Bytes, Refusal> {
        let assigning = self.directory.assign(Some(&self.node));
        let node = crate::connection::in_time(ASSIGN_TIMEOUT, assigning).await??;
        Ok(event(pb::event::Kind::Moving(node.into())))
    }
}

/// How many of the untold sessions are told in this turn, so that all have been when the time is
/// over. If the process is to end, a few need not take all that time.
fn due(cause: Cause, told: usize, untold: usize, elapsed: Duration, over: Duration) -> usize {
    let turns = |span: Duration| span.as_millis() / TICK.as_millis();
    let (passed, all) = (turns(elapsed) + 1, turns(over).max(1));
    let total = (told + untold) as u128;
    let even = match cause {
        Cause::Ordered => (total * passed).div_ceil(all),
        Cause::Stopping => total.div_ceil(all) * passed,
    };
    usize::try_from(even).unwrap_or(usize::MAX).saturating_sub(told).min(untold)
}

impl Hub {
    /// Tells a session to move. False if there is no room in its queue.
    fn tell(&self, number: SessionNumber, frame: &bytes::Bytes) -> bool {
        let heard = self.offer(number, frame);
        if heard {
            metric::moved();
            tracing::debug!(session.number = number, "a session is told to move");
        }
        heard
    }
}

#[cfg(test)]
mod tests;
