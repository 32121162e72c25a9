//! Takes in the messages of one connection and hands them to the subscribers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fred::types::{Message, Value};
use tokio::sync::broadcast::{self, error::RecvError};
use tracing::{debug, warn};

use crate::{
    exchange::Exchange,
    metric,
    redis::{
        payload::{self, Garbled, Said},
        topic,
    },
};

/// Takes in messages.
pub(super) struct Intake {
    pub(super) prefix: Arc<str>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) astray: Arc<AtomicBool>,
}

impl Intake {
    /// Goes on until the connection ends.
    pub(super) async fn take_all(self, mut messages: broadcast::Receiver<Message>) {
        loop {
            match messages.recv().await {
                Ok(message) => self.take(&message),
                Err(RecvError::Lagged(_)) => self.exchange.missed_by_all(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn take(&self, message: &Message) {
        metric::received();
        if *message.channel == *topic::everyone(&self.prefix) {
            return self.exchange.missed_by_all();
        }
        let Some(topic) = topic::topic(&self.prefix, &message.channel) else { return };
        let payload = match &message.value {
            Value::Bytes(bytes) => payload::decode(bytes),
            Value::String(text) => payload::decode(text.as_bytes()),
            _ => Err(Garbled),
        };
        match payload {
            Ok(Some(Said::Hint(hint))) => {
                if !self.exchange.publish(topic, &hint) {
                    // Whoever watched it left without a word.
                    self.astray.store(true, Ordering::Relaxed);
                }
            }
            Ok(Some(Said::Missed)) => self.exchange.missed(topic),
            Ok(None) => {
                // From a node of a later version, which would not call it missed either.
                metric::unknown();
                debug!(bus.channel = &*message.channel, "a hint is of an unknown kind");
            }
            Err(Garbled) => {
                warn!(bus.channel = &*message.channel, "a hint cannot be read");
                self.exchange.missed(topic);
            }
        }
    }
}
