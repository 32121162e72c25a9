//! Hints in memory: from the publisher straight into the queues of the subscribers.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{
    FutureExt,
    future::{self, BoxFuture},
};

use super::Local;
use crate::{
    exchange::Exchange,
    hint::{Hint, Hints, Subscription, Topic, Topics},
};

#[async_trait]
impl Hints for Local {
    async fn publish(&self, topic: Topic, hint: Hint) {
        self.exchange.publish(topic, &hint);
    }

    fn subscribe(&self, capacity: usize) -> Subscription {
        let (number, deliveries) = self.exchange.subscribe(capacity);
        let topics = Watch { number, exchange: Arc::clone(&self.exchange) };
        Subscription { topics: Arc::new(topics), deliveries }
    }
}

/// The topics of one subscriber.
struct Watch {
    number: u64,
    exchange: Arc<Exchange>,
}

impl Topics for Watch {
    fn watch(&self, topics: &[Topic]) -> BoxFuture<'static, ()> {
        self.exchange.watch(self.number, topics);
        future::ready(()).boxed()
    }

    fn unwatch(&self, topics: &[Topic]) {
        self.exchange.unwatch(self.number, topics);
    }
}
