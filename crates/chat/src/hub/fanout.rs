//! What the bus delivers, passed on to the sessions of this node.
//!
//! What takes the store or the bus is an errand, and done beside: deliveries do not wait for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use skein_bus::hint::{Delivery, EndReason, Hint, Topic};
use skein_core::{
    entry::{Body, ContactStepKind, Entry},
    id::{AccountId, ConversationId, LogId},
};
use skein_wire::{close::CloseCode, entry::log_number, frame, pb};
use tokio::{sync::mpsc, time};

use super::Hub;
use crate::metric;

/// How often accounts that are gone are looked at, to be forgotten.
const REST_INTERVAL: Duration = Duration::from_secs(30);

/// Errands that wait. Where there are more, every session looks for itself.
const ERRANDS_MAX: usize = 1_024;
/// Errands at a time.
const ERRANDS_UNDER_WAY_MAX: usize = 8;

/// What a delivery asks for that takes the store or the bus.
enum Errand {
    /// The account's sessions live on this log from now on.
    Follow(AccountId, LogId),
    /// Some of the account's logins have ended.
    End(AccountId, EndReason),
}

impl Hub {
    /// Passes on what the bus delivers, until the bus is gone.
    pub(crate) async fn run(self: Arc<Self>, deliveries: mpsc::Receiver<Delivery>) {
        let (errands_in, mut errands) = mpsc::channel(ERRANDS_MAX);
        let errands = stream::poll_fn(|context| errands.poll_recv(context));
        let running = errands.for_each_concurrent(ERRANDS_UNDER_WAY_MAX, |errand| {
            let hub = Arc::clone(&self);
            async move { hub.run_errand(errand).await }
        });
        tokio::join!(self.deliver_all(deliveries, errands_in), running);
    }

    async fn run_errand(&self, errand: Errand) {
        match errand {
            Errand::Follow(account, log) => self.follow_new(account, log).await,
            Errand::End(account, reason) => self.end_sessions(account, &reason).await,
        }
    }

    async fn deliver_all(
        &self,
        mut deliveries: mpsc::Receiver<Delivery>,
        errands: mpsc::Sender<Errand>,
    ) {
        let mut rest = time::interval(REST_INTERVAL);
        loop {
            tokio::select! {
                delivery = deliveries.recv() => match delivery {
                    Some(delivery) => self.deliver(delivery, &errands),
                    None => return,
                },
                _ = rest.tick() => self.forget_rested(),
            }
        }
    }

    fn deliver(&self, delivery: Delivery, errands: &mpsc::Sender<Errand>) {
        match delivery {
            Delivery::Hint(_, Hint::Appended(log, entry)) => self.pass_on(log, &entry, errands),
            Delivery::Hint(Topic::Log(log), Hint::Presence { account, online }) => {
                let presence = pb::Presence { account: account.0, online };
                let frame = event(pb::event::Kind::Presence(presence));
                self.send(log, Some(account), &frame);
            }
            Delivery::Hint(Topic::Log(log), Hint::Coming(coming)) => {
                // Whoever sends it knows.
                let frame = event(pb::event::Kind::Coming((*coming).clone().into()));
                self.send(log, Some(coming.uploader), &frame);
            }
            Delivery::Hint(_, Hint::SessionsEnded { account, reason }) => {
                self.leave_to(errands, Errand::End(account, reason));
            }
            Delivery::Hint(Topic::Account(_), Hint::Presence { .. } | Hint::Coming(_)) => {}
            // Hints were lost: every session compares its logs with the store (invariant 4). One of
            // them may have been that a login has ended.
            Delivery::Missed => self.suspect(),
        }
    }

    fn leave_to(&self, errands: &mpsc::Sender<Errand>, errand: Errand) {
        if errands.try_send(errand).is_err() {
            self.suspect();
        }
    }

    fn pass_on(&self, log: LogId, entry: &Entry, errands: &mpsc::Sender<Errand>) {
        let appended = pb::Appended { log: log_number(log), entry: Some(entry.clone().into()) };
        self.send(log, None, &event(pb::event::Kind::Appended(appended)));
        metric::delivered(entry.at, self.clock.now());
        if let (LogId::Personal(account), Some(conversation)) = (log, joined(entry)) {
            let log = LogId::Conversation(conversation);
            self.leave_to(errands, Errand::Follow(account, log));
        }
    }

    /// The account's sessions live on another log from now on. What was appended to it before they
    /// did they learn by comparing heads.
    async fn follow_new(&self, account: AccountId, log: LogId) {
        let numbers: Vec<_> = match self.state().accounts.get(&account) {
            Some(shared) => shared.sessions.iter().copied().collect(),
            None => return,
        };
        for number in numbers {
            self.follow(number, &[log]).await;
            if let Some(live) = self.state().sessions.get(&number) {
                live.queue.set_behind();
            }
        }
    }

    /// Ends the account's sessions whose login has ended. Which those are the store says and not
    /// the hint, which may come late: when the same device has logged in again.
    async fn end_sessions(&self, account: AccountId, reason: &EndReason) {
        let (code, message) = match reason {
            EndReason::Kicked { by } => (CloseCode::Kicked, format!("you logged in on {by}")),
            EndReason::Revoked => (CloseCode::Unauthorised, "this login has ended".to_owned()),
        };
        let sessions: Vec<_> = {
            let state = self.state();
            let Some(shared) = state.accounts.get(&account) else { return };
            let live = shared.sessions.iter().filter_map(|number| state.sessions.get(number));
            live.map(|live| (live.token, live.connection.clone())).collect()
        };
        for (token, connection) in sessions {
            match self.store.identify(&token, self.clock.now()).await {
                Ok(Some(_)) => {}
                Ok(None) => connection.close(code, &message),
                Err(error) => {
                    // The session looks for itself each minute.
                    let refusal = error.into_refusal();
                    tracing::warn!(error.code = %refusal.code, "a session may have to end");
                }
            }
        }
    }

    /// Sends an event to the sessions on a log, but not to those of `except`.
    fn send(&self, log: LogId, except: Option<AccountId>, frame: &Bytes) {
        let state = self.state();
        let Some(followers) = state.logs.get(&log) else { return };
        for live in followers.iter().filter_map(|number| state.sessions.get(number)) {
            if except != Some(live.account) {
                live.queue.event(frame);
            }
        }
    }
}

/// The conversation that an entry of a personal log brings.
fn joined(entry: &Entry) -> Option<ConversationId> {
    match &entry.body {
        Body::Contact(step) if step.kind == ContactStepKind::Accepted => step.conversation,
        _ => None,
    }
}

/// An event as a frame, encoded once for all sessions that get it.
pub(crate) fn event(kind: pb::event::Kind) -> Bytes {
    let event = pb::Event { kind: Some(kind) };
    frame::encode(&pb::ServerFrame { kind: Some(pb::server_frame::Kind::Event(event)) })
}
