//! How a node goes away: it sends its sessions elsewhere, a few at a time, and serves them until they
//! have left.
//!
//! Each session is told another node, which the directory names for it or for a few together, so
//! that the load spreads. The client opens its connection there before it leaves the one here. What
//! is still here when the time is over is closed with `draining`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use skein_core::{port::directory::Directory, refusal::Refusal};
use skein_ops::lifecycle::Shutdown;
use skein_wire::pb;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    hub::{Hub, SessionNumber, event},
    metric,
};

/// How often some sessions are told to move.
const TICK: Duration = Duration::from_millis(100);
/// Sessions that are sent to the same node at a time.
const GROUP_MAX: usize = 8;
/// How long the directory may take to name a node.
const ASSIGN_TIMEOUT: Duration = Duration::from_secs(1);
/// After this long a session that was told and is still here is told another node: the first did
/// not take it.
const REPEAT_AFTER: Duration = Duration::from_secs(3);
/// How soon the directory is asked again after it has named no node.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long those that were told last have to go, where there is time for it.
const GRACE: Duration = Duration::from_secs(2);

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
                () = self.send_away(over, GRACE, false) => {
                    tracing::info!(left = self.hub.sessions(), "the drain is over");
                    self.ending.cancel();
                    shutdown.begun().await;
                }
                () = shutdown.begun() => {}
            }
        }
        self.hub.begin_drain();
        let grace = GRACE.min(self.stop_within / 4);
        self.send_away(self.stop_within.saturating_sub(grace), grace, true).await;
        self.ending.cancel();
        self.closing.cancel();
    }

    /// Tells every session where to go, spread over `over`, and waits until they have gone, but no
    /// longer than `grace` beyond that. If there is no other node, that is all at once if
    /// `unless_alone`.
    async fn send_away(&self, over: Duration, grace: Duration, unless_alone: bool) {
        let end = Instant::now() + over;
        let mut told: HashMap<SessionNumber, Instant> = HashMap::new();
        loop {
            let here = self.hub.session_numbers();
            let now = Instant::now();
            if here.is_empty() || now >= end + grace {
                return;
            }
            let untold: Vec<_> = here
                .into_iter()
                .filter(|number| told.get(number).is_none_or(|at| now >= *at + REPEAT_AFTER))
                .collect();
            let mut pause = TICK;
            for group in untold[..share(untold.len(), end, now)].chunks(GROUP_MAX) {
                match self.name_node().await {
                    Ok(frame) => {
                        // One whose queue is full is told in another turn.
                        let heard = group.iter().filter(|number| self.hub.tell(**number, &frame));
                        told.extend(heard.map(|number| (*number, now)));
                    }
                    Err(refusal) if unless_alone && told.is_empty() => {
                        tracing::info!("no other node takes the sessions: {refusal}");
                        return;
                    }
                    Err(refusal) => {
                        tracing::warn!(error.code = %refusal.code, "no node to move to: {refusal}");
                        pause = ASK_AGAIN_AFTER;
                        break;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The event that names another node.
    async fn name_node(&self) -> Result<bytes::Bytes, Refusal> {
        let assigning = self.directory.assign(Some(&self.node));
        let node = crate::connection::in_time(ASSIGN_TIMEOUT, assigning).await??;
        Ok(event(pb::event::Kind::Moving(node.into())))
    }
}

/// How many of so many are told in this turn, so that all have been at the end.
fn share(count: usize, end: Instant, now: Instant) -> usize {
    let left = end.saturating_duration_since(now).as_millis();
    let turns = usize::try_from(left / TICK.as_millis()).unwrap_or(usize::MAX).max(1);
    count.div_ceil(turns)
}

impl Hub {
    /// Tells a session to move. False if there is no room in its queue.
    fn tell(&self, number: SessionNumber, frame: &bytes::Bytes) -> bool {
        let heard = self.offer(number, frame);
        if heard {
            metric::moved();
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_told_by_the_end_and_none_in_a_crowd() {
        let now = Instant::now();
        for (count, seconds, most) in [(1, 10, 1), (50, 10, 1), (1_000, 10, 10), (20_000, 5, 400)] {
            let end = now + Duration::from_secs(seconds);
            let (mut left, mut at) = (count, now);
            while at < end {
                let turn = share(left, end, at);
                assert!(turn <= most, "{turn} of {count}");
                left -= turn;
                at += TICK;
            }
            assert_eq!(left, 0, "of {count}");
        }
        assert_eq!(share(7, now, now), 7);
    }
}
