//! The line beside the one in use: made when the node goes away or has fallen silent, and put in its
//! place once it is welcomed.

use std::{collections::HashMap, time::Duration};

use skein_core::{
    entry::Entry,
    id::{LogId, Seq},
    port::directory::ChatNode,
    sync::{Aside, Link},
};
use skein_net::Connection;
use skein_wire::{
    Malformed,
    close::CloseCode,
    pb::{self, reply, server_frame},
};

use super::{
    Asked, Driver, let_askers_go,
    line::{self, Dialing, Line, Manner, News},
    network::ROUTE_INTERVAL,
};

/// How long a node may take to finish what it has begun for a session that has left it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// A line that may take the place of the one in use.
pub(super) struct Beside {
    /// Its number.
    generation: u64,
    dialing: Dialing,
    /// Once it is connected: the line, and to which node.
    line: Option<(Line, ChatNode)>,
}

/// The line whose place was taken. Its node answers what it had begun, which is sooner than the
/// other's answer to the same.
pub(super) struct Former {
    generation: u64,
    asked: HashMap<u64, Asked>,
}

impl Drop for Former {
    fn drop(&mut self) {
        let_askers_go(&mut self.asked);
    }
}

impl Driver {
    /// Whether news of this line concern the one whose place was taken.
    pub(super) fn is_former(&self, generation: u64) -> bool {
        self.former.as_ref().is_some_and(|former| former.generation == generation)
    }

    /// Takes the last answers of the line whose place was taken, and nothing else: all events come
    /// over the one in use.
    pub(super) fn hear_former(&mut self, news: News) {
        match news {
            News::Frame(pb::ServerFrame { kind: Some(server_frame::Kind::Reply(reply)) }) => {
                if let Err(malformed) = self.late_reply(reply) {
                    self.misunderstood(&malformed);
                }
            }
            News::Closed { .. } => self.former = None,
            News::Frame(_) | News::Connected { .. } | News::Welcome(_) | News::Outdone => {}
        }
    }

    fn late_reply(&mut self, reply: pb::Reply) -> Result<(), Malformed> {
        let now = self.now();
        let asked = self.former.as_mut().and_then(|former| former.asked.remove(&reply.request));
        match (asked, reply.kind) {
            (Some(Asked::Application(answer)), Some(kind)) => {
                answer.send(Ok(kind)).ok();
            }
            (Some(Asked::Draft(id)), Some(reply::Kind::Appended(entry))) => {
                let entry: Entry = entry.try_into()?;
                let session = &mut self.parts.session;
                if let Some(draft) = session.outbox().sent(id) {
                    session.handle_appended(draft.conversation, entry, now);
                }
            }
            // A draft that this node refused is on its way to the other, and so are pages.
            _ => {}
        }
        Ok(())
    }

    /// Whether news of this line concern the one beside.
    pub(super) fn is_beside(&self, generation: u64) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.generation == generation)
    }

    /// Takes what the line beside brings.
    pub(super) async fn hear_beside(&mut self, news: News) {
        let now = self.now();
        match news {
            News::Connected { line, node } => {
                if let Some(beside) = &mut self.beside {
                    beside.line = Some((line, node));
                }
                self.parts.session.handle_beside_dialed(now);
            }
            News::Closed { reason, message } => {
                tracing::debug!(close.reason = ?reason, "no second connection: {message}");
                self.beside = None;
                self.trouble = message;
                self.parts.session.handle_beside_closed(&reason, now);
            }
            News::Welcome(welcome) => {
                let node = self.beside.as_ref().and_then(|beside| beside.line.as_ref());
                if let Some(node) = node.map(|(_, node)| node.clone()) {
                    self.moved(node).await;
                }
                match self.take_welcome(welcome).await {
                    Ok(heads) => self.parts.session.handle_beside_welcome(heads, now),
                    Err(malformed) => self.misunderstood(&malformed),
                }
            }
            // Nothing comes before the welcome, and with it this line is the one in use.
            News::Frame(_) | News::Outdone => {}
        }
    }

    /// Looks whether the server has given a sign of life.
    pub(super) fn listen(&mut self) {
        let Some(signs) = self.signs() else { return };
        let now = self.now();
        self.parts.session.handle_listened(signs, now);
        self.look_at_route(ROUTE_INTERVAL);
    }

    pub(super) fn dial_beside(&mut self, to: Aside) {
        let generation = self.next_generation();
        let last = || self.parts.login.node.clone();
        let plan = match to {
            Aside::Node(node) => {
                tracing::debug!(node.name = %node.name, "moving to another node");
                self.plan(node, Manner::Only)
            }
            Aside::First => {
                tracing::debug!("the server is silent; making another connection");
                self.plan(last(), Manner::Race)
            }
            Aside::Other => {
                tracing::debug!("the server does not serve; looking for another");
                self.plan(last(), Manner::Instead)
            }
        };
        let dialing = line::dial(plan, generation, self.news_in.clone());
        self.beside = Some(Beside { generation, dialing, line: None });
    }

    pub(super) fn greet_beside(&mut self, cursors: Vec<(LogId, Seq)>) {
        let hello = self.hello(cursors);
        if let Some((line, _)) = self.beside.as_mut().and_then(|beside| beside.line.as_mut()) {
            line.greet(hello);
        }
    }

    /// Puts the line beside in the place of the one in use.
    pub(super) fn switch(&mut self) {
        let Some(beside) = self.beside.take() else { return };
        let generation = std::mem::replace(&mut self.generation, beside.generation);
        let former = std::mem::replace(&mut self.line, beside.line.map(|(line, _)| line));
        self.dialing = Some(beside.dialing);
        let live = matches!(self.parts.session.link(), Link::Live { .. });
        let asked = std::mem::take(&mut self.asked);
        // One that has ended, so that its place was taken, brings nothing more.
        self.former = live.then_some(Former { generation, asked });
        // Transfers see the change and go on over the new connection.
        self.publish_connection();
        if let Some(former) = former {
            leave(former);
        }
    }

    pub(super) fn hang_up_beside(&mut self) {
        let line = self.beside.take().and_then(|beside| beside.line);
        if let Some((line, _)) = line {
            line.connection.close(CloseCode::Normal, "");
        }
    }
}

/// Ends the session of a line that is used no more: the node finishes what it has begun and closes.
fn leave(line: Line) {
    let connection: Connection = line.connection.clone();
    // Without the line nothing more can be sent, so its session stream ends.
    drop(line);
    tokio::spawn(async move {
        if tokio::time::timeout(LEAVE_TIMEOUT, connection.closed()).await.is_err() {
            connection.close(CloseCode::Normal, "");
        }
    });
}
