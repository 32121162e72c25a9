//! What the line brings, as inputs of the session machine.

use skein_core::{
    coming::Coming,
    contact::Conversation,
    entry::Entry,
    id::{AccountId, LogId, Seq},
    refusal::Refusal,
    sync::{CloseReason, Link},
};
use skein_wire::{
    Malformed,
    entry::log_id,
    pb::{self, event, reply, server_frame},
};

use super::{Asked, Driver, line::News};
use crate::Event;

impl Driver {
    /// Takes what a line brings.
    pub(super) async fn hear(&mut self, generation: u64, news: News) {
        if self.is_beside(generation) {
            self.hear_beside(news).await;
        } else if generation == self.generation {
            self.hear_current(news).await;
        } else if self.is_former(generation) {
            self.hear_former(news);
        }
    }

    async fn hear_current(&mut self, news: News) {
        let now = self.now();
        match news {
            News::Connected { line, node } => {
                self.line = Some(line);
                self.note_route();
                self.moved(node).await;
                self.parts.session.handle_dialed(now);
            }
            News::Outdone => {
                tracing::debug!("there is a better way to the node; moving to it");
                self.parts.session.handle_moving(self.parts.login.node.clone(), now);
            }
            News::Closed { reason, message } => {
                tracing::debug!(close.reason = ?reason, "the connection ended: {message}");
                self.trouble = message;
                self.parts.session.handle_closed(&reason, now);
            }
            News::Welcome(welcome) => {
                match self.take_welcome(welcome).await {
                    Ok(heads) => self.parts.session.handle_welcome(heads, now),
                    Err(malformed) => self.misunderstood(&malformed),
                }
                self.publish_connection();
            }
            News::Frame(frame) => {
                let understood = match frame.kind {
                    Some(server_frame::Kind::Reply(reply)) => self.reply(reply),
                    Some(server_frame::Kind::Event(event)) => self.event(event),
                    // Something that a later version of the protocol may send.
                    None => Ok(()),
                };
                if let Err(malformed) = understood {
                    self.misunderstood(&malformed);
                }
            }
        }
    }

    /// Keeps what a welcome says about people, and answers the heads.
    pub(super) async fn take_welcome(
        &mut self,
        welcome: pb::Welcome,
    ) -> Result<Vec<(LogId, Seq)>, Malformed> {
        let heads = cursors(self.account(), welcome.heads);
        let conversations: Result<Vec<Conversation>, _> =
            welcome.conversations.into_iter().map(TryInto::try_into).collect();
        if let Err(error) = self.parts.home.know(conversations?).await {
            // Names are missing, not messages: the next welcome brings them again.
            tracing::warn!("conversations are not remembered: {error}");
        }
        Ok(heads)
    }

    /// Shows transfers the connection of the live session.
    pub(super) fn publish_connection(&self) {
        let live = matches!(self.parts.session.link(), Link::Live { .. });
        let line = self.line.as_ref().filter(|_| live);
        self.connection.send_replace(line.map(|line| line.connection.clone()));
    }

    fn event(&mut self, event: pb::Event) -> Result<(), Malformed> {
        let (account, now) = (self.account(), self.now());
        match event.kind {
            Some(event::Kind::Appended(appended)) => {
                if let Some(entry) = appended.entry {
                    let log = log_id(account, appended.log);
                    self.parts.session.handle_entry(log, entry.try_into()?, now);
                }
            }
            Some(event::Kind::Behind(behind)) => {
                self.parts.session.handle_behind(cursors(account, behind.heads), now);
            }
            Some(event::Kind::Presence(presence)) => self.tell(Event::Presence {
                account: AccountId(presence.account),
                online: presence.online,
            }),
            Some(event::Kind::Coming(coming)) => match Coming::try_from(coming) {
                Ok(coming) => self.tell(Event::Coming(coming)),
                Err(malformed) => tracing::debug!("no file to follow: {malformed}"),
            },
            Some(event::Kind::Moving(moving)) => match moving.try_into() {
                Ok(node) => self.parts.session.handle_moving(node, now),
                // The close that follows moves the session as well.
                Err(malformed) => tracing::debug!("no node to move to: {malformed}"),
            },
            None => {}
        }
        Ok(())
    }

    fn reply(&mut self, reply: pb::Reply) -> Result<(), Malformed> {
        let now = self.now();
        let session = &mut self.parts.session;
        let Some(kind) = reply.kind else { return Ok(()) };
        match (self.asked.remove(&reply.request), kind) {
            (Some(Asked::Application(answer)), kind) => {
                answer.send(Ok(kind)).ok();
            }
            (Some(Asked::Draft(id)), reply::Kind::Error(error)) => {
                session.handle_refused(id, error.into(), now);
            }
            (Some(Asked::Draft(id)), reply::Kind::Appended(entry)) => {
                let entry: Entry = entry.try_into()?;
                let conversation = session.outbox().sent(id).map(|draft| draft.conversation);
                if let Some(conversation) = conversation {
                    session.handle_appended(conversation, entry, now);
                }
            }
            (Some(Asked::Page(log, after)), reply::Kind::Error(error)) => {
                session.handle_page_refused(log, after, &Refusal::from(error), now);
            }
            (Some(Asked::Page(log, after)), reply::Kind::Page(page)) => {
                let entries: Result<Vec<Entry>, _> =
                    page.entries.into_iter().map(TryInto::try_into).collect();
                session.handle_page(log, after, entries?, Seq(page.head), now);
            }
            (Some(Asked::Draft(_) | Asked::Page(..)), _) | (None, _) => {
                tracing::debug!("the server answered what was not asked");
            }
        }
        Ok(())
    }

    /// The server says what this version does not understand. Reading past it would lose entries.
    pub(super) fn misunderstood(&mut self, malformed: &Malformed) {
        let message =
            format!("this client does not understand the server ({malformed}); update it");
        let now = self.now();
        self.parts.session.handle_closed(&CloseReason::Protocol { message }, now);
    }

    fn account(&self) -> AccountId {
        self.parts.login.account.id
    }
}

fn cursors(account: AccountId, heads: Vec<pb::Cursor>) -> Vec<(LogId, Seq)> {
    heads.into_iter().map(|head| (log_id(account, head.log), Seq(head.seq))).collect()
}
