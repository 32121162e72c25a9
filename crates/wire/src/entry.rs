//! Entries and log names on the wire.

use skein_core::{
    entry::Entry,
    id::{AccountId, ConversationId, LogId, Seq},
    time::Timestamp,
};

use crate::{Malformed, body, pb};

/// How a log is named on the session of `account`: 0 is the account's own personal log. Nobody
/// else's has a name, so it cannot be asked for (invariant 7).
#[must_use]
pub const fn log_number(log: LogId) -> u64 {
    match log {
        LogId::Personal(_) => 0,
        LogId::Conversation(conversation) => conversation.0,
    }
}

/// The log that `number` names on the session of `account`.
#[must_use]
pub const fn log_id(account: AccountId, number: u64) -> LogId {
    if number == 0 { LogId::Personal(account) } else { LogId::Conversation(ConversationId(number)) }
}

impl From<Entry> for pb::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq.0,
            id: entry.id.0.to_vec().into(),
            author: entry.author.0,
            at_ms: entry.at.0,
            body: Some(entry.body.into()),
        }
    }
}

impl TryFrom<pb::Entry> for Entry {
    type Error = Malformed;

    fn try_from(entry: pb::Entry) -> Result<Self, Malformed> {
        Ok(Self {
            seq: Seq(entry.seq),
            id: body::entry_id(&entry.id)?,
            author: AccountId(entry.author),
            at: Timestamp(entry.at_ms),
            body: entry.body.ok_or_else(|| Malformed::missing("entry.body"))?.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use skein_core::id::EntryId;

    use super::*;

    #[test]
    fn entries_survive() {
        for (at, body) in body::tests::bodies().into_iter().enumerate() {
            let entry = Entry {
                seq: Seq(at as u64 + 1),
                id: EntryId([3; 16]),
                author: AccountId(1),
                at: Timestamp(1_700_000_000_000),
                body,
            };
            assert_eq!(Entry::try_from(pb::Entry::from(entry.clone())), Ok(entry));
        }
    }

    #[test]
    fn nobody_elses_personal_log_has_a_name() {
        let me = AccountId(4);
        assert_eq!(log_id(me, 0), LogId::Personal(me));
        assert_eq!(log_number(log_id(me, 9)), 9);
    }
}
