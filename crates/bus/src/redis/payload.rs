//! The form that hints take between nodes: a byte for the version, then `hint.proto`.
//!
//! Nodes of two versions may be in one cluster while it is upgraded, and a stranger may write to
//! any channel. What cannot be read is no error but a hint that was missed.
//!
//! A hint of a kind that is not known here is something else: a later version tells something that
//! this one has no use for, and it is passed over. So a new kind must be one that whoever does not
//! know it may miss without harm, as presence is; one that may not be missed needs a new version of
//! the form, which is garbled to whoever does not know it.

use std::sync::Arc;

use prost::Message;
use skein_core::{
    coming::Coming,
    entry::Entry,
    id::{AccountId, ConversationId, LogId},
};
use thiserror::Error;

use self::pb::{appended, hint::Kind, sessions_ended};
use crate::hint::{EndReason, Hint};

/// The generated messages, as in `proto/skein/cluster/v1/hint.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod pb {
    include!(concat!(env!("OUT_DIR"), "/skein.cluster.v1.rs"));
}

/// The version of this form.
const VERSION: u8 = 1;
/// Bytes of one payload: an entry with the longest text, and as much again.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// What one payload says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A hint.
    Hint(Hint),
    /// The sender could not send some.
    Missed,
}

/// The payload is not what this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the payload is not one of version {VERSION}")]
pub struct Garbled;

/// Writes a payload.
///
/// # Errors
/// If it is too large to be read again.
pub fn encode(said: &Said) -> Result<Vec<u8>, Garbled> {
    let kind = match said {
        Said::Hint(Hint::Appended(log, entry)) => Kind::Appended(pb::Appended {
            log: Some(match *log {
                LogId::Personal(account) => appended::Log::Personal(account.0),
                LogId::Conversation(conversation) => appended::Log::Conversation(conversation.0),
            }),
            entry: Some((**entry).clone().into()),
        }),
        Said::Hint(Hint::Presence { account, online }) => {
            Kind::Presence(pb::Presence { account: account.0, online: *online })
        }
        Said::Hint(Hint::SessionsEnded { account, reason }) => {
            Kind::SessionsEnded(pb::SessionsEnded {
                account: account.0,
                reason: Some(match reason {
                    EndReason::Kicked { by } => sessions_ended::Reason::KickedBy(by.clone()),
                    EndReason::Revoked => sessions_ended::Reason::Revoked(pb::Revoked {}),
                }),
            })
        }
        Said::Hint(Hint::Coming(coming)) => Kind::Coming((**coming).clone().into()),
        Said::Missed => Kind::Missed(pb::Missed {}),
    };
    let message = pb::Hint { kind: Some(kind) };
    let bytes = 1 + message.encoded_len();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(Garbled);
    }
    let mut payload = Vec::with_capacity(bytes);
    payload.push(VERSION);
    message.encode(&mut payload).map_err(|_| Garbled)?;
    Ok(payload)
}

/// Reads a payload. `None` if it is a hint of a kind that is not known here.
///
/// # Errors
/// If it is not of the form that this version writes.
pub fn decode(payload: &[u8]) -> Result<Option<Said>, Garbled> {
    let Some((&VERSION, message)) = payload.split_first() else { return Err(Garbled) };
    if payload.len() > PAYLOAD_BYTES_MAX || message.is_empty() {
        return Err(Garbled);
    }
    let message = pb::Hint::decode(message).map_err(|_| Garbled)?;
    message.kind.map(said).transpose()
}

fn said(kind: Kind) -> Result<Said, Garbled> {
    Ok(match kind {
        Kind::Appended(appended) => {
            let log = match appended.log.ok_or(Garbled)? {
                appended::Log::Personal(account) => LogId::Personal(AccountId(account)),
                appended::Log::Conversation(number) => LogId::Conversation(ConversationId(number)),
            };
            let entry = Entry::try_from(appended.entry.ok_or(Garbled)?).map_err(|_| Garbled)?;
            Said::Hint(Hint::Appended(log, Arc::new(entry)))
        }
        Kind::Presence(pb::Presence { account, online }) => {
            Said::Hint(Hint::Presence { account: AccountId(account), online })
        }
        Kind::SessionsEnded(ended) => {
            let reason = match ended.reason.ok_or(Garbled)? {
                sessions_ended::Reason::KickedBy(by) => EndReason::Kicked { by },
                sessions_ended::Reason::Revoked(pb::Revoked {}) => EndReason::Revoked,
            };
            Said::Hint(Hint::SessionsEnded { account: AccountId(ended.account), reason })
        }
        Kind::Coming(coming) => {
            let coming = Coming::try_from(coming).map_err(|_| Garbled)?;
            Said::Hint(Hint::Coming(Arc::new(coming)))
        }
        Kind::Missed(pb::Missed {}) => Said::Missed,
    })
}

#[cfg(test)]
mod tests {
    use skein_core::{
        entry::Body,
        id::{EntryId, Seq},
        limit,
        name::Text,
        time::Timestamp,
    };

    use super::*;

    #[test]
    fn the_longest_entry_fits() {
        let entry = Entry {
            seq: Seq(u64::MAX),
            id: EntryId([255; 16]),
            author: AccountId(u64::MAX),
            at: Timestamp(u64::MAX),
            body: Body::Text(Text::parse("x".repeat(limit::TEXT_BYTES_MAX)).unwrap()),
        };
        let log = LogId::Conversation(ConversationId(u64::MAX));
        let said = Said::Hint(Hint::Appended(log, Arc::new(entry)));
        assert_eq!(decode(&encode(&said).unwrap()), Ok(Some(said)));
    }

    #[test]
    fn what_another_version_writes_is_garbled() {
        let missed = encode(&Said::Missed).unwrap();
        assert_eq!(missed, [VERSION, 0x22, 0], "the form is stable");
        assert_eq!(decode(&missed), Ok(Some(Said::Missed)));
        for payload in [&[][..], &[VERSION], &[VERSION + 1, 0x22, 0], &[VERSION, 0x22, 1]] {
            assert_eq!(decode(payload), Err(Garbled), "{payload:?}");
        }
        // Kinds that a later version may add. One that is cut off is garbled all the same.
        for payload in [&[VERSION, 0x32, 2, 0x08, 1][..], &[VERSION, 0x7a, 0]] {
            assert_eq!(decode(payload), Ok(None), "{payload:?}");
        }
        assert_eq!(decode(&[VERSION, 0x32, 2, 0x08]), Err(Garbled));
        let long = EndReason::Kicked { by: "x".repeat(PAYLOAD_BYTES_MAX) };
        let long = Hint::SessionsEnded { account: AccountId(1), reason: long };
        assert_eq!(encode(&Said::Hint(long)), Err(Garbled));
    }
}
