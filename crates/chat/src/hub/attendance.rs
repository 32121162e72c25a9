//! Who is present: tells the bus which accounts have a session here, and their contacts when one
//! comes or goes.
//!
//! One task does it, for whatever has changed since it looked last, so that a thousand sessions that
//! come at once are a few batches. An account that goes is said goodbye to a moment later, unless it
//! is back by then or present at another node: whoever moves or reconnects has not been away. What the
//! bus says of a node that was killed holds for up to [`LIFETIME`]; nobody is told of whom it takes for
//! present because of that, and who looks after that sees that it is not.

use std::{
    collections::{HashSet, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::stream::{self, StreamExt};
use skein_bus::{
    hint::{Hint, Topic},
    presence::Presence,
};
use skein_core::{
    id::{AccountId, LogId},
    port::directory::Term,
};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::Hub;

/// How long the bus believes this node without hearing again.
const LIFETIME: Duration = Duration::from_secs(60);
/// How often the node says it again: twice within the lifetime it may fail.
const RENEW_INTERVAL: Duration = Duration::from_secs(20);
/// Accounts in one call.
const BATCH_MAX: usize = 500;
/// Accounts whose contacts are told at a time.
const ANNOUNCING_MAX: usize = 8;
/// How long an account is gone before its contacts are told.
const FAREWELL_AFTER: Duration = Duration::from_secs(1);

/// What is to be told about the accounts of this node.
pub(super) struct Attendance {
    presence: Arc<dyn Presence>,
    node: String,
    register: Mutex<Register>,
    news: Notify,
}

#[derive(Default)]
struct Register {
    term: Option<Term>,
    /// Accounts whose first session came, or whose last one went. Each is in here once.
    changed: HashSet<AccountId>,
    /// Accounts that went, until their contacts are told.
    going: HashSet<AccountId>,
    /// When that is due.
    farewells: VecDeque<(Instant, AccountId)>,
    /// Everyone is to be entered again.
    renew: bool,
}

impl Attendance {
    pub(super) fn new(presence: Arc<dyn Presence>, node: String) -> Self {
        Self { presence, node, register: Mutex::default(), news: Notify::new() }
    }

    /// An account's first session here has come, or its last has gone.
    pub(super) fn changed(&self, account: AccountId) {
        self.register().changed.insert(account);
        self.news.notify_one();
    }

    /// What the bus knows may be out of date.
    pub(super) fn renew(&self) {
        self.register().renew = true;
        self.news.notify_one();
    }

    /// From now on the node speaks with this term.
    pub(super) fn begin_term(&self, term: Term) {
        self.register().term = Some(term);
        self.renew();
    }

    async fn enter(&self, accounts: &[AccountId]) {
        let Some(term) = self.register().term else { return };
        match self.presence.enter(accounts, &self.node, term, LIFETIME).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(term = term.0, "another process speaks for this node"),
            Err(error) => tracing::debug!(%error, "presence is told later"),
        }
    }

    async fn leave(&self, account: AccountId) {
        let Some(term) = self.register().term else { return };
        if let Err(error) = self.presence.leave(account, &self.node, term).await {
            tracing::debug!(%error, "presence runs out by itself");
        }
    }

    /// Which of the accounts are present at some node, as far as the bus can say.
    async fn present(&self, accounts: &[AccountId]) -> Vec<bool> {
        let mut present = Vec::with_capacity(accounts.len());
        for batch in accounts.chunks(BATCH_MAX) {
            match self.presence.present(batch).await {
                Ok(batch) => present.extend(batch),
                Err(error) => {
                    tracing::debug!(%error, "only this node's presence is known");
                    break;
                }
            }
        }
        present.resize(accounts.len(), false);
        present
    }

    fn next_farewell(&self) -> Option<Instant> {
        self.register().farewells.front().map(|(due, _)| *due)
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        // Each use leaves the register whole.
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// From now on the node speaks with this term.
    pub(crate) fn begin_term(&self, term: Term) {
        self.attendance.begin_term(term);
    }

    /// Whether each of the accounts has a session here or, as far as is known, at another node.
    pub(crate) async fn present(&self, accounts: &[AccountId]) -> Vec<bool> {
        let elsewhere = self.attendance.present(accounts).await;
        let state = self.state();
        let online = |account| state.is_online(account);
        accounts.iter().zip(elsewhere).map(|(account, there)| there || online(*account)).collect()
    }

    /// Keeps the bus and the contacts informed.
    pub(crate) async fn keep_attendance(self: Arc<Self>) {
        let mut renewal = interval(RENEW_INTERVAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let farewell = self.attendance.next_farewell();
            tokio::select! {
                () = self.attendance.news.notified() => {}
                _ = renewal.tick() => self.attendance.register().renew = true,
                () = sleep_until(farewell.unwrap_or_else(Instant::now)), if farewell.is_some() => {}
            }
            self.tell_changes().await;
            self.say_farewells(Instant::now()).await;
            if mem::take(&mut self.attendance.register().renew) {
                self.enter_everyone().await;
            }
        }
    }

    /// Leaves nobody behind whose sessions have ended, when the node goes.
    pub(crate) async fn leave_attendance(&self) {
        self.tell_changes().await;
        self.say_farewells(Instant::now() + FAREWELL_AFTER).await;
    }

    async fn tell_changes(&self) {
        let changed: Vec<_> = self.attendance.register().changed.drain().collect();
        for batch in changed.chunks(BATCH_MAX) {
            let (came, went) = self.sort_changes(batch);
            self.welcome_back(came).await;
            for account in went {
                self.attendance.leave(account).await;
                let mut register = self.attendance.register();
                if register.going.insert(account) {
                    register.farewells.push_back((Instant::now() + FAREWELL_AFTER, account));
                }
            }
        }
    }

    /// Tells those who came from those who went. An account that did both has done nothing.
    fn sort_changes(&self, changed: &[AccountId]) -> (Vec<AccountId>, Vec<AccountId>) {
        let mut state = self.state();
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for account in changed {
            let Some(shared) = state.accounts.get_mut(account) else { continue };
            let online = !shared.sessions.is_empty();
            if mem::replace(&mut shared.announced, online) != online {
                if online { &mut came } else { &mut went }.push(*account);
            }
        }
        (came, went)
    }

    async fn welcome_back(&self, came: Vec<AccountId>) {
        if came.is_empty() {
            return;
        }
        // Asked before it is entered: whoever is present already is no news.
        let known = self.attendance.present(&came).await;
        self.attendance.enter(&came).await;
        let news: Vec<_> = {
            let mut register = self.attendance.register();
            let known = came.into_iter().zip(known);
            known
                .filter_map(|(account, known)| {
                    let was_going = register.going.remove(&account);
                    (!known && !was_going).then_some(account)
                })
                .collect()
        };
        self.announce_all(news, true).await;
    }

    async fn say_farewells(&self, until: Instant) {
        let due: Vec<_> = {
            let mut register = self.attendance.register();
            let mut due = Vec::new();
            while let Some((at, account)) = register.farewells.front().copied()
                && at <= until
            {
                register.farewells.pop_front();
                // One that is back has been taken out.
                if register.going.remove(&account) {
                    due.push(account);
                }
            }
            due
        };
        if due.is_empty() {
            return;
        }
        let elsewhere = self.present(&due).await;
        let gone = due.into_iter().zip(elsewhere).filter(|(_, there)| !there);
        self.announce_all(gone.map(|(account, _)| account).collect(), false).await;
    }

    async fn enter_everyone(&self) {
        let here: Vec<_> = {
            let state = self.state();
            let here = state.accounts.iter().filter(|(_, shared)| !shared.sessions.is_empty());
            here.map(|(account, _)| *account).collect()
        };
        for batch in here.chunks(BATCH_MAX) {
            self.attendance.enter(batch).await;
        }
    }

    async fn announce_all(&self, accounts: Vec<AccountId>, online: bool) {
        let each = stream::iter(accounts);
        each.for_each_concurrent(ANNOUNCING_MAX, |account| self.announce(account, online)).await;
    }

    /// Tells the contacts of an account that it came or went. Whoever was removed shares a
    /// conversation with it still, and learns nothing.
    async fn announce(&self, account: AccountId, online: bool) {
        let contacts = match self.store.contacts(account).await {
            Ok(contacts) => contacts,
            Err(error) => {
                let refusal = error.into_refusal();
                tracing::warn!(error.code = %refusal.code, "could not tell who is online");
                return;
            }
        };
        for contact in contacts {
            // It may have come back, or gone again, meanwhile: then that news is on its way.
            if self.is_online(account) != online {
                return;
            }
            let topic = Topic::Log(LogId::Conversation(contact.conversation));
            self.hints.publish(topic, Hint::Presence { account, online }).await;
        }
    }
}
