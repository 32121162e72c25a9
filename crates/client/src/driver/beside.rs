//! The line beside the one in use: made when the node goes away or has fallen silent, and put in its
//! place once it is welcomed.

use std::time::Duration;

use skein_core::{
    id::{LogId, Seq},
    port::directory::ChatNode,
};
use skein_net::Connection;
use skein_wire::close::CloseCode;

use super::{
    Driver,
    line::{self, Line, Manner, News},
};

/// How long a node may take to finish what it has begun for a session that has left it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A line that may take the place of the one in use.
pub(super) struct Beside {
    /// Its number.
    generation: u64,
    /// Once it is connected: the line, and to which node.
    line: Option<(Line, ChatNode)>,
}

impl Driver {
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
            News::Frame(_) => {}
        }
    }

    /// Looks whether the server has given a sign of life.
    pub(super) fn listen(&mut self) {
        let Some(line) = &mut self.line else { return };
        let (heard, round_trip) = (line.has_heard(), line.connection.round_trip());
        let now = self.now();
        self.parts.session.handle_listened(heard, round_trip, now);
    }

    pub(super) fn dial_beside(&mut self, node: Option<ChatNode>) {
        let generation = self.next_generation();
        let plan = match node {
            Some(node) => {
                tracing::debug!(node.name = %node.name, "moving to another node");
                self.plan(node, Manner::Only)
            }
            None => {
                tracing::debug!("the server is silent; looking for another connection");
                self.plan(self.parts.login.node.clone(), Manner::Instead)
            }
        };
        self.beside = Some(Beside { generation, line: None });
        line::dial(plan, generation, self.news_in.clone());
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
        self.generation = beside.generation;
        let former = std::mem::replace(&mut self.line, beside.line.map(|(line, _)| line));
        self.let_askers_go();
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
