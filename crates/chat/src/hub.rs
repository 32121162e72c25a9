//! Who has a session on this node, and which logs those sessions live on. Hints from the bus come
//! in here and go out to the sessions that they concern.
//!
//! The hub holds only sessions that are connected: when one ends, its entry, its queue and the
//! topics that only it lived on are gone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use skein_bus::hint::{Delivery, EndReason, Hint, Hints, Subscription, Topic, Topics};
use skein_core::{
    account::Identity,
    bucket::TokenBucket,
    entry::{Body, ContactStepKind, Entry},
    id::{AccountId, ConversationId, DeviceId, LogId, Seq},
    refusal::{Code, Refusal},
    time::{Clock, Timestamp},
};
use skein_net::Connection;
use skein_store::Store;
use skein_wire::{close::CloseCode, entry::log_number, frame, pb};
use tokio::sync::mpsc;

use crate::{config::Config, queue::Queue};

/// Deliveries of the bus that wait for this node. Beyond it the node compares heads.
pub(crate) const DELIVERIES_MAX: usize = 4096;
/// Logs whose heads are compared in one query.
const HEADS_BATCH: usize = 500;

/// A session's number on this node.
pub(crate) type SessionNumber = u64;

/// The sessions of one node.
pub struct Hub {
    state: Mutex<State>,
    topics: Arc<dyn Topics>,
    hints: Arc<dyn Hints>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: Config,
}

#[derive(Default)]
struct State {
    next_number: SessionNumber,
    sessions: HashMap<SessionNumber, Live>,
    accounts: HashMap<AccountId, Account>,
    logs: HashMap<LogId, Followed>,
}

/// A connected session.
struct Live {
    account: AccountId,
    device: DeviceId,
    connection: Connection,
    queue: Queue,
    logs: HashSet<LogId>,
}

/// What an account's sessions share.
struct Account {
    sessions: HashSet<SessionNumber>,
    requests: TokenBucket,
}

/// A log that sessions of this node live on.
struct Followed {
    sessions: HashSet<SessionNumber>,
    /// The last entry that was passed on, so that a comparison finds what was missed.
    head: Seq,
}

impl Followed {
    fn new() -> Self {
        Self { sessions: HashSet::new(), head: Seq::ZERO }
    }
}

impl Hub {
    pub(crate) fn new(
        config: Config,
        store: Arc<dyn Store>,
        hints: Arc<dyn Hints>,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, mpsc::Receiver<Delivery>) {
        let Subscription { topics, deliveries } = hints.subscribe(DELIVERIES_MAX);
        let state = Mutex::default();
        (Arc::new(Self { state, topics, hints, store, clock, config }), deliveries)
    }

    /// Sessions that are connected here.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.state().sessions.len()
    }

    /// Logs that sessions here live on.
    #[must_use]
    pub fn followed_logs(&self) -> usize {
        self.state().logs.len()
    }

    /// Whether the account has a session here.
    #[must_use]
    pub fn is_online(&self, account: AccountId) -> bool {
        self.state().accounts.contains_key(&account)
    }

    /// Enters a session that has logged in. Whether it is the account's first here.
    ///
    /// # Errors
    /// `too_many` sessions of this account or in all.
    pub(crate) async fn enter(
        &self,
        identity: &Identity,
        connection: Connection,
        queue: Queue,
    ) -> Result<(SessionNumber, bool), Refusal> {
        let account = identity.account.id;
        let (number, first) = {
            let mut state = self.state();
            if state.sessions.len() >= self.config.sessions_max {
                return Err(Refusal::new(Code::TooMany, "this server is full; try again later"));
            }
            let now = self.clock.now();
            let number = state.next_number;
            let shared = state.accounts.entry(account).or_insert_with(|| self.account(now));
            if shared.sessions.len() >= self.config.account_sessions_max {
                return Err(Refusal::new(Code::TooMany, "this account has too many sessions"));
            }
            let first = shared.sessions.is_empty();
            shared.sessions.insert(number);
            state.next_number += 1;
            let live =
                Live { account, device: identity.device, connection, queue, logs: HashSet::new() };
            state.sessions.insert(number, live);
            (number, first)
        };
        self.topics.watch(Topic::Account(account)).await;
        Ok((number, first))
    }

    /// Makes a session live on these logs. From when this returns it gets their entries.
    pub(crate) async fn follow(&self, number: SessionNumber, logs: &[LogId]) {
        for log in logs {
            {
                let mut state = self.state();
                let Some(live) = state.sessions.get_mut(&number) else { return };
                live.logs.insert(*log);
                let followed = state.logs.entry(*log).or_insert_with(Followed::new);
                followed.sessions.insert(number);
            }
            self.topics.watch(Topic::Log(*log)).await;
        }
    }

    /// Notes how far logs have come, so that a later comparison knows what is new.
    pub(crate) fn note_heads(&self, heads: &[(LogId, Seq)]) {
        let mut state = self.state();
        for (log, head) in heads {
            if let Some(followed) = state.logs.get_mut(log) {
                followed.head = followed.head.max(*head);
            }
        }
    }

    /// Takes a session out, with everything that was kept for it. Its account, if this was its last
    /// session here.
    pub(crate) async fn leave(&self, number: SessionNumber) -> Option<AccountId> {
        let (account, last, idle) = {
            let mut state = self.state();
            let live = state.sessions.remove(&number)?;
            let mut idle = Vec::new();
            for log in &live.logs {
                if let Some(followed) = state.logs.get_mut(log) {
                    followed.sessions.remove(&number);
                    if followed.sessions.is_empty() {
                        state.logs.remove(log);
                        idle.push(Topic::Log(*log));
                    }
                }
            }
            let shared = state.accounts.get_mut(&live.account)?;
            shared.sessions.remove(&number);
            let last = shared.sessions.is_empty();
            if last {
                state.accounts.remove(&live.account);
                idle.push(Topic::Account(live.account));
            }
            (live.account, last, idle)
        };
        for topic in idle {
            self.unwatch(topic).await;
        }
        last.then_some(account)
    }

    /// Tells the contacts of an account that it came or went. Whoever was removed shares a
    /// conversation with it still, and learns nothing.
    pub(crate) async fn announce(&self, account: AccountId, online: bool) {
        let contacts = match self.store.contacts(account).await {
            Ok(contacts) => contacts,
            Err(error) => {
                let refusal = error.into_refusal();
                tracing::warn!(error.code = %refusal.code, "could not tell who is online");
                return;
            }
        };
        for contact in contacts {
            let topic = Topic::Log(LogId::Conversation(contact.conversation));
            self.hints.publish(topic, Hint::Presence { account, online }).await;
        }
    }

    /// Takes one request out of what the account may make.
    ///
    /// # Errors
    /// How long until it may make one.
    pub(crate) fn take_request(&self, account: AccountId) -> Result<(), Duration> {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(shared) = state.accounts.get_mut(&account) else { return Ok(()) };
        shared.requests.take(now)
    }

    /// Passes on what the bus delivers, until the bus is gone.
    pub(crate) async fn run(self: Arc<Self>, mut deliveries: mpsc::Receiver<Delivery>) {
        while let Some(delivery) = deliveries.recv().await {
            match delivery {
                Delivery::Hint(_, Hint::Appended(log, entry)) => self.pass_on(log, &entry).await,
                Delivery::Hint(Topic::Log(log), Hint::Presence { account, online }) => {
                    self.tell_presence(log, account, online);
                }
                Delivery::Hint(_, Hint::SessionsEnded { account, devices, reason }) => {
                    self.end_sessions(account, devices.as_deref(), &reason);
                }
                Delivery::Hint(Topic::Account(_), Hint::Presence { .. }) => {}
                Delivery::Missed => self.compare_heads().await,
            }
        }
    }

    async fn pass_on(&self, log: LogId, entry: &Entry) {
        {
            let mut state = self.state();
            let Some(followed) = state.logs.get_mut(&log) else { return };
            followed.head = followed.head.max(entry.seq);
        }
        let appended = pb::Appended { log: log_number(log), entry: Some(entry.clone().into()) };
        self.send(log, None, &event(pb::event::Kind::Appended(appended)));
        if let (LogId::Personal(account), Some(conversation)) = (log, joined(entry)) {
            self.follow_new(account, conversation).await;
        }
    }

    /// The account's sessions live on a conversation from now on. What was appended to it before
    /// they did is told as a head to read up to.
    async fn follow_new(&self, account: AccountId, conversation: ConversationId) {
        let log = LogId::Conversation(conversation);
        let numbers: Vec<_> = match self.state().accounts.get(&account) {
            Some(shared) => shared.sessions.iter().copied().collect(),
            None => return,
        };
        for number in numbers {
            self.follow(number, &[log]).await;
        }
        self.tell_heads(&[log]).await;
    }

    fn tell_presence(&self, log: LogId, account: AccountId, online: bool) {
        let presence = pb::Presence { account: account.0, online };
        self.send(log, Some(account), &event(pb::event::Kind::Presence(presence)));
    }

    fn end_sessions(&self, account: AccountId, devices: Option<&[DeviceId]>, reason: &EndReason) {
        let (code, message) = match reason {
            EndReason::Kicked { by } => (CloseCode::Kicked, format!("you logged in on {by}")),
            EndReason::Revoked => (CloseCode::Unauthorised, "this login has ended".to_owned()),
        };
        let state = self.state();
        let Some(shared) = state.accounts.get(&account) else { return };
        for live in shared.sessions.iter().filter_map(|number| state.sessions.get(number)) {
            if devices.is_none_or(|devices| devices.contains(&live.device)) {
                live.connection.close(code, &message);
            }
        }
    }

    /// Hints were lost: finds out which logs have grown, and tells their sessions (invariant 4).
    async fn compare_heads(&self) {
        let logs: Vec<LogId> = self.state().logs.keys().copied().collect();
        for batch in logs.chunks(HEADS_BATCH) {
            self.tell_heads(batch).await;
        }
    }

    async fn tell_heads(&self, logs: &[LogId]) {
        let heads = match self.store.heads(logs).await {
            Ok(heads) => heads,
            Err(error) => {
                // Sessions learn of the entries with the next hint of each log.
                let refusal = error.into_refusal();
                tracing::warn!(error.code = %refusal.code, "could not compare heads");
                return;
            }
        };
        for (log, head) in logs.iter().zip(heads) {
            let grown = {
                let mut state = self.state();
                let Some(followed) = state.logs.get_mut(log) else { continue };
                let grown = head > followed.head;
                followed.head = followed.head.max(head);
                grown
            };
            if grown {
                let cursor = pb::Cursor { log: log_number(*log), seq: head.0 };
                let heads = pb::Heads { heads: vec![cursor] };
                self.send(*log, None, &event(pb::event::Kind::Behind(heads)));
            }
        }
    }

    /// Sends an event to the sessions on a log, but not to those of `except`.
    fn send(&self, log: LogId, except: Option<AccountId>, frame: &Bytes) {
        let state = self.state();
        let Some(followed) = state.logs.get(&log) else { return };
        for live in followed.sessions.iter().filter_map(|number| state.sessions.get(number)) {
            if except != Some(live.account) {
                live.queue.event(frame);
            }
        }
    }

    /// Stops watching a topic, unless a session came to it meanwhile.
    async fn unwatch(&self, topic: Topic) {
        let is_followed = |state: &State| match topic {
            Topic::Log(log) => state.logs.contains_key(&log),
            Topic::Account(account) => state.accounts.contains_key(&account),
        };
        if is_followed(&self.state()) {
            return;
        }
        self.topics.unwatch(topic).await;
        if is_followed(&self.state()) {
            self.topics.watch(topic).await;
        }
    }

    fn account(&self, now: Timestamp) -> Account {
        let Config { requests_per_second, requests_burst, .. } = self.config;
        Account {
            sessions: HashSet::new(),
            requests: TokenBucket::new(requests_per_second, requests_burst, now),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
