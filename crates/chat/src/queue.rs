//! What waits to be sent on one session (invariant 5).
//!
//! Replies wait for room, which holds back the session's own requests. Events do not wait: where
//! there is no room the event is dropped and the session is *behind*, and once the queue has
//! drained it is told the heads of its logs, so that it reads what it missed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::metric;

/// Frames that wait on one session.
const QUEUE_FRAMES_MAX: usize = 256;
/// Bytes that wait on one session. A frame that is longer still takes all the room.
const QUEUE_BYTES_MAX: usize = 4 * skein_wire::frame::FRAME_BYTES_MAX;

/// The filling end. Clones fill the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    frames: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    mark: Arc<Mark>,
}

/// The draining end.
#[derive(Debug)]
pub(crate) struct Drain {
    frames: mpsc::Receiver<Waiting>,
    mark: Arc<Mark>,
}

/// Whether events were dropped that nobody has told the client about.
#[derive(Debug, Default)]
struct Mark {
    behind: AtomicBool,
    /// Whether the session is counted as behind: from when events were dropped until the client has
    /// been told the heads.
    counted: AtomicBool,
    /// Wakes the draining end: room may be given back, and the queue be found empty, between the
    /// moment when there was none for an event and the moment when the mark is set.
    set: Notify,
}

/// A frame that waits, with the room it takes until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) frame: Bytes,
    _room: OwnedSemaphorePermit,
}

/// What to send next.
#[derive(Debug)]
pub(crate) enum Next {
    /// This frame.
    Frame(Waiting),
    /// Events were dropped, and what waited before them has been sent: tell the heads.
    Behind,
    /// Nothing, ever again.
    End,
}

/// An empty queue.
pub(crate) fn queue() -> (Queue, Drain) {
    let (filling, draining) = mpsc::channel(QUEUE_FRAMES_MAX);
    let mark = Arc::<Mark>::default();
    let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    let drain = Drain { frames: draining, mark: Arc::clone(&mark) };
    (Queue { frames: filling, room, mark }, drain)
}

impl Queue {
    /// Puts in a reply, waiting for room. False if the session has ended.
    pub(crate) async fn reply(&self, frame: Bytes) -> bool {
        let room = Arc::clone(&self.room).acquire_many_owned(size(&frame)).await;
        let Ok(room) = room else { return false };
        self.frames.send(Waiting { frame, _room: room }).await.is_ok()
    }

    /// Puts in an event, or marks the session as behind.
    pub(crate) fn event(&self, frame: &Bytes) {
        // While the mark stands the heads have yet to be told, and they will cover this event.
        if self.mark.behind.load(Ordering::Acquire) {
            return;
        }
        metric::event(self.frames.max_capacity() - self.frames.capacity());
        if !self.offer(frame) {
            metric::behind("full");
            self.set_behind();
        }
    }

    /// Puts in an event if there is room. Whether there was.
    pub(crate) fn offer(&self, frame: &Bytes) -> bool {
        let room = Arc::clone(&self.room).try_acquire_many_owned(size(frame)).ok();
        room.is_some_and(|room| {
            self.frames.try_send(Waiting { frame: frame.clone(), _room: room }).is_ok()
        })
    }
}

impl Queue {
    /// Makes the session compare its logs with the store, once what waits has been sent.
    pub(crate) fn set_behind(&self) {
        self.mark.set();
    }
}

impl Mark {
    fn set(&self) {
        self.behind.store(true, Ordering::Release);
        self.count(true);
        self.set.notify_one();
    }

    fn count(&self, behind: bool) {
        if self.counted.swap(behind, Ordering::AcqRel) != behind {
            metric::sessions_behind(behind);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.count(false);
    }
}

impl Drain {
    /// The heads could not be told now: they are wanted again after a while.
    pub(crate) fn retry_behind(&self, after: Duration) {
        let mark = Arc::clone(&self.mark);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            mark.set();
        });
    }

    /// The client has been told the heads.
    pub(crate) fn caught_up(&self) {
        self.mark.count(false);
        // Events were dropped again meanwhile, perhaps a moment before it was uncounted.
        if self.mark.behind.load(Ordering::Acquire) {
            self.mark.count(true);
        }
    }

    /// What to send next, once there is something. Can be cancelled.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            match self.frames.try_recv() {
                Ok(waiting) => return Next::Frame(waiting),
                Err(mpsc::error::TryRecvError::Disconnected) => return Next::End,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            if self.mark.behind.swap(false, Ordering::AcqRel) {
                return Next::Behind;
            }
            tokio::select! {
                biased;
                next = self.frames.recv() => return next.map_or(Next::End, Next::Frame),
                () = self.mark.set.notified() => {}
            }
        }
    }
}

fn size(frame: &Bytes) -> u32 {
    u32::try_from(frame.len().min(QUEUE_BYTES_MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_events_and_says_so_once_drained() {
        let (queue, mut drain) = queue();
        let event = Bytes::from_static(b"event");
        for _ in 0..QUEUE_FRAMES_MAX + 10 {
            queue.event(&event);
        }
        for _ in 0..QUEUE_FRAMES_MAX {
            assert!(matches!(drain.next().await, Next::Frame(_)));
        }
        let is_counted = |drain: &Drain| drain.mark.counted.load(Ordering::Relaxed);
        assert!(matches!(drain.next().await, Next::Behind));
        assert!(is_counted(&drain), "until it has been told");
        drain.caught_up();
        assert!(!is_counted(&drain));
        queue.set_behind();
        drain.caught_up();
        assert!(is_counted(&drain), "it is behind again");
        assert!(matches!(drain.next().await, Next::Behind));
        queue.event(&event);
        assert!(matches!(drain.next().await, Next::Frame(_)));
        drop(queue);
        assert!(matches!(drain.next().await, Next::End));
    }

    #[tokio::test]
    async fn who_waits_for_frames_learns_of_dropped_events() {
        let (queue, mut drain) = queue();
        let large = Bytes::from(vec![0; QUEUE_BYTES_MAX]);
        queue.event(&large);
        let sending = drain.next().await;
        // The queue is empty, and what it gave out still takes all the room.
        let mut waiting = std::pin::pin!(drain.next());
        assert!(futures::FutureExt::now_or_never(waiting.as_mut()).is_none());
        queue.event(&large);
        assert!(matches!(waiting.await, Next::Behind));
        drop(sending);
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let (queue, mut drain) = queue();
        let large = Bytes::from(vec![0; QUEUE_BYTES_MAX / 2]);
        queue.event(&large);
        queue.event(&large);
        queue.event(&large);
        let first = drain.next().await;
        let second = drain.next().await;
        assert!(matches!((&first, &second), (Next::Frame(_), Next::Frame(_))));
        assert!(matches!(drain.next().await, Next::Behind));
        drop((first, second));
        assert!(queue.reply(large).await);
    }
}
