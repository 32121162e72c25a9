//! Connections: made, made beside another, put in its place, lost.

use std::time::Duration;

use skein_core::{
    port::directory::{ChatNode, Trust},
    refusal::{Code, Refusal},
    sync::{CloseReason, Link, Signs},
};

use super::{Happening, World};
use crate::{
    client::{Beside, ClientId, DELAYS_MS, ToClient},
    server::ConnId,
};

/// How long a packet takes there and back, as clients estimate it.
const ROUND_TRIP: Duration = Duration::from_millis(DELAYS_MS.end);

impl World {
    /// Begins to make a connection. Answers its number.
    pub(super) fn dial(&mut self, client: ClientId) -> Result<u64, String> {
        if self.clients[client].kicked {
            return Err(format!("client {client} was kicked and dials"));
        }
        let generation = self.clients[client].next_generation();
        let delay = self.random.within(DELAYS_MS);
        self.after(delay, Happening::Dialed { client, generation });
        Ok(generation)
    }

    pub(super) fn dialed(&mut self, client: ClientId, generation: u64) -> Result<(), String> {
        let beside = self.is_beside(client, generation);
        if !beside && self.clients[client].generation != generation {
            return Ok(());
        }
        if !self.server_up || (self.hostile() && self.random.one_in(6)) {
            return self.closed(client, generation, &CloseReason::Lost);
        }
        self.conns += 1;
        let conn = self.conns;
        self.server.accept(conn, self.clients[client].account, client);
        if beside {
            self.clients[client].beside = Some(Beside { generation, conn: Some(conn) });
            self.drive(client, |session, now| session.handle_beside_dialed(now))
        } else {
            self.clients[client].conn = Some(conn);
            self.drive(client, |session, now| session.handle_dialed(now))
        }
    }

    pub(super) fn closed(
        &mut self,
        client: ClientId,
        generation: u64,
        reason: &CloseReason,
    ) -> Result<(), String> {
        if self.is_beside(client, generation) {
            self.clients[client].beside = None;
            return self.drive(client, |session, now| session.handle_beside_closed(reason, now));
        }
        if self.clients[client].generation != generation {
            return Ok(());
        }
        self.clients[client].conn = None;
        self.drive(client, |session, now| session.handle_closed(reason, now))
    }

    /// The second connection takes the place of the first, whose end the server sees later.
    pub(super) fn switch(&mut self, id: ClientId) {
        let client = &mut self.clients[id];
        let Some(beside) = client.beside.take() else { return };
        client.generation = beside.generation;
        let former = std::mem::replace(&mut client.conn, beside.conn);
        let session = client.session.as_ref().expect("it has asked for this");
        if matches!(session.link(), Link::Live { .. }) {
            self.counts.moved += 1;
        } else {
            self.counts.promoted += 1;
        }
        if let Some(conn) = former {
            let delay = self.random.within(DELAYS_MS);
            self.after(delay, Happening::Left { conn });
        }
    }

    pub(super) fn hang_up_beside(&mut self, client: ClientId) {
        if let Some(conn) = self.clients[client].beside.take().and_then(|beside| beside.conn) {
            self.left(conn);
        }
    }

    pub(super) fn left(&mut self, conn: ConnId) {
        self.server.sessions.remove(&conn);
    }

    /// A server that has the session answers at least with acknowledgements.
    pub(super) fn listen(&mut self, id: ClientId) {
        let now = self.time();
        let client = &mut self.clients[id];
        let heard = client.conn.is_some_and(|conn| self.server.sessions.contains_key(&conn));
        let session = client.session.as_mut().expect("it has asked for this");
        let asked = !session.outbox().is_empty();
        session.handle_listened(Signs { heard, asked, worked: asked, round_trip: ROUND_TRIP }, now);
        if !heard {
            self.counts.suspected += 1;
        }
    }

    pub(super) fn receive(&mut self, conn: ConnId, message: ToClient) -> Result<(), String> {
        let beside = |client: &crate::client::Client| client.beside.and_then(|beside| beside.conn);
        let has = |client: &crate::client::Client| {
            client.conn == Some(conn) || beside(client) == Some(conn)
        };
        let Some(client) = self.clients.iter().position(has) else { return Ok(()) };
        let is_beside = beside(&self.clients[client]) == Some(conn);
        self.drive(client, |session, now| match message {
            ToClient::Welcome(heads) if is_beside => session.handle_beside_welcome(heads, now),
            ToClient::Welcome(heads) => session.handle_welcome(heads, now),
            ToClient::Appended { conversation, entry } => {
                session.handle_appended(conversation, entry, now);
            }
            ToClient::Busy { id, after_ms } => {
                let refusal = Refusal::limited("slower", Duration::from_millis(after_ms));
                session.handle_refused(id, refusal, now);
            }
            ToClient::Never { id } => {
                session.handle_refused(id, Refusal::not_found("conversation"), now);
            }
            ToClient::Page { log, after, entries, head } => {
                session.handle_page(log, after, entries, head, now);
            }
            ToClient::ReadBusy { log, after } => {
                let refusal = Refusal::new(Code::Unavailable, "later");
                session.handle_page_refused(log, after, &refusal, now);
            }
            ToClient::Event { log, entry } => session.handle_entry(log, entry, now),
            ToClient::Behind(heads) => session.handle_behind(heads, now),
            ToClient::Moving => session.handle_moving(another_node(), now),
        })
    }

    fn is_beside(&self, client: ClientId, generation: u64) -> bool {
        self.clients[client].beside.is_some_and(|beside| beside.generation == generation)
    }
}

fn another_node() -> ChatNode {
    let trust = Trust::Authority { server_name: "chat.example.org".into() };
    ChatNode { name: "another".into(), address: "chat.example.org:4433".into(), trust }
}
