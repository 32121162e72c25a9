//! Who has a session on this node, and which logs those sessions live on. Hints from the bus come
//! in at `fanout` and go out to the sessions that they concern.
//!
//! The hub holds only sessions that are connected: when one ends, its entry, its queue and the
//! topics that only it lived on are gone. What an account has left of its request rate is kept a
//! little longer, so that coming back does not refill it.

mod attendance;
mod fanout;
mod review;

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use skein_bus::{
    hint::{Delivery, Hints, Subscription, Topic, Topics},
    presence::Presence,
};
use skein_core::{
    account::Identity,
    bucket::TokenBucket,
    id::{AccountId, LogId},
    refusal::{Code, Refusal},
    time::{Clock, Timestamp},
};
use skein_net::Connection;
use skein_store::{Store, token::TokenHash};
use skein_wire::close::CloseCode;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::attendance::Attendance;
pub(crate) use self::fanout::event;
use crate::{config::Config, following::Followers, metric, queue::Queue};

/// Deliveries of the bus that wait for this node. Beyond it every session is behind.
const DELIVERIES_MAX: usize = 4096;
/// Sessions that compare their heads with the store at a time. When the bus has lost something all
/// of them want to.
const COMPARING_MAX: usize = 32;

/// A session of which nothing has been heard for this long makes room for another of its account.
/// Clients give a sign of life every 20 seconds at the latest; most that are silent for longer have
/// come back in another way.
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// A session's number on this node.
pub(crate) type SessionNumber = u64;

/// The sessions of one node.
pub struct Hub {
    state: Mutex<State>,
    /// Told under the lock of the state, so that the two never disagree about what is followed.
    topics: Arc<dyn Topics>,
    hints: Arc<dyn Hints>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: Config,
    attendance: Attendance,
    /// Logins may have ended without a word.
    review: Notify,
    /// Turns to compare heads with the store.
    pub(crate) comparing: Semaphore,
    /// What each account follows of files that are still coming.
    pub(crate) followers: Arc<Followers>,
    /// The node goes away and lets nobody in.
    draining: CancellationToken,
}

#[derive(Default)]
struct State {
    next_number: SessionNumber,
    sessions: HashMap<SessionNumber, Live>,
    accounts: HashMap<AccountId, Account>,
    logs: HashMap<LogId, HashSet<SessionNumber>>,
}

/// A connected session.
struct Live {
    account: AccountId,
    token: TokenHash,
    connection: Connection,
    queue: Queue,
    logs: HashSet<LogId>,
}

/// What an account's sessions share. It may outlive them until its rate has recovered.
struct Account {
    sessions: HashSet<SessionNumber>,
    requests: TokenBucket,
    /// Whether its contacts have been told that it is here, or need not be.
    announced: bool,
}

/// Where a further session of an account goes.
enum Room {
    Free,
    /// The account has as many as it may, but has not heard of this one for long.
    InPlaceOf(SessionNumber),
}

impl State {
    fn is_online(&self, account: AccountId) -> bool {
        self.accounts.get(&account).is_some_and(|shared| !shared.sessions.is_empty())
    }
}

fn too_often(wait: Duration) -> Refusal {
    Refusal::limited("this account connects too often; slow down", wait)
}

impl Hub {
    pub(crate) fn new(
        config: Config,
        store: Arc<dyn Store>,
        hints: Arc<dyn Hints>,
        presence: Arc<dyn Presence>,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, mpsc::Receiver<Delivery>) {
        let Subscription { topics, deliveries } = hints.subscribe(DELIVERIES_MAX);
        let attendance = Attendance::new(presence, config.name.clone());
        let hub = Self {
            state: Mutex::default(),
            topics,
            hints,
            store,
            clock,
            config,
            attendance,
            review: Notify::new(),
            comparing: Semaphore::new(COMPARING_MAX),
            followers: Arc::default(),
            draining: CancellationToken::new(),
        };
        (Arc::new(hub), deliveries)
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
        self.state().is_online(account)
    }

    /// Whether the node goes away and lets nobody in.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// From now on nobody is let in.
    pub(crate) fn begin_drain(&self) {
        self.draining.cancel();
    }

    /// Resolves once nobody is let in any more.
    pub(crate) async fn drain_begun(&self) {
        self.draining.cancelled().await;
    }

    pub(crate) fn session_numbers(&self) -> Vec<SessionNumber> {
        self.state().sessions.keys().copied().collect()
    }

    /// Puts an event into a session's queue, if there is room.
    pub(crate) fn offer(&self, number: SessionNumber, frame: &Bytes) -> bool {
        self.state().sessions.get(&number).is_some_and(|live| live.queue.offer(frame))
    }

    /// Enters a session that has logged in. If its account has as many as it may, one of which
    /// nothing has been heard for long ends.
    ///
    /// # Errors
    /// `draining`; `too_many` sessions of this account or in all; `rate_limited`.
    pub(crate) async fn enter(
        &self,
        identity: &Identity,
        token: TokenHash,
        connection: Connection,
        queue: Queue,
    ) -> Result<SessionNumber, Refusal> {
        let account = identity.account.id;
        let (number, first, watched) = {
            let mut state = self.state();
            let room = self.room(&state, account)?;
            let now = self.clock.now();
            let number = state.next_number;
            let shared = state.accounts.entry(account).or_insert_with(|| self.account(now));
            // A hello reads more of the store than most requests do.
            shared.requests.take(now).map_err(too_often)?;
            let first = shared.sessions.is_empty();
            shared.sessions.insert(number);
            state.next_number += 1;
            let logs = HashSet::new();
            state.sessions.insert(number, Live { account, token, connection, queue, logs });
            metric::sessions(state.sessions.len());
            if let Room::InPlaceOf(silent) = room {
                // After the other has entered, so that the account is here throughout.
                self.give_up(&mut state, silent);
            }
            (number, first, self.topics.watch(&[Topic::Account(account)]))
        };
        if first {
            self.attendance.changed(account);
        }
        watched.await;
        Ok(number)
    }

    /// Whether a session of this account would be let in now. For one that may be recorded packets
    /// that are sent again: it takes nothing of the account's rate.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub(crate) fn would_enter(&self, account: AccountId) -> Result<(), Refusal> {
        let state = self.state();
        self.room(&state, account)?;
        let requests = state.accounts.get(&account).map(|shared| shared.requests.clone());
        drop(state);
        match requests {
            Some(mut requests) => requests.take(self.clock.now()).map_err(too_often),
            None => Ok(()),
        }
    }

    /// Whether a session of an account that has none would be let in now.
    ///
    /// # Errors
    /// `draining`; `too_many` sessions in all.
    pub fn is_open(&self) -> Result<(), Refusal> {
        self.lets_in(&self.state())
    }

    fn room(&self, state: &State, account: AccountId) -> Result<Room, Refusal> {
        self.lets_in(state)?;
        let Some(shared) = state.accounts.get(&account) else { return Ok(Room::Free) };
        if shared.sessions.len() < self.config.account_sessions_max {
            return Ok(Room::Free);
        }
        let silence = |number: &SessionNumber| {
            let live = state.sessions.get(number)?;
            Some((live.connection.silent_for(), Reverse(*number)))
        };
        match shared.sessions.iter().filter_map(silence).max() {
            Some((silent, Reverse(number))) if silent >= SILENT_AFTER => {
                Ok(Room::InPlaceOf(number))
            }
            _ => Err(Refusal::new(Code::TooMany, "this account has too many sessions")),
        }
    }

    /// Ends a session for another's sake. Its client, should it still be there, comes back.
    fn give_up(&self, state: &mut State, number: SessionNumber) {
        let Some(live) = state.sessions.get(&number) else { return };
        tracing::debug!(session.number = number, "a silent session makes room for another");
        live.connection.close(CloseCode::TimedOut, "nothing was heard of this session for long");
        self.topics.unwatch(&self.remove(state, number));
    }

    fn lets_in(&self, state: &State) -> Result<(), Refusal> {
        if self.is_draining() {
            let message = "the server is going away; come back soon";
            return Err(Refusal::new(Code::Draining, message));
        }
        if state.sessions.len() >= self.config.sessions_max {
            return Err(Refusal::new(Code::TooMany, "this server is full; try again later"));
        }
        Ok(())
    }

    /// Makes a session live on these logs. From when this returns it gets their entries.
    ///
    /// The bus is asked to confirm all of them, those that others follow already too: it may not have
    /// confirmed theirs yet, and whoever compares heads before that misses what comes in between.
    pub(crate) async fn follow(&self, number: SessionNumber, logs: &[LogId]) {
        let watched = {
            let mut guard = self.state();
            let state = &mut *guard;
            let Some(live) = state.sessions.get_mut(&number) else { return };
            for log in logs {
                live.logs.insert(*log);
                state.logs.entry(*log).or_default().insert(number);
            }
            let topics: Vec<_> = logs.iter().map(|log| Topic::Log(*log)).collect();
            self.topics.watch(&topics)
        };
        // Nobody else waits for this: the state is whole.
        watched.await;
    }

    /// Takes a session out, with everything that was kept for it.
    pub(crate) fn leave(&self, number: SessionNumber) {
        let mut state = self.state();
        self.topics.unwatch(&self.remove(&mut state, number));
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

    /// Takes a session out of the state. The topics that nobody here lives on any more.
    fn remove(&self, state: &mut State, number: SessionNumber) -> Vec<Topic> {
        let Some(live) = state.sessions.remove(&number) else { return Vec::new() };
        metric::sessions(state.sessions.len());
        let mut idle = Vec::new();
        for log in live.logs {
            if let Some(followers) = state.logs.get_mut(&log) {
                followers.remove(&number);
                if followers.is_empty() {
                    state.logs.remove(&log);
                    idle.push(Topic::Log(log));
                }
            }
        }
        if let Some(shared) = state.accounts.get_mut(&live.account) {
            shared.sessions.remove(&number);
            if shared.sessions.is_empty() {
                idle.push(Topic::Account(live.account));
                self.attendance.changed(live.account);
            }
        }
        idle
    }

    /// Forgets accounts that are gone, as everyone knows, and whose rate has recovered.
    fn forget_rested(&self) {
        let now = self.clock.now();
        self.state().accounts.retain(|_, shared| {
            !shared.sessions.is_empty() || shared.announced || !shared.requests.is_full(now)
        });
    }

    fn account(&self, now: Timestamp) -> Account {
        let Config { requests_per_second, requests_burst, .. } = self.config;
        let requests = TokenBucket::new(requests_per_second, requests_burst, now);
        Account { sessions: HashSet::new(), requests, announced: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
