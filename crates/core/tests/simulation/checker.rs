//! What must hold, at each step and at the end.

use std::collections::{BTreeMap, BTreeSet};

use skein_core::{
    entry::Entry,
    id::{ConversationId, EntryId, LogId, Seq},
};

use crate::{client::Client, server::Server};

/// Keeps the promises that were made, to hold the world to them.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    acked: BTreeMap<EntryId, (ConversationId, Seq)>,
    rejected: BTreeSet<EntryId>,
}

impl Checker {
    /// A client was told that its draft is in the log (invariant 1).
    pub(crate) fn acked(
        &mut self,
        server: &Server,
        id: EntryId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<(), String> {
        let earlier = self.acked.insert(id, (conversation, seq));
        if earlier.is_some_and(|earlier| earlier != (conversation, seq)) {
            return Err(format!("{id} was acknowledged at {earlier:?} and at {seq}"));
        }
        Self::is_there(server, id, conversation, seq)
    }

    fn is_there(
        server: &Server,
        id: EntryId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<(), String> {
        let log = server.logs.get(&LogId::Conversation(conversation));
        let there = log.and_then(|log| log.get((seq.0 as usize).wrapping_sub(1)));
        if there.is_some_and(|entry| entry.id == id) {
            return Ok(());
        }
        Err(format!("{id} was acknowledged at {conversation}/{seq} and is not there durably"))
    }

    /// A client was told that its draft will never be in a log.
    pub(crate) fn rejected(&mut self, id: EntryId) {
        self.rejected.insert(id);
    }

    /// A client stores an entry (invariant 3).
    pub(crate) fn stored(
        server: &Server,
        client: &Client,
        log: LogId,
        entry: &Entry,
    ) -> Result<(), String> {
        let account = client.account;
        let last = client.disk.logs.get(&log).and_then(|entries| entries.last());
        if last.is_some_and(|last| last.seq.next() != entry.seq) {
            return Err(format!("{account} stores {log} {} after {last:?}", entry.seq));
        }
        let durable = server.logs.get(&log).and_then(|log| log.get(entry.seq.0 as usize - 1));
        if durable != Some(entry) {
            return Err(format!("{account} stores {entry:?}, and {log} durably has {durable:?}"));
        }
        Ok(())
    }

    /// Holds at each moment: logs are dense, and each id is in them once (invariant 2).
    pub(crate) fn logs(server: &Server) -> Result<(), String> {
        for (log, entries) in &server.logs {
            let mut ids = BTreeSet::new();
            for (index, entry) in entries.iter().enumerate() {
                if entry.seq.0 != index as u64 + 1 {
                    return Err(format!("{log} has {} at place {}", entry.seq, index + 1));
                }
                if !ids.insert((entry.author, entry.id)) {
                    return Err(format!("{log} has {} twice", entry.id));
                }
            }
        }
        Ok(())
    }

    /// Holds once the world has been kind for long enough. Says what is still missing.
    pub(crate) fn settled(&self, server: &Server, clients: &[Client]) -> Result<(), String> {
        for (id, (conversation, seq)) in &self.acked {
            Self::is_there(server, *id, *conversation, *seq)?;
            if self.rejected.contains(id) {
                return Err(format!("{id} was acknowledged and rejected"));
            }
        }
        for client in clients.iter().filter(|client| !client.kicked) {
            let account = client.account;
            if let Some(draft) = client.disk.outbox.first() {
                return Err(format!("{account} never got an answer to {}", draft.id));
            }
            for (log, head) in server.heads(account) {
                let last = client.disk.logs.get(&log).and_then(|entries| entries.last());
                let cursor = last.map_or(Seq::ZERO, |entry| entry.seq);
                if cursor != head {
                    return Err(format!("{account} never got beyond {cursor} of {head} in {log}"));
                }
            }
        }
        Ok(())
    }
}
