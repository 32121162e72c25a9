//! Publishes hints: callers put them into a bounded queue, one task sends them on in batches.
//!
//! Whatever is given up (the queue is full, Redis is away or refuses) leaves the name of its topic
//! behind. Once Redis takes something again, whoever watches that topic is told that it missed
//! something, so that a lost hint delays a delivery by no more than the time that Redis was away.
//! Hints about presence leave nothing behind: nobody would find them in the store. They are taken
//! only while there is room to spare, so that they push out no others.

use std::{
    collections::HashSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fred::{clients::Client, interfaces::PubsubInterface, types::Value};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ConnectError,
    address::{COMMAND_MAX, Recipe},
    link::{Link, Live, Purpose},
    payload::{self, Said},
    topic,
};
use crate::{
    hint::{Hint, Topic},
    metric,
};

/// Hints that wait to be sent.
const QUEUE_HINTS: usize = 16 * 1024;
/// Places in the queue that hints about presence leave to others.
const SPARE_HINTS: usize = QUEUE_HINTS / 2;
/// Hints that are sent at a time.
const BATCH_HINTS: usize = 256;
/// Topics that are remembered by name. Beyond that everyone is told, once: a subscriber is told of
/// each by itself, and each time compares all heads with the store.
const OWED_TOPICS_MAX: usize = 64;
/// How often what is owed is looked at: whoever is told compares heads with the store.
const OWED_INTERVAL: Duration = Duration::from_secs(1);

/// Publishes hints.
pub(super) struct Publisher {
    queue: mpsc::Sender<(Topic, Hint)>,
    owed: Arc<Owed>,
    _link: Link,
    _task: AbortOnDropHandle<()>,
}

impl Publisher {
    pub(super) async fn connect(
        recipe: Arc<Recipe>,
        prefix: Arc<str>,
    ) -> Result<Self, ConnectError> {
        let link = Link::connect(recipe, Purpose::Publishing).await?;
        let (queue, hints) = mpsc::channel(QUEUE_HINTS);
        let owed = Arc::new(Owed::default());
        let sender = Sender { live: link.watch(), prefix, owed: Arc::clone(&owed) };
        let task = AbortOnDropHandle::new(tokio::spawn(sender.send_all(hints)));
        Ok(Self { queue, owed, _link: link, _task: task })
    }

    /// Takes a hint, to be sent soon. Never waits.
    pub(super) fn publish(&self, topic: Topic, hint: Hint) {
        if !is_owed(&hint) && self.queue.capacity() <= SPARE_HINTS {
            metric::dropped(1);
            return;
        }
        let sent = self.queue.try_send((topic, hint));
        if let Err(TrySendError::Full((topic, hint)) | TrySendError::Closed((topic, hint))) = sent {
            self.owed.add_hints([(topic, is_owed(&hint))]);
        }
    }
}

/// The topics on which hints were given up.
#[derive(Default)]
struct Owed(Mutex<Debt>);

#[derive(Default)]
struct Debt {
    topics: HashSet<Topic>,
    /// There were more topics than are remembered.
    everyone: bool,
}

/// Whether whoever misses the hint is to be told that it missed something.
const fn is_owed(hint: &Hint) -> bool {
    !matches!(hint, Hint::Presence { .. })
}

impl Owed {
    /// Remembers the topics of hints that were given up, where they are owed.
    fn add_hints(&self, hints: impl IntoIterator<Item = (Topic, bool)>) {
        self.add(hints.into_iter().filter_map(|(topic, owed)| {
            if !owed {
                metric::dropped(1);
            }
            owed.then_some(topic)
        }));
    }

    fn add(&self, topics: impl IntoIterator<Item = Topic>) {
        let mut debt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in topics {
            metric::dropped(1);
            if debt.topics.len() < OWED_TOPICS_MAX {
                debt.topics.insert(topic);
            } else {
                debt.everyone |= !debt.topics.contains(&topic);
            }
        }
    }

    fn take(&self) -> Debt {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, debt: Debt) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.everyone |= debt.everyone || now.topics.len() + debt.topics.len() > OWED_TOPICS_MAX;
        if !now.everyone {
            now.topics.extend(debt.topics);
        }
    }
}

/// What the task does.
struct Sender {
    live: watch::Receiver<Option<Live>>,
    prefix: Arc<str>,
    owed: Arc<Owed>,
}

impl Sender {
    async fn send_all(self, mut hints: mpsc::Receiver<(Topic, Hint)>) {
        let mut ticks = interval(OWED_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_HINTS);
        loop {
            tokio::select! {
                taken = hints.recv_many(&mut batch, BATCH_HINTS) => {
                    if taken == 0 {
                        return;
                    }
                    metric::waiting(hints.len());
                    self.send(&mut batch).await;
                }
                _ = ticks.tick() => self.settle().await,
            }
        }
    }

    async fn send(&self, batch: &mut Vec<(Topic, Hint)>) {
        let Some(client) = self.client() else {
            return self
                .owed
                .add_hints(batch.drain(..).map(|(topic, hint)| (topic, is_owed(&hint))));
        };
        let mut topics = Vec::with_capacity(batch.len());
        let mut messages = Vec::with_capacity(batch.len());
        for (topic, hint) in batch.drain(..) {
            let owed = is_owed(&hint);
            match payload::encode(&Said::Hint(hint)) {
                Ok(payload) => {
                    topics.push((topic, owed));
                    messages.push((topic::channel(&self.prefix, topic), payload));
                }
                // It is longer than what others read: let them look into the store.
                Err(payload::Garbled) => self.owed.add([topic]),
            }
        }
        let sent = publish(&client, messages).await;
        metric::published(sent.iter().filter(|sent| **sent).count() as u64);
        let lost = topics.into_iter().zip(sent).filter(|(_, sent)| !sent);
        self.owed.add_hints(lost.map(|(topic, _)| topic));
    }

    /// Tells whoever watches a topic on which hints were given up.
    async fn settle(&self) {
        let Some(client) = self.client() else { return };
        let mut debt = self.owed.take();
        let Ok(missed) = payload::encode(&Said::Missed) else { return };
        if debt.everyone {
            let everyone = vec![(topic::everyone(&self.prefix), missed)];
            debt.everyone = publish(&client, everyone).await != [true];
            if !debt.everyone {
                debt.topics.clear();
            }
        } else if !debt.topics.is_empty() {
            let topics: Vec<_> = debt.topics.iter().copied().collect();
            for topics in topics.chunks(BATCH_HINTS) {
                let message = |topic| (topic::channel(&self.prefix, topic), missed.clone());
                let sent = publish(&client, topics.iter().copied().map(message).collect()).await;
                if sent.iter().any(|sent| !sent) {
                    break;
                }
                topics.iter().for_each(|topic| {
                    debt.topics.remove(topic);
                });
            }
        }
        self.owed.put_back(debt);
    }

    fn client(&self) -> Option<Client> {
        self.live.borrow().as_ref().map(|live| live.client.clone())
    }
}

/// Publishes the messages in their order. Says of each whether Redis took it.
async fn publish(client: &Client, messages: Vec<(String, Vec<u8>)>) -> Vec<bool> {
    let count = messages.len();
    let pipeline = client.pipeline();
    let work = async {
        for (channel, payload) in messages {
            let payload = Value::Bytes(payload.into());
            // In a pipeline this only puts the command into it.
            if pipeline.spublish::<(), _, _>(channel, payload).await.is_err() {
                return Vec::new();
            }
        }
        pipeline.try_all::<Value>().await
    };
    let answers = timeout(COMMAND_MAX, work).await.unwrap_or_default();
    // One that failed as a whole has one answer or none.
    if answers.len() == count {
        answers.iter().map(Result::is_ok).collect()
    } else {
        vec![false; count]
    }
}

#[cfg(test)]
mod tests {
    use skein_core::id::AccountId;

    use super::*;

    #[test]
    fn what_is_owed_is_bounded() {
        let owed = Owed::default();
        let account = |number: usize| Topic::Account(AccountId(number as u64));
        owed.add((0..OWED_TOPICS_MAX).map(account));
        owed.add([account(1)]);
        let debt = owed.take();
        assert!(!debt.everyone && debt.topics.len() == OWED_TOPICS_MAX);
        owed.add([account(OWED_TOPICS_MAX)]);
        owed.put_back(debt);
        let debt = owed.take();
        assert!(debt.everyone && debt.topics.len() <= OWED_TOPICS_MAX);
        owed.add_hints([(account(1), false)]);
        let nothing = owed.take();
        assert!(!nothing.everyone && nothing.topics.is_empty());
    }
}
