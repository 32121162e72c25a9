//! Who waits for the bus, and who does not.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::{
    FutureExt,
    future::{self, BoxFuture},
};
use skein_bus::hint::Hint;
use skein_core::id::ConversationId;
use tokio::sync::watch;

use super::*;
use crate::testing::Crowd;

/// A bus that confirms some topics only when it is told to. Clones are one.
#[derive(Clone, Default)]
struct Slow(Arc<Inside>);

#[derive(Default)]
struct Inside {
    held: Mutex<HashMap<Topic, watch::Sender<bool>>>,
    watched: Mutex<HashSet<Topic>>,
}

impl Slow {
    fn hold(&self, topic: Topic) {
        self.0.held.lock().unwrap().insert(topic, watch::Sender::new(false));
    }

    fn confirm(&self, topic: Topic) {
        self.0.held.lock().unwrap()[&topic].send_replace(true);
    }
}

#[async_trait]
impl Hints for Slow {
    async fn publish(&self, _: Topic, _: Hint) {}

    fn subscribe(&self, capacity: usize) -> Subscription {
        let (_, deliveries) = mpsc::channel(capacity);
        Subscription { topics: Arc::new(SlowTopics(Arc::clone(&self.0))), deliveries }
    }
}

struct SlowTopics(Arc<Inside>);

impl Topics for SlowTopics {
    fn watch(&self, topics: &[Topic]) -> BoxFuture<'static, ()> {
        self.0.watched.lock().unwrap().extend(topics);
        let held = self.0.held.lock().unwrap();
        let waits: Vec<_> = topics.iter().filter_map(|topic| held.get(topic)).collect();
        let waits: Vec<_> = waits.into_iter().map(watch::Sender::subscribe).collect();
        let each = waits.into_iter().map(|mut wait| async move {
            wait.wait_for(|confirmed| *confirmed).await.map(drop).expect("the bus is there");
        });
        future::join_all(each).map(drop).boxed()
    }

    fn unwatch(&self, topics: &[Topic]) {
        let mut watched = self.0.watched.lock().unwrap();
        topics.iter().for_each(|topic| assert!(watched.remove(topic), "{topic:?}"));
    }
}

#[tokio::test]
async fn a_confirmation_that_is_late_holds_up_only_those_who_need_it() {
    let bus = Slow::default();
    let crowd = Crowd::on(Arc::new(bus.clone()), 3).await;
    let hub = &crowd.hub;
    let [slow, quick] = [1, 2].map(|number| LogId::Conversation(ConversationId(number)));
    bus.hold(Topic::Log(slow));
    let (first_logs, both) = ([slow], [quick, slow]);

    let mut first = Box::pin(hub.follow(0, &first_logs));
    assert_eq!(first.as_mut().now_or_never(), None);
    assert_eq!(hub.followed_logs(), 1, "it is wanted from now on");
    // Others live on, follow other logs and leave meanwhile.
    hub.follow(1, &[quick]).await;
    // But nobody compares heads on the word of one who is not sure.
    let mut third = Box::pin(hub.follow(2, &both));
    assert_eq!(third.as_mut().now_or_never(), None);
    hub.leave(1);
    assert!(bus.0.watched.lock().unwrap().contains(&Topic::Log(quick)), "one is left who does");

    bus.confirm(Topic::Log(slow));
    first.await;
    third.await;
    hub.leave(0);
    assert_eq!(hub.followed_logs(), 2);
    hub.leave(2);
    assert_eq!((hub.followed_logs(), bus.0.watched.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn who_leaves_before_the_confirmation_leaves_nothing_behind() {
    let bus = Slow::default();
    let crowd = Crowd::on(Arc::new(bus.clone()), 1).await;
    let log = LogId::Conversation(ConversationId(1));
    bus.hold(Topic::Log(log));
    let logs = [log];
    let mut following = Box::pin(crowd.hub.follow(0, &logs));
    assert_eq!(following.as_mut().now_or_never(), None);
    crowd.hub.leave(0);
    assert_eq!((crowd.hub.followed_logs(), bus.0.watched.lock().unwrap().len()), (0, 0));
    drop(following);
}

#[tokio::test]
async fn looking_whether_there_is_room_takes_nothing_of_the_rate() {
    let crowd = Crowd::of(1).await;
    // More than the rate would grant.
    for _ in 0..10_000 {
        crowd.hub.would_enter(AccountId(1)).unwrap();
    }
    crowd.hub.begin_drain();
    assert_eq!(crowd.hub.would_enter(AccountId(1)).unwrap_err().code, Code::Draining);
}

#[tokio::test]
async fn a_session_that_is_silent_makes_room_and_one_that_is_heard_does_not() {
    let mut crowd = Crowd::of(1).await;
    let max = Config::default().account_sessions_max;
    for _ in 1..max {
        crowd.enter_as(AccountId(1)).await.unwrap();
    }
    // They share one connection.
    for _ in 0..4 {
        tokio::time::sleep(SILENT_AFTER / 2).await;
        crowd.speak().await;
        let refusal = crowd.enter_as(AccountId(1)).await.unwrap_err();
        assert_eq!(refusal.code, Code::TooMany);
        assert_eq!(crowd.hub.would_enter(AccountId(1)).unwrap_err().code, Code::TooMany);
    }
    tokio::time::sleep(SILENT_AFTER + Duration::from_secs(1)).await;
    crowd.hub.would_enter(AccountId(1)).unwrap();
    let number = crowd.enter_as(AccountId(1)).await.unwrap();
    assert_eq!(crowd.hub.sessions(), max);
    let mut left = crowd.hub.session_numbers();
    left.sort_unstable();
    assert_eq!((left.first(), left.last()), (Some(&1), Some(&number)), "the oldest made room");
}
