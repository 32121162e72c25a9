//! Identifiers. Numbers are allotted by the store; sixteen-byte ids are drawn at random by whoever
//! creates the thing, so that a retry names the same thing.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER_PERMISSIVE;
use thiserror::Error;

/// The text is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected {expected}")]
pub struct BadId {
    /// What would have been accepted.
    pub expected: &'static str,
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! random {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
                bytes
                    .and_then(|bytes| Self::try_from(bytes.as_slice()).ok())
                    .ok_or(BadId { expected: "32 hexadecimal digits" })
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = BadId;

            fn try_from(bytes: &[u8]) -> Result<Self, BadId> {
                let bytes = bytes.try_into().map_err(|_| BadId { expected: "16 bytes" })?;
                Ok(Self(bytes))
            }
        }
    };
}

numbered! {
    /// A person's account. Starts at 1; never used again.
    AccountId
}
numbered! {
    /// A conversation. Starts at 1; never used again.
    ConversationId
}
numbered! {
    /// A position in a log: dense, starting at 1. Zero stands for "before the first entry".
    Seq
}

numbered! {
    /// A file in the queue of one client: its own, and nobody else knows it. Starts at 1.
    TransferId
}

impl Seq {
    /// Before the first entry of any log.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

random! {
    /// Given by the client to each entry it appends; a retry carries the same one (invariant 2).
    EntryId
}
random! {
    /// One installation of a client. Drawn once, kept with the client's data.
    DeviceId
}
random! {
    /// A file's bytes in object storage. Unguessable, but knowing it grants nothing.
    BlobId
}
random! {
    /// Given by the client to each upload; opening it again resumes it.
    UploadId
}

/// One of the two kinds of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogId {
    /// Everything that concerns one account alone.
    Personal(AccountId),
    /// Everything that happened in one conversation.
    Conversation(ConversationId),
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Personal(account) => write!(f, "personal/{account}"),
            Self::Conversation(conversation) => write!(f, "conversation/{conversation}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_survive_text() {
        let id = BlobId([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("a5".parse::<BlobId>().is_err());
        assert!("zz".repeat(16).parse::<BlobId>().is_err());
    }
}
