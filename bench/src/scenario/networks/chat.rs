//! Messages that alice writes at fixed times, and what bob hears of them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use skein_client::Text;
use skein_testkit::raw::RawSession;
use skein_wire::pb::{self, body, event, server_frame};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout_at},
};

use super::scene::Scene;
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

impl Heard {
    /// Lets bob listen for so many messages.
    pub(crate) fn listen(scene: &Scene, bob: RawSession, pace: Pace, messages: u64) -> Self {
        let begin = pace.due(0);
        let due = |message| (pace.due(message) - begin, None);
        let notes = Notes { messages: (0..messages).map(due).collect(), doubled: 0 };
        let notes = Arc::new(Mutex::new(notes));
        let (left, missing) = watch::channel(messages);
        let conversation = scene.conversation.0;
        let task = tokio::spawn(listen(bob, conversation, begin, Arc::clone(&notes), left));
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

async fn listen(
    mut bob: RawSession,
    conversation: u64,
    begin: Instant,
    notes: Arc<Mutex<Notes>>,
    left: watch::Sender<u64>,
) {
    let mut heard = HashSet::new();
    while let Ok(Some(frame)) = bob.receiver.frame::<pb::ServerFrame>().await {
        let Some((message, seq)) = message(frame, conversation) else { continue };
        if !heard.insert(seq) {
            // The server may tell of an entry again; a client drops those that it has.
            continue;
        }
        let now = Instant::now().saturating_duration_since(begin);
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(message).ok();
        match place.and_then(|place| notes.messages.get_mut(place)) {
            Some((_, came @ None)) => {
                *came = Some(now);
                left.send_modify(|missing| *missing -= 1);
            }
            Some(_) | None => notes.doubled += 1,
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
