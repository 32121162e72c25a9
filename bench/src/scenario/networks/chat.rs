//! Messages that alice writes at fixed times, and what bob hears of them.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use skein_client::{ConversationId, Text};
use skein_testkit::raw::RawSession;
use skein_wire::pb::{self, body, event, server_frame};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout_at},
};

use super::{RATE_PER_SECOND, course::Course, scene::Scene};
use crate::{
    failure::Failure,
    pace::{Lane, Pace},
};

/// How long after the last was due messages may still arrive.
const GRACE: Duration = Duration::from_secs(120);
/// How long bob goes on listening when everything is there: something might come twice.
const LINGER: Duration = Duration::from_millis(500);

/// What bob has heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// When each message was due and when it came, since the beginning.
    pub(crate) messages: Vec<(Duration, Option<Duration>)>,
    /// How many came again, or were never written.
    pub(crate) doubled: u64,
}

/// Bob, listening.
pub(crate) struct Heard {
    notes: Arc<Mutex<Notes>>,
    missing: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

/// Notes what comes to bob.
pub(crate) struct Ear {
    begin: Instant,
    notes: Arc<Mutex<Notes>>,
    left: watch::Sender<u64>,
}

/// Alice writes a message each time one is due.
pub(crate) fn write(scene: &Scene, mut lane: Lane) -> JoinHandle<Result<(), Failure>> {
    let (alice, conversation) = (scene.alice.clone(), scene.conversation);
    tokio::spawn(async move {
        while let Some(message) = lane.recv().await {
            let text = Text::parse(message.to_string()).expect("a number is a text");
            alice.send_text(conversation, text).await?;
        }
        Ok(())
    })
}

/// Messages that are due while people chat in a course.
pub(crate) fn pace(course: &Course) -> Pace {
    let messages = u64::from(RATE_PER_SECOND) * course.chat.as_secs();
    Pace::new(RATE_PER_SECOND, messages, 1)
}

impl Heard {
    /// Lets bob listen for the messages that are due, in this way.
    pub(crate) fn listen<Listening>(pace: Pace, listen: impl FnOnce(Ear) -> Listening) -> Self
    where
        Listening: Future<Output = ()> + Send + 'static,
    {
        let begin = pace.due(0);
        let due = |message| (pace.due(message) - begin, None);
        let notes = Notes { messages: (0..pace.messages()).map(due).collect(), doubled: 0 };
        let notes = Arc::new(Mutex::new(notes));
        let (left, missing) = watch::channel(pace.messages());
        let task = tokio::spawn(listen(Ear { begin, notes: Arc::clone(&notes), left }));
        Self { notes, missing, task }
    }

    /// Waits until everything is there or it is too late; gives what was heard.
    pub(crate) async fn complete(mut self, end: Instant) -> Result<Notes, Failure> {
        let wait = self.missing.wait_for(|missing| *missing == 0);
        // Whether it was in time, the notes tell.
        let in_time = timeout_at((end + GRACE).into(), wait).await.is_ok();
        if in_time {
            sleep(LINGER).await;
        }
        self.task.abort();
        Ok(self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Ear {
    /// A message has come.
    pub(crate) fn hear(&self, message: u64) {
        let now = Instant::now().saturating_duration_since(self.begin);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(message).ok();
        match place.and_then(|place| notes.messages.get_mut(place)) {
            Some((_, came @ None)) => {
                *came = Some(now);
                self.left.send_modify(|missing| *missing -= 1);
            }
            Some(_) | None => notes.doubled += 1,
        }
    }
}

/// What bob hears of a conversation.
pub(crate) async fn listen(mut bob: RawSession, conversation: ConversationId, ear: Ear) {
    let mut heard = HashSet::new();
    while let Ok(Some(frame)) = bob.receiver.frame::<pb::ServerFrame>().await {
        let Some((message, seq)) = message(frame, conversation.0) else { continue };
        // The server may tell of an entry again; a client drops those that it has.
        if heard.insert(seq) {
            ear.hear(message);
        }
    }
}

/// The number of a message of the bench, and of its entry in the log.
fn message(frame: pb::ServerFrame, conversation: u64) -> Option<(u64, u64)> {
    let Some(server_frame::Kind::Event(event)) = frame.kind else { return None };
    let Some(event::Kind::Appended(appended)) = event.kind else { return None };
    let entry = appended.entry?;
    match entry.body?.kind? {
        body::Kind::Text(text) if appended.log == conversation => {
            Some((text.text.parse().ok()?, entry.seq))
        }
        _ => None,
    }
}
