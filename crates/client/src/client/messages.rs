//! Messages: writing them, and reading what was written.

use skein_core::{
    coming::Coming,
    entry::{Content, Draft, Entry},
    id::{ConversationId, EntryId, LogId, Seq},
    limit::PAGE_ENTRIES_MAX,
    name::Text,
    refusal::Refusal,
};
use skein_wire::{
    entry::log_number,
    pb::{self, reply, request},
};
use tokio::sync::{oneshot, watch};

use super::{Client, bad_answer, people::malformed};
use crate::{Error, Rejected, Status, driver::Command};

/// A message that is kept and on its way. Dropping this changes nothing about that.
#[derive(Debug)]
pub struct Delivery {
    id: EntryId,
    done: oneshot::Receiver<Result<Seq, Refusal>>,
    status: Option<watch::Receiver<Status>>,
}

impl Delivery {
    /// The message's id.
    #[must_use]
    pub const fn id(&self) -> EntryId {
        self.id
    }

    /// Waits until the server has the message durably, for as long as that takes. Answers its
    /// place in the log.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server will never take it; [`Error::Stopped`] or
    /// [`Error::NotConnected`] if the session or the client ended before it could be sent: then it
    /// goes out with the next connection of this home.
    pub async fn acknowledged(self) -> Result<Seq, Error> {
        match self.done.await {
            Ok(done) => done.map_err(Error::Refused),
            Err(_) => match self.status.as_ref().map(|status| status.borrow().clone()) {
                Some(Status::Stopped(reason)) => Err(Error::Stopped(reason)),
                _ => Err(Error::NotConnected),
            },
        }
    }
}

impl Client {
    /// Writes to a conversation. When this returns, the message is on disk; it is sent as soon as
    /// there is a connection, once, in the order of writing.
    ///
    /// # Errors
    /// [`Error::OutboxFull`], or if the home cannot be written.
    pub async fn send_text(
        &self,
        conversation: ConversationId,
        text: Text,
    ) -> Result<Delivery, Error> {
        let id = EntryId(rand::random());
        self.send(Draft { conversation, id, content: Content::Text(text) }).await
    }

    /// Messages that were written here and not acknowledged yet.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn unsent(&self) -> Result<usize, Error> {
        Ok(self.home.drafts().await?.len())
    }

    /// Messages that were written here, in whatever process, and that the server will never take:
    /// until [`forget_rejected`](Self::forget_rejected), so that their author can be told.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn rejected(&self) -> Result<Vec<Rejected>, Error> {
        self.home.rejected().await
    }

    /// Forgets rejected messages: their author was told.
    ///
    /// # Errors
    /// If the home cannot be written.
    pub async fn forget_rejected(&self, ids: Vec<EntryId>) -> Result<(), Error> {
        self.home.forget_rejected(ids).await
    }

    /// The last `count` entries of a log before `before`, or its last ones. From what is here as
    /// far as it reaches; what is older is asked of the server, and not kept.
    ///
    /// # Errors
    /// If the server has to be asked and cannot be reached or refuses.
    pub async fn log(
        &self,
        log: LogId,
        before: Option<Seq>,
        count: usize,
    ) -> Result<Vec<Entry>, Error> {
        let stretch = self.home.entries_before(log, before, count).await?;
        let mut entries = stretch.entries;
        while entries.len() < count {
            let missing_before = match (entries.first(), before) {
                (Some(first), _) => first.seq,
                // Everything from the floor on is here: what was asked for lies below it.
                (None, Some(before)) => before.min(stretch.floor.next()),
                (None, None) => stretch.floor.next(),
            };
            if missing_before <= Seq(1) {
                break;
            }
            let mut older = self.read_before(log, missing_before, count - entries.len()).await?;
            if older.is_empty() {
                break;
            }
            older.append(&mut entries);
            entries = older;
        }
        Ok(entries)
    }

    /// One entry of a log.
    ///
    /// # Errors
    /// `not_found` if there is none; or if the server has to be asked and cannot be reached.
    pub async fn entry(&self, log: LogId, seq: Seq) -> Result<Entry, Error> {
        let is_it = |entry: &Entry| entry.seq == seq;
        let mut found = self.log(log, Some(seq.next()), 1).await?.pop().filter(is_it);
        if found.is_none() {
            // It may be newer than what has come here so far.
            found = self.read_before(log, seq.next(), 1).await?.pop().filter(is_it);
        }
        found.ok_or_else(|| Error::Refused(Refusal::not_found("message")))
    }

    /// Files that are being sent to a conversation, the one that got bytes last first. Its members may
    /// fetch them before their messages come ([`download`](Self::download) and
    /// [`queue_download`](Self::queue_download) take the attachment); nobody has checked what is said
    /// of them until then.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn coming(&self, conversation: ConversationId) -> Result<Vec<Coming>, Error> {
        let list = pb::ListComing { conversation: conversation.0 };
        let reply::Kind::Coming(coming) = self.ask(request::Kind::ListComing(list)).await? else {
            return Err(bad_answer("coming files"));
        };
        coming.files.into_iter().map(|file| file.try_into().map_err(malformed)).collect()
    }

    pub(crate) async fn send(&self, draft: Draft) -> Result<Delivery, Error> {
        let client = self.clone();
        // A draft that is kept has to come to the driver, even if the caller is gone by then.
        let handed = tokio::spawn(async move { client.hand_over(draft).await });
        handed.await.map_err(Error::home)?
    }

    async fn hand_over(&self, draft: Draft) -> Result<Delivery, Error> {
        let id = draft.id;
        self.home.keep_draft(draft.clone()).await?;
        let (done_in, done) = oneshot::channel();
        let handle = self.handle().ok();
        if let Some(handle) = &handle {
            // A driver that has ended drops the command: then the delivery says so.
            handle.commands.send(Command::Send(draft, done_in)).await.ok();
        }
        Ok(Delivery { id, done, status: handle.map(|handle| handle.status) })
    }

    async fn read_before(
        &self,
        log: LogId,
        before: Seq,
        count: usize,
    ) -> Result<Vec<Entry>, Error> {
        let read = pb::ReadLog {
            log: log_number(log),
            after: 0,
            before: before.0,
            limit: u32::try_from(count.min(PAGE_ENTRIES_MAX)).unwrap_or(u32::MAX),
        };
        let reply::Kind::Page(page) = self.ask(request::Kind::ReadLog(read)).await? else {
            return Err(bad_answer("a page"));
        };
        let entries: Result<Vec<Entry>, Error> =
            page.entries.into_iter().map(|entry| entry.try_into().map_err(malformed)).collect();
        // Only what was asked for, so that a server cannot make this loop.
        Ok(entries?.into_iter().filter(|entry| entry.seq < before).collect())
    }
}
