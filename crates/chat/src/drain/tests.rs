//! A node that goes away, with a directory that does what a test wants, in virtual time.

use std::{
    collections::VecDeque,
    sync::{Mutex, atomic::AtomicU32, atomic::Ordering},
};

use async_trait::async_trait;
use skein_core::{
    port::directory::{ChatNode, Reported, Term, Trust},
    refusal::Code,
};
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::testing::Crowd;

/// Far more than anything here takes, in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);
const OVER: Duration = Duration::from_secs(40);

/// Names a node, once it has done what it was told to do first.
#[derive(Default)]
struct Told {
    first: Mutex<VecDeque<Refusal>>,
    /// It does not answer at all.
    silent: bool,
    /// It knows of no other node.
    alone: bool,
    asked: AtomicU32,
}

fn node(name: &str) -> ChatNode {
    let trust = Trust::Authority { server_name: name.to_owned() };
    ChatNode { name: name.to_owned(), address: format!("{name}:4433"), trust }
}

fn away() -> Refusal {
    Refusal::new(Code::Unavailable, "away")
}

#[async_trait]
impl Directory for Told {
    async fn assign(&self, except: Option<&str>) -> Result<ChatNode, Refusal> {
        assert_eq!(except, Some("chat-1"));
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.silent {
            std::future::pending::<()>().await;
        }
        let first = self.first.lock().unwrap().pop_front();
        match first {
            Some(refusal) => Err(refusal),
            None if self.alone => Err(away()),
            None => Ok(node("chat-2")),
        }
    }

    async fn report(&self, _: NodeReport, _: Option<Term>) -> Result<Reported, Refusal> {
        Err(away())
    }

    async fn leave(&self, _: &str, _: Term) -> Result<(), Refusal> {
        Err(away())
    }

    async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        Ok(Vec::new())
    }

    async fn drain(&self, _: &str, _: Duration) -> Result<Duration, Refusal> {
        Err(away())
    }
}

fn drain_of(crowd: &Crowd, directory: Told) -> (Arc<Drain>, Arc<Told>) {
    let directory = Arc::new(directory);
    let (hub, node) = (Arc::clone(&crowd.hub), "chat-1".to_owned());
    (Arc::new(Drain::new(directory.clone(), hub, node, OVER)), directory)
}

#[tokio::test]
async fn a_directory_that_fails_for_a_moment_is_asked_again() {
    let mut crowd = Crowd::of(3).await;
    let first = Mutex::new(VecDeque::from([away(), away()]));
    let (drain, told) = drain_of(&crowd, Told { first, ..Told::default() });
    let sending = tokio::spawn({
        let drain = Arc::clone(&drain);
        async move { drain.send_away(OVER, GRACE, Cause::Ordered).await }
    });
    for number in 0..3 {
        while crowd.frames(number) == 0 {
            sleep(TICK).await;
        }
        crowd.hub.leave(number as u64);
    }
    timeout(PATIENCE, sending).await.expect("everybody has left").expect("no panic");
    assert!(told.asked.load(Ordering::Relaxed) >= 3, "two in vain");
}

#[tokio::test]
async fn who_stays_is_told_again() {
    let mut crowd = Crowd::of(1).await;
    let (drain, told) = drain_of(&crowd, Told::default());
    let began = Instant::now();
    drain.send_away(OVER, GRACE, Cause::Ordered).await;
    assert!(began.elapsed() >= OVER, "it has the whole time");
    // At once, and after each quarter of a minute that passes.
    let times = 1 + (OVER + GRACE).as_secs() / TELL_AGAIN_AFTER.as_secs();
    assert_eq!(crowd.frames(0) as u64, times);
    assert_eq!(u64::from(told.asked.load(Ordering::Relaxed)), times);
}

#[tokio::test]
async fn who_has_no_room_is_told_once_there_is() {
    let mut crowd = Crowd::of(1).await;
    let waiting = crowd.fill(0);
    let (drain, told) = drain_of(&crowd, Told::default());
    let sending = tokio::spawn({
        let drain = Arc::clone(&drain);
        async move { drain.send_away(OVER, GRACE, Cause::Ordered).await }
    });
    while told.asked.load(Ordering::Relaxed) < 3 {
        sleep(TICK).await;
    }
    assert_eq!(crowd.frames(0), waiting, "nothing found room");
    while crowd.frames(0) == 0 {
        sleep(TICK).await;
    }
    crowd.hub.leave(0);
    timeout(PATIENCE, sending).await.expect("everybody has left").expect("no panic");
}

#[tokio::test]
async fn the_first_order_holds_and_a_stop_cuts_it_short() {
    let crowd = Crowd::of(1).await;
    let (drain, _) = drain_of(&crowd, Told::default());
    let shutdown = Shutdown::new();
    drain.order(PATIENCE * 10);
    drain.order(Duration::from_secs(1));
    assert_eq!(*drain.ordered.borrow(), Some(PATIENCE * 10));
    let running = tokio::spawn(Arc::clone(&drain).run(shutdown.clone()));
    crowd.hub.drain_begun().await;
    advance(PATIENCE).await;
    assert!(!drain.ending.is_cancelled(), "the second order changed nothing");
    let stopped = Instant::now();
    shutdown.begin();
    timeout(PATIENCE, running).await.expect("it does not take the rest").expect("no panic");
    assert!(stopped.elapsed() <= OVER + TICK);
    assert!(drain.ending.is_cancelled() && drain.closing.is_cancelled());
}

#[tokio::test]
async fn a_drain_that_is_over_ends_who_stayed_and_waits_for_the_stop() {
    let crowd = Crowd::of(1).await;
    let (drain, _) = drain_of(&crowd, Told::default());
    let shutdown = Shutdown::new();
    drain.order(Duration::from_secs(5));
    let running = tokio::spawn(Arc::clone(&drain).run(shutdown.clone()));
    timeout(PATIENCE, drain.ending.cancelled()).await.expect("the time is over");
    assert!(!drain.closing.is_cancelled(), "the process stays, and says that it is draining");
    crowd.hub.leave(0);
    shutdown.begin();
    timeout(PATIENCE, running).await.expect("nobody is here").expect("no panic");
    assert!(drain.closing.is_cancelled());
}

#[tokio::test]
async fn a_node_that_stops_waits_for_no_directory_beyond_half_its_time() {
    let mut crowd = Crowd::of(2).await;
    for (directory, most) in [
        (Told { silent: true, ..Told::default() }, OVER / 2 + 2 * ASSIGN_TIMEOUT + ASK_AGAIN_AFTER),
        (Told { alone: true, ..Told::default() }, Duration::ZERO),
    ] {
        let (drain, _) = drain_of(&crowd, directory);
        let began = Instant::now();
        drain.send_away(OVER, GRACE, Cause::Stopping).await;
        assert!(began.elapsed() <= most, "{:?} of {most:?}", began.elapsed());
    }
    assert_eq!((crowd.frames(0), crowd.frames(1)), (0, 0));
}

#[test]
fn all_are_told_by_the_end_and_none_in_a_crowd() {
    for cause in [Cause::Ordered, Cause::Stopping] {
        for (count, seconds, most) in [(1, 10, 1), (50, 10, 1), (1_000, 10, 10), (9_999, 5, 200)] {
            let over = Duration::from_secs(seconds);
            let (mut told, mut elapsed) = (0, Duration::ZERO);
            while elapsed < over {
                let turn = due(cause, told, count - told, elapsed, over);
                assert!(turn <= most, "{turn} of {count}");
                told += turn;
                elapsed += TICK;
            }
            assert_eq!(told, count);
        }
    }
    // An operator's time is used evenly; a process that is to end does not wait.
    let (now, over) = (Duration::from_secs(1), Duration::from_secs(10));
    assert_eq!(due(Cause::Ordered, 2, 8, now, over), 0);
    assert_eq!(due(Cause::Stopping, 2, 8, now, over), 8);
    assert_eq!(due(Cause::Stopping, 0, 7, Duration::ZERO, Duration::ZERO), 7);
}
