//! Subscribes to the topics that are watched in this process, and hands on what comes in.
//!
//! One task owns the subscriptions. What should be subscribed is what the
//! [exchange](crate::exchange) says is watched; what is subscribed belongs to one connection and is
//! forgotten with it. On each new connection everything is subscribed anew, and only when that is
//! confirmed is everyone told that hints were missed: whoever compares heads with the store then
//! misses nothing that came before, and is sent what comes after.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    FutureExt,
    future::{self, BoxFuture},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use self::{keeper::Keeper, wish::Wish};
use super::{
    ConnectError, Redis,
    address::Recipe,
    link::{Link, Purpose},
};
use crate::{
    exchange::Exchange,
    hint::{Hint, Hints, Subscription, Topic, Topics},
};

mod intake;
mod keeper;
mod wish;

/// How long whoever watches topics waits for the subscriptions to be confirmed. After that it is
/// told that it missed something once it is.
const WATCH_MAX: Duration = Duration::from_secs(2);
/// Wishes that wait for the task.
const WISHES_MAX: usize = 1024;

/// Hands on what comes in.
pub(super) struct Feed {
    exchange: Arc<Exchange>,
    wishes: mpsc::Sender<Wish>,
    /// Set when the task should compare what is subscribed with what is watched.
    astray: Arc<AtomicBool>,
    _link: Link,
    _task: AbortOnDropHandle<()>,
}

impl Feed {
    pub(super) async fn connect(
        recipe: Arc<Recipe>,
        prefix: Arc<str>,
    ) -> Result<Self, ConnectError> {
        let link = Link::connect(recipe, Purpose::Subscribing).await?;
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let exchange = Arc::new(Exchange::default());
        let astray = Arc::new(AtomicBool::new(false));
        let keeper =
            Keeper::new(prefix, Arc::clone(&exchange), Arc::clone(&astray), link.watch(), wished);
        let task = AbortOnDropHandle::new(tokio::spawn(keeper.keep()));
        Ok(Self { exchange, wishes, astray, _link: link, _task: task })
    }

    /// Waits until hints on the topics come in, or it is known that they will at some time.
    async fn confirm(&self, topics: Arc<[Topic]>) {
        let (confirm, confirmed) = oneshot::channel();
        let confirmed = async {
            if self.wishes.send(Wish::Watch { topics, confirm }).await.is_ok() {
                // The task drops it only when the bus ends.
                confirmed.await.ok();
            }
        };
        if timeout(WATCH_MAX, confirmed).await.is_err() {
            // Perhaps the wish did not even find a place in the queue.
            self.astray.store(true, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Hints for Redis {
    async fn publish(&self, topic: Topic, hint: Hint) {
        self.publisher.publish(topic, hint);
    }

    fn subscribe(&self, capacity: usize) -> Subscription {
        let (number, deliveries) = self.feed.exchange.subscribe(capacity);
        let topics = Watch { number, feed: Arc::clone(&self.feed) };
        Subscription { topics: Arc::new(topics), deliveries }
    }
}

/// The topics of one subscriber.
struct Watch {
    number: u64,
    feed: Arc<Feed>,
}

impl Topics for Watch {
    fn watch(&self, topics: &[Topic]) -> BoxFuture<'static, ()> {
        if topics.is_empty() {
            return future::ready(()).boxed();
        }
        self.feed.exchange.watch(self.number, topics);
        let (feed, topics) = (Arc::clone(&self.feed), topics.into());
        async move { feed.confirm(topics).await }.boxed()
    }

    fn unwatch(&self, topics: &[Topic]) {
        if topics.is_empty() {
            return;
        }
        self.feed.exchange.unwatch(self.number, topics);
        if self.feed.wishes.try_send(Wish::Unwatch { topics: topics.into() }).is_err() {
            self.feed.astray.store(true, Ordering::Relaxed);
        }
    }
}
