//! The session's requests, parsed: what a session may be asked, in domain words.

use skein_core::{
    entry::Draft,
    id::{AccountId, ConversationId, EntryId, LogId, Seq, UploadId},
    limit,
    name::Note,
    port::directory::{ChatNode, Trust},
};

use crate::{Malformed, body, entry, hash, pb};

/// A request on a session stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Append to a conversation.
    Append(Draft),
    /// Read part of a log.
    Read {
        /// Which.
        log: LogId,
        /// From where.
        from: ReadFrom,
        /// Entries at most, already cut to [`limit::PAGE_ENTRIES_MAX`].
        limit: usize,
    },
    /// Find people by the beginning of their name.
    FindAccounts {
        /// The beginning, or the whole name.
        prefix: String,
    },
    /// A step towards another account.
    Step {
        /// The other account.
        peer: AccountId,
        /// The client's id: a retry carries the same.
        id: EntryId,
        /// Which step.
        step: Step,
    },
    /// List the account's contacts.
    ListContacts,
    /// List the requests that wait.
    ListRequests,
    /// List the account's conversations.
    ListConversations,
    /// Give up an upload of the account.
    DiscardUpload(UploadId),
    /// List the files that are being sent to a conversation.
    ListComing(ConversationId),
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The entries after this one, the oldest first.
    After(Seq),
    /// The entries just before this one.
    Before(Seq),
}

/// A step towards another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask, with a greeting.
    Request(Note),
    /// Accept, with a remark about them.
    Accept(Note),
    /// Decline.
    Decline,
    /// Remove.
    Remove,
}

impl Request {
    /// The request that `request` makes on the session of `account`.
    ///
    /// # Errors
    /// [`Malformed`] with the field and what it accepts.
    pub fn parse(account: AccountId, request: pb::request::Kind) -> Result<Self, Malformed> {
        use pb::request::Kind;
        let step = |peer, id: &[u8], step| -> Result<Self, Malformed> {
            Ok(Self::Step { peer: AccountId(peer), id: body::entry_id(id)?, step })
        };
        match request {
            Kind::Append(draft) => Ok(Self::Append(draft.try_into()?)),
            Kind::ReadLog(read) => {
                let from = match (read.after, read.before) {
                    (after, 0) => ReadFrom::After(Seq(after)),
                    (0, before) => ReadFrom::Before(Seq(before)),
                    _ => return Err(Malformed::other("read_log", "set `after` or `before`")),
                };
                let limit = match usize::try_from(read.limit) {
                    Ok(0) | Err(_) => limit::PAGE_ENTRIES_MAX,
                    Ok(limit) => limit.min(limit::PAGE_ENTRIES_MAX),
                };
                Ok(Self::Read { log: entry::log_id(account, read.log), from, limit })
            }
            Kind::FindAccounts(find) => {
                let chars = find.prefix.chars().count();
                if (1..=limit::NAME_CHARS_MAX).contains(&chars) {
                    Ok(Self::FindAccounts { prefix: find.prefix })
                } else {
                    Err(Malformed::other("find_accounts.prefix", "expected 1 to 32 characters"))
                }
            }
            Kind::RequestContact(ask) => {
                let greeting = Note::parse(ask.greeting).map_err(Malformed::text("greeting"))?;
                step(ask.account, &ask.id, Step::Request(greeting))
            }
            Kind::AcceptContact(accept) => {
                let remark = Note::parse(accept.remark).map_err(Malformed::text("remark"))?;
                step(accept.account, &accept.id, Step::Accept(remark))
            }
            Kind::DeclineContact(answer) => step(answer.account, &answer.id, Step::Decline),
            Kind::RemoveContact(answer) => step(answer.account, &answer.id, Step::Remove),
            Kind::ListContacts(_) => Ok(Self::ListContacts),
            Kind::ListRequests(_) => Ok(Self::ListRequests),
            Kind::ListConversations(_) => Ok(Self::ListConversations),
            Kind::DiscardUpload(discard) => {
                let id = UploadId::try_from(&discard.id[..]);
                Ok(Self::DiscardUpload(id.map_err(Malformed::id("discard_upload.id"))?))
            }
            Kind::ListComing(list) => Ok(Self::ListComing(ConversationId(list.conversation))),
        }
    }
}

impl From<ChatNode> for pb::Moving {
    fn from(node: ChatNode) -> Self {
        let (server_name, certificate_sha256) = match node.trust {
            Trust::Authority { server_name } => (server_name, Vec::new()),
            Trust::Fingerprints(all) => {
                (String::new(), all.iter().map(|one| one.to_vec().into()).collect())
            }
        };
        Self { node: node.name, address: node.address, server_name, certificate_sha256 }
    }
}

impl TryFrom<pb::Moving> for ChatNode {
    type Error = Malformed;

    fn try_from(moving: pb::Moving) -> Result<Self, Malformed> {
        let fingerprints: Result<Vec<_>, _> = moving
            .certificate_sha256
            .iter()
            .map(|one| hash("moving.certificate_sha256", one))
            .collect();
        let trust = match (moving.server_name, fingerprints?) {
            (name, all) if name.is_empty() && all.is_empty() => {
                return Err(Malformed::missing("moving.certificate_sha256"));
            }
            (name, all) if name.is_empty() => Trust::Fingerprints(all),
            (server_name, _) => Trust::Authority { server_name },
        };
        if moving.address.is_empty() {
            return Err(Malformed::missing("moving.address"));
        }
        Ok(Self { name: moving.node, address: moving.address, trust })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_to_move_to_comes_with_its_trust() {
        for trust in [
            Trust::Authority { server_name: "chat.example.org".into() },
            Trust::Fingerprints(vec![[1; 32], [2; 32]]),
        ] {
            let node = ChatNode { name: "chat-2".into(), address: "a:1".into(), trust };
            assert_eq!(ChatNode::try_from(pb::Moving::from(node.clone())), Ok(node));
        }
        let moving = |address: &str, length| pb::Moving {
            node: String::new(),
            address: address.into(),
            server_name: String::new(),
            certificate_sha256: vec![vec![0; length].into()],
        };
        for (bad, field) in [
            (moving("", 32), "moving.address"),
            (moving("a:1", 31), "moving.certificate_sha256"),
            (
                pb::Moving { certificate_sha256: Vec::new(), ..moving("a:1", 32) },
                "moving.certificate_sha256",
            ),
        ] {
            assert_eq!(ChatNode::try_from(bad).expect_err("no trust").field, field);
        }
    }

    #[test]
    fn reading_has_a_direction_and_a_limit() {
        let me = AccountId(1);
        let read = |after, before, limit| {
            let read = pb::ReadLog { log: 3, after, before, limit };
            Request::parse(me, pb::request::Kind::ReadLog(read))
        };
        let log = entry::log_id(me, 3);
        assert_eq!(
            read(5, 0, 10),
            Ok(Request::Read { log, from: ReadFrom::After(Seq(5)), limit: 10 })
        );
        assert_eq!(
            read(0, 5, u32::MAX),
            Ok(Request::Read {
                log,
                from: ReadFrom::Before(Seq(5)),
                limit: limit::PAGE_ENTRIES_MAX
            })
        );
        assert_eq!(read(1, 5, 0).expect_err("both").field, "read_log");
    }
}
