//! The task that owns the subscriptions of a process.

use std::{
    collections::HashSet,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{clients::Client, interfaces::EventInterface, interfaces::PubsubInterface};
use futures::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{intake::Intake, wish::Wish};
use crate::{
    exchange::Exchange,
    hint::Topic,
    metric,
    redis::{address::COMMAND_MAX, link::Live, topic, words::words},
};

/// Channels that are subscribed or left at a time. Each batch has the time that a command may take.
const BATCH_CHANNELS: usize = 256;
/// How often it is looked whether something went astray.
const ASTRAY_INTERVAL: Duration = Duration::from_millis(500);

/// Owns the subscriptions.
pub(super) struct Keeper {
    prefix: Arc<str>,
    exchange: Arc<Exchange>,
    astray: Arc<AtomicBool>,
    live: watch::Receiver<Option<Live>>,
    wishes: mpsc::Receiver<Wish>,
    /// What this connection sends. The channel for everyone is one of them, under `None`.
    subscribed: HashSet<Option<Topic>>,
    /// Someone watches a topic that is not among them, and goes on without.
    owing: bool,
}

impl Keeper {
    pub(super) fn new(
        prefix: Arc<str>,
        exchange: Arc<Exchange>,
        astray: Arc<AtomicBool>,
        live: watch::Receiver<Option<Live>>,
        wishes: mpsc::Receiver<Wish>,
    ) -> Self {
        let subscribed = HashSet::new();
        Self { prefix, exchange, astray, live, wishes, subscribed, owing: false }
    }

    /// Goes on until nobody can wish for anything any more.
    pub(super) async fn keep(mut self) {
        loop {
            let live = self.live.borrow_and_update().clone();
            let goes_on = match live {
                Some(live) => self.serve(live).await,
                None => self.put_off().await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// While there is no connection, wishes are only noted.
    async fn put_off(&mut self) -> bool {
        loop {
            tokio::select! {
                changed = self.live.changed() => return changed.is_ok(),
                wish = self.wishes.recv() => match wish {
                    Some(Wish::Watch { confirm, .. }) => {
                        self.owing = true;
                        // Whoever went away in the meantime is told later as well.
                        confirm.send(()).ok();
                    }
                    Some(Wish::Unwatch { .. }) => {}
                    None => return false,
                },
            }
        }
    }

    /// Serves wishes on one connection until it is lost.
    async fn serve(&mut self, live: Live) -> bool {
        let client = live.client;
        let intake = Intake {
            prefix: Arc::clone(&self.prefix),
            exchange: Arc::clone(&self.exchange),
            astray: Arc::clone(&self.astray),
        };
        let intake = tokio::spawn(intake.take_all(client.message_rx()));
        let _intake = AbortOnDropHandle::new(intake);
        self.subscribed.clear();
        // On every connection but the first something may have been missed.
        self.owing |= live.number > 0;
        self.astray.store(true, Ordering::Relaxed);
        self.set_right(&client).await;
        let mut ticks = interval(ASTRAY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wishes = Vec::with_capacity(BATCH_CHANNELS);
        loop {
            tokio::select! {
                changed = self.live.changed() => return changed.is_ok(),
                taken = self.wishes.recv_many(&mut wishes, BATCH_CHANNELS) => {
                    if taken == 0 {
                        return false;
                    }
                    self.grant(&client, mem::take(&mut wishes)).await;
                }
                _ = ticks.tick() => self.set_right(&client).await,
            }
            metric::topics(self.subscribed.len());
        }
    }

    async fn grant(&mut self, client: &Client, wishes: Vec<Wish>) {
        let topics: HashSet<_> = wishes.iter().flat_map(Wish::topics).copied().collect();
        let (watched, left): (Vec<_>, Vec<_>) =
            topics.into_iter().partition(|topic| self.exchange.is_watched(*topic));
        self.unsubscribe(client, left.into_iter().map(Some).collect()).await;
        // While something is owed, Redis does not answer as it should: nobody waits for it.
        if !self.owing {
            self.owing = !self.subscribe(client, watched.into_iter().map(Some).collect()).await;
        }
        for wish in wishes {
            let Wish::Watch { topics, confirm } = wish else { continue };
            if confirm.send(()).is_err() && !self.owing {
                // It went on before, and hints may have come in between.
                topics.iter().for_each(|topic| self.exchange.missed(*topic));
            }
        }
    }

    /// Compares what is subscribed with what is watched, if there is reason to; and when everything
    /// is, tells those who went on without that they missed something.
    async fn set_right(&mut self, client: &Client) {
        if !self.astray.swap(false, Ordering::Relaxed) && !self.owing {
            return;
        }
        let watched = self.exchange.topics().into_iter().map(Some).chain([None]);
        let watched: HashSet<_> = watched.collect();
        let left: Vec<_> = self.subscribed.difference(&watched).copied().collect();
        self.unsubscribe(client, left).await;
        let wanted: Vec<_> = watched.difference(&self.subscribed).copied().collect();
        let count = wanted.len();
        if !self.subscribe(client, wanted).await {
            self.owing = true;
            return;
        }
        if mem::take(&mut self.owing) {
            info!(bus.topics = count, "subscribed to what is watched; some hints were missed");
            self.exchange.missed_by_all();
        }
    }

    /// Whether all of them are confirmed.
    async fn subscribe(&mut self, client: &Client, topics: Vec<Option<Topic>>) -> bool {
        let mut all = true;
        let new: Vec<_> = topics.into_iter().filter(|t| !self.subscribed.contains(t)).collect();
        for batch in new.chunks(BATCH_CHANNELS) {
            let confirmations =
                join_all(batch.iter().map(|topic| client.ssubscribe(self.channel(*topic))));
            let Ok(confirmations) = timeout(COMMAND_MAX, confirmations).await else {
                warn!("Redis does not confirm subscriptions in time");
                return false;
            };
            for (topic, confirmation) in batch.iter().zip(confirmations) {
                match confirmation {
                    Ok(()) => {
                        self.subscribed.insert(*topic);
                    }
                    Err(error) => {
                        warn!(error = words(&error), "cannot subscribe to a topic");
                        all = false;
                    }
                }
            }
        }
        all
    }

    async fn unsubscribe(&mut self, client: &Client, topics: Vec<Option<Topic>>) {
        let old: Vec<_> = topics.into_iter().filter(|t| self.subscribed.remove(t)).collect();
        for batch in old.chunks(BATCH_CHANNELS) {
            let confirmations =
                join_all(batch.iter().map(|topic| client.sunsubscribe(self.channel(*topic))));
            let confirmed = timeout(COMMAND_MAX, confirmations).await;
            if !confirmed.is_ok_and(|all| all.iter().all(Result::is_ok)) {
                // What comes in for nobody is dropped, and the next look finds it.
                self.astray.store(true, Ordering::Relaxed);
            }
        }
    }

    fn channel(&self, topic: Option<Topic>) -> String {
        topic.map_or_else(|| topic::everyone(&self.prefix), |one| topic::channel(&self.prefix, one))
    }
}
