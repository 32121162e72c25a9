//! The task that runs the session machine over real connections.
//!
//! It owns the machine and nothing else decides: commands and what the line brings go in, effects
//! come out and are carried out in order. What must be kept is kept before anyone hears of it.

mod beside;
mod dial;
mod inbox;
mod line;
mod network;
mod tell;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use skein_core::{
    entry::Draft,
    id::{EntryId, LogId, Seq},
    port::directory::ChatNode,
    refusal::Refusal,
    sync::{Effect, Link, Session},
    time::Timestamp,
};
use skein_net::{Connection, dial::Dialer};
use skein_wire::{close::CloseCode, entry::log_number, pb};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::{
    beside::{Beside, Former},
    line::{Dialing, Line, News},
    network::Network,
};
use crate::{
    Error, Event, Status,
    gate::Gate,
    home::{Change, Home, Login},
};

/// Commands that wait for the driver.
const COMMANDS_MAX: usize = 64;
/// Requests of the application that wait for an answer.
const ASKED_MAX: usize = 64;

/// How long the last packets of a connection may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// What the application wants of the driver.
pub(crate) enum Command {
    /// Send a draft that is kept already; say what became of it.
    Send(Draft, oneshot::Sender<Result<Seq, Refusal>>),
    /// Ask the server something.
    Ask(pb::request::Kind, oneshot::Sender<Result<pb::reply::Kind, NotAsked>>),
    /// Do not sit out a wait.
    Nudge,
    /// The device has another network.
    NetworkChanged,
    /// Disconnect and end.
    Close,
}

/// There was no connection, or it was lost before the answer: ask again.
#[derive(Debug)]
pub(crate) struct NotAsked;

/// How the application reaches the driver. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    /// The connection of the live session, for transfers.
    pub(crate) connection: watch::Receiver<Option<Connection>>,
}

/// What a driver works with.
pub(crate) struct Parts {
    pub(crate) session: Session,
    pub(crate) home: Home,
    pub(crate) gate: Gate,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) login: Login,
    pub(crate) events: broadcast::Sender<Event>,
}

struct Driver {
    parts: Parts,
    started: Instant,
    commands: mpsc::Receiver<Command>,
    /// What the tasks of the line say, with the number of the line that they speak for.
    news: mpsc::Receiver<(u64, News)>,
    news_in: mpsc::Sender<(u64, News)>,
    line: Option<Line>,
    /// What makes the line in use, until it is there.
    dialing: Option<Dialing>,
    /// The number of the line in use. What comes of another one is dropped, but of the one beside.
    generation: u64,
    /// Counts lines.
    lines: u64,
    /// A line that may take the place of the one in use.
    beside: Option<Beside>,
    /// The line whose place was taken, while it may still bring answers.
    former: Option<Former>,
    asked: HashMap<u64, Asked>,
    requests: u64,
    network: Network,
    sending: HashMap<EntryId, oneshot::Sender<Result<Seq, Refusal>>>,
    /// Why there is no connection, in a sentence.
    trouble: String,
    status: watch::Sender<Status>,
    connection: watch::Sender<Option<Connection>>,
}

/// What a request was about.
enum Asked {
    Draft(EntryId),
    Page(LogId, Seq),
    Application(oneshot::Sender<Result<pb::reply::Kind, NotAsked>>),
}

/// Starts a driver that connects at once. It ends when it is closed, or when all handles are gone.
pub(crate) fn start(parts: Parts) -> Handle {
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let (news_in, news) = mpsc::channel(line::NEWS_MAX);
    let (status_in, status) = watch::channel(Status::not_asked());
    let (connection_in, connection) = watch::channel(None);
    let driver = Driver {
        parts,
        started: Instant::now(),
        commands,
        news,
        news_in,
        line: None,
        dialing: None,
        generation: 0,
        lines: 0,
        beside: None,
        former: None,
        asked: HashMap::new(),
        requests: 0,
        network: Network::watch(),
        sending: HashMap::new(),
        trouble: String::new(),
        status: status_in,
        connection: connection_in,
    };
    tokio::spawn(driver.run());
    Handle { commands: commands_in, status, connection }
}

impl Driver {
    async fn run(mut self) {
        self.parts.session.connect();
        let mut fit = self.take_drafts().await;
        loop {
            if fit.is_ok() {
                fit = self.carry_out().await;
            }
            if let Err(error) = &fit {
                tracing::error!("the session ends: {error}");
                let reason = error.to_string();
                self.publish(Status::Broken { reason });
                break;
            }
            let due = self.parts.session.poll_timeout(self.now());
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Close) | None => break,
                    Some(command) => self.obey(command),
                },
                news = self.news.recv() => {
                    if let Some((generation, news)) = news {
                        self.hear(generation, news).await;
                    }
                }
                () = self.network.interfaces.changed() => self.interfaces_changed(),
                () = sleep_until(self.started, due) => {
                    let now = self.now();
                    self.parts.session.handle_timeout(now);
                }
            }
        }
        self.hang_up();
        self.hang_up_beside();
        // The server learns that this was on purpose, if it is there to learn it.
        tokio::time::timeout(FAREWELL_TIMEOUT, self.parts.dialer.idle()).await.ok();
    }

    /// Takes what was written before this driver could be reached. What is written from now on comes
    /// as a command, and what comes as both is one.
    async fn take_drafts(&mut self) -> Result<(), Error> {
        for draft in self.parts.home.drafts().await? {
            let now = self.now();
            self.parts.session.enqueue(draft, now)?;
        }
        Ok(())
    }

    /// Milliseconds since the driver started: a clock that no one can turn.
    fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed().as_millis();
        Timestamp(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Send(draft, done) => {
                let id = draft.id;
                if matches!(self.parts.session.link(), Link::Stopped(_)) {
                    return;
                }
                // It may have been among those on disk when this driver started.
                if !self.parts.session.outbox().holds(id)
                    && let Err(full) = self.parts.session.enqueue(draft, now)
                {
                    // It is kept: the next process sends it.
                    tracing::warn!("a message waits for the next connection: {full}");
                    return;
                }
                self.sending.insert(id, done);
            }
            Command::Ask(kind, answer) => self.ask(kind, answer),
            Command::Nudge => self.parts.session.nudge(now),
            Command::NetworkChanged => self.network_changed(),
            Command::Close => {}
        }
        // Whoever gave up waiting for its message is forgotten.
        self.sending.retain(|_, done| !done.is_closed());
    }

    fn ask(
        &mut self,
        kind: pb::request::Kind,
        answer: oneshot::Sender<Result<pb::reply::Kind, NotAsked>>,
    ) {
        let live = matches!(self.parts.session.link(), Link::Live { .. });
        let asked = |asked: &&Asked| matches!(asked, Asked::Application(_));
        if live && self.asked.values().filter(asked).count() < ASKED_MAX {
            self.request(kind, Asked::Application(answer));
        } else {
            answer.send(Err(NotAsked)).ok();
        }
    }

    /// Does everything that the machine wants done.
    async fn carry_out(&mut self) -> Result<(), Error> {
        let mut changes = Vec::new();
        let mut events = Vec::new();
        while let Some(effect) = self.parts.session.poll_effect() {
            match effect {
                Effect::Store { log, entry } => {
                    changes.push(Change::Entry(log, entry.clone()));
                    events.push(Event::Entry { log, entry });
                }
                Effect::Acked { id, conversation, seq } => {
                    changes.push(Change::Acked(id));
                    events.push(Event::Sent { id, conversation, seq });
                }
                Effect::Rejected { id, refusal } => {
                    changes.push(Change::Rejected(id, refusal.clone()));
                    events.push(Event::Rejected { id, refusal });
                }
                effect => self.act(effect),
            }
        }
        if !changes.is_empty() {
            self.parts.home.apply(changes).await?;
        }
        for event in events {
            self.tell(event);
        }
        self.publish_link();
        Ok(())
    }

    /// Does one thing that leaves nothing on disk.
    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Dial { target } => self.dial(target),
            Effect::SendHello { cursors } => {
                let hello = self.hello(cursors);
                if let Some(line) = &mut self.line {
                    line.greet(hello);
                }
            }
            Effect::Listen => self.listen(),
            Effect::Move => self.move_sockets(),
            Effect::Probe => self.probe(),
            Effect::DialBeside { to } => self.dial_beside(to),
            Effect::SendHelloBeside { cursors } => self.greet_beside(cursors),
            Effect::Switch => self.switch(),
            Effect::HangupBeside => self.hang_up_beside(),
            Effect::SendDraft(draft) => {
                let id = draft.id;
                self.request(pb::request::Kind::Append(draft.into()), Asked::Draft(id));
            }
            Effect::ReadLog { log, after, limit } => {
                let read = pb::ReadLog {
                    log: log_number(log),
                    after: after.0,
                    before: 0,
                    limit: u32::try_from(limit).unwrap_or(u32::MAX),
                };
                self.request(pb::request::Kind::ReadLog(read), Asked::Page(log, after));
            }
            Effect::Hangup | Effect::Lost(_) | Effect::Stopped(_) => self.hang_up(),
            // Those that keep something are gathered before; the link is published after.
            Effect::Store { .. }
            | Effect::Acked { .. }
            | Effect::Rejected { .. }
            | Effect::StateChanged => {}
        }
    }

    fn hello(&self, cursors: Vec<(LogId, Seq)>) -> pb::SessionOpen {
        let cursors =
            cursors.into_iter().map(|(log, seq)| pb::Cursor { log: log_number(log), seq: seq.0 });
        pb::SessionOpen {
            token: self.parts.login.token.clone(),
            cursors: cursors.collect(),
            client: concat!("skein/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    fn request(&mut self, kind: pb::request::Kind, asked: Asked) {
        let Some(line) = &self.line else { return };
        self.requests += 1;
        let id = self.requests;
        self.asked.insert(id, asked);
        line.send(pb::Request { id, kind: Some(kind) });
    }

    /// Lets go of the connection, and of everyone who waits for something over it.
    fn hang_up(&mut self) {
        self.generation = self.next_generation();
        self.dialing = None;
        if let Some(line) = self.line.take() {
            line.connection.close(CloseCode::Normal, "");
        }
        self.connection.send_replace(None);
        self.former = None;
        let_askers_go(&mut self.asked);
    }

    async fn moved(&mut self, node: ChatNode) {
        if node == self.parts.login.node {
            return;
        }
        self.parts.login.node = node.clone();
        if let Err(error) = self.parts.home.move_to(node).await {
            // The next process asks the gate itself.
            tracing::warn!("the chat node is not remembered: {error}");
        }
    }
}

/// No answer will come to what was asked. Whoever waits asks again.
fn let_askers_go(asked: &mut HashMap<u64, Asked>) {
    for (_, asked) in asked.drain() {
        if let Asked::Application(answer) = asked {
            answer.send(Err(NotAsked)).ok();
        }
    }
}

async fn sleep_until(started: Instant, due: Option<Timestamp>) {
    match due {
        Some(due) => {
            let at = started + due.since(Timestamp(0));
            tokio::time::sleep_until(at.into()).await;
        }
        None => std::future::pending().await,
    }
}
