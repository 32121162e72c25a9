//! What goes wrong in the world, and what people write meanwhile.

use skein_core::{
    entry::{Content, Draft},
    id::{AccountId, ConversationId, EntryId, LogId},
    name::Text,
    sync::CloseReason,
};

use super::{Happening, MISCHIEF_MS, World};
use crate::{
    client::{ClientId, DELAYS_MS, ToClient},
    server::ConnId,
};

/// How long a connection lives on without a packet.
const IDLE_TIMEOUT_MS: u64 = 60_000;

impl World {
    /// Cuts a client's connection at both ends; tells the client why after a while, if at all.
    pub(super) fn cut(&mut self, client: ClientId, reason: Option<CloseReason>) {
        let Some(conn) = self.clients[client].conn.take() else { return };
        self.server.sessions.remove(&conn);
        if let Some(reason) = reason {
            let generation = self.clients[client].generation;
            let delay = self.random.within(DELAYS_MS);
            self.after(delay, Happening::Closed { client, generation, reason });
        }
    }

    /// Cuts a client's second connection at both ends, and tells the client why after a while.
    fn cut_beside(&mut self, client: ClientId, reason: CloseReason) {
        let Some(beside) = &mut self.clients[client].beside else { return };
        // What comes over it until it is closed is lost.
        let Some(conn) = beside.conn.take() else { return };
        let generation = beside.generation;
        self.server.sessions.remove(&conn);
        let delay = self.random.within(DELAYS_MS);
        self.after(delay, Happening::Closed { client, generation, reason });
    }

    /// The node goes away: it tells the client to move, and often does not wait until it has.
    fn move_away(&mut self, client: ClientId) {
        let Some(conn) = self.clients[client].conn else { return };
        if !self.server.sessions.contains_key(&conn) {
            return;
        }
        let delay = self.in_order(conn, false);
        self.after(delay, Happening::ToClient { conn, message: ToClient::Moving });
        if self.random.one_in(2) {
            let delay = delay + self.random.within(0..500);
            self.after(delay, Happening::Drained { client, conn });
        }
    }

    /// The node closes what has not moved.
    pub(super) fn drained(&mut self, client: ClientId, conn: ConnId) {
        if self.clients[client].conn == Some(conn) {
            self.cut(client, Some(CloseReason::Draining));
        }
    }

    /// The path eats every packet. The client learns of it by its own timeouts: that of an answer
    /// that does not come, or at last that of the connection.
    fn cut_silently(&mut self, client: ClientId) {
        let Some(conn) = self.clients[client].conn else { return };
        self.counts.silenced += 1;
        self.server.sessions.remove(&conn);
        let generation = self.clients[client].generation;
        let reason = CloseReason::Lost;
        self.after(IDLE_TIMEOUT_MS, Happening::Closed { client, generation, reason });
    }

    pub(super) fn kill_client(&mut self, client: ClientId) {
        self.counts.client_crashes += 1;
        self.cut(client, None);
        self.hang_up_beside(client);
        self.clients[client].kill();
        let delay = self.random.within(10..3_000);
        self.after(delay, Happening::Start { client });
    }

    fn crash_server(&mut self) {
        self.counts.server_crashes += 1;
        self.counts.uncommitted += self.server.crash() as u64;
        self.server_up = false;
        self.epoch += 1;
        self.commit_scheduled = false;
        for client in 0..self.clients.len() {
            self.cut(client, Some(CloseReason::Lost));
            self.cut_beside(client, CloseReason::Lost);
        }
        let delay = self.random.within(100..4_000);
        self.after(delay, Happening::ServerUp);
    }

    /// People write, and things break.
    pub(super) fn mischief(&mut self) -> Result<(), String> {
        if !self.hostile() {
            return Ok(());
        }
        let delay = self.random.within(1..2 * MISCHIEF_MS);
        self.after(delay, Happening::Mischief);
        let client = self.random.index(self.clients.len());
        match self.random.within(0..100) {
            0..60 => return self.write(client),
            60..66 => self.cut(client, Some(CloseReason::Lost)),
            66..68 => self.cut(client, Some(CloseReason::Draining)),
            68..69 => self.cut(client, Some(CloseReason::Behind)),
            69..71 => self.kill_client(client),
            71..73 if self.server_up => self.crash_server(),
            73..76 if self.server_up => self.befriend(),
            76 if self.random.one_in(2) => self.kick(client),
            79 => self.cut_silently(client),
            80..84 => self.move_away(client),
            85..87 => return self.change_network(client),
            84 => self.cut_beside(client, CloseReason::Overloaded),
            77..79 => {
                return self.drive(client, |session, now| session.nudge(now));
            }
            _ => {}
        }
        Ok(())
    }

    /// The device has another network, where the old connection works on or reaches nobody.
    fn change_network(&mut self, client: ClientId) -> Result<(), String> {
        if self.random.one_in(2) {
            self.cut_silently(client);
        }
        self.drive(client, |session, now| session.handle_network_changed(now))
    }

    fn befriend(&mut self) {
        let first = AccountId(self.random.within(1..self.accounts + 1));
        let second = AccountId(first.0 % self.accounts + 1);
        let now = self.time();
        let (_, outgoing) = self.server.befriend([first, second], &mut self.random, now);
        self.send_out(outgoing);
    }

    fn kick(&mut self, client: ClientId) {
        // Somebody has to be left to talk to.
        let others = self.clients.iter().filter(|client| !client.kicked).count();
        let Some(conn) = self.clients[client].conn.filter(|_| others > 2) else { return };
        if !self.server.sessions.contains_key(&conn) {
            return;
        }
        debug_assert_eq!(self.server.sessions[&conn].client, client);
        self.counts.kicked += 1;
        let message = "logged in elsewhere".to_owned();
        self.cut(client, Some(CloseReason::Kicked { message: message.clone() }));
        self.cut_beside(client, CloseReason::Kicked { message });
    }

    /// Someone writes a few messages: on disk first, then into the session.
    fn write(&mut self, id: ClientId) -> Result<(), String> {
        if self.clients[id].kicked || self.clients[id].session.is_none() {
            return Ok(());
        }
        // One that the account knows, or rarely one that it has no business in.
        let known = self.clients[id].disk.logs.keys().filter_map(|log| match log {
            LogId::Conversation(conversation) => Some(*conversation),
            LogId::Personal(_) => None,
        });
        let known: Vec<ConversationId> = known.collect();
        let conversation = match known.len() {
            _ if self.random.one_in(30) => ConversationId(9_999),
            0 => ConversationId(1),
            length => known[self.random.index(length)],
        };
        for _ in 0..self.random.within(1..5) {
            let content = Content::Text(Text::parse(format!("at {}", self.now)).expect("short"));
            let draft = Draft { conversation, id: EntryId(self.random.bytes()), content };
            self.clients[id].disk.outbox.push(draft.clone());
            self.drive(id, |session, now| session.enqueue(draft, now).expect("few drafts"))?;
            if self.clients[id].session.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}
