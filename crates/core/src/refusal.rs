//! Why a request was not done: one list of codes for HTTP and for QUIC, so that a client learns
//! them once. A code is stable; the sentence beside it is for people and may change.

use std::{fmt, time::Duration};

use thiserror::Error;

use crate::name::BadText;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// The stable name of a reason. The numbers are on the wire: never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Code {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Code {
            /// Every code, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code's name in JSON and in documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

codes! {
    /// The server failed; the same request may work later.
    Internal = 1, "internal";
    /// A part that the request needs cannot be reached.
    Unavailable = 2, "unavailable";
    /// Too many requests; wait for `retry_after`.
    RateLimited = 3, "rate_limited";
    /// The request is not of the form that the specification names.
    Malformed = 4, "malformed";
    /// A frame is longer than the limit.
    FrameTooLarge = 5, "frame_too_large";
    /// The request came at a moment when the protocol does not allow it.
    Protocol = 6, "protocol";
    /// Nothing arrived in time.
    TimedOut = 7, "timed_out";
    /// No valid token.
    Unauthorised = 8, "unauthorised";
    /// A valid token or password, but not the right.
    Forbidden = 9, "forbidden";
    /// No such thing, or not for this account to know.
    NotFound = 10, "not_found";
    /// A field has a value that is not accepted.
    Invalid = 11, "invalid";
    /// The name has an owner.
    NameTaken = 12, "name_taken";
    /// The e-mail address has an account.
    EmailTaken = 13, "email_taken";
    /// Name or password are wrong.
    BadCredentials = 14, "bad_credentials";
    /// The code is wrong.
    WrongCode = 15, "wrong_code";
    /// The code has expired, was used, or was guessed at too often.
    ExpiredCode = 16, "expired_code";
    /// Registration here needs a mailed code.
    CodeRequired = 17, "code_required";
    /// The two are not contacts.
    NotContacts = 18, "not_contacts";
    /// The two are contacts already.
    AlreadyContacts = 19, "already_contacts";
    /// A list has reached its limit.
    TooMany = 20, "too_many";
    /// The same entry id was used for other content.
    EntryConflict = 21, "entry_conflict";
    /// The account's storage is used up.
    Quota = 22, "quota";
    /// The file is larger than this server takes.
    FileTooLarge = 23, "file_too_large";
    /// The bytes do not begin at the offset that the server named.
    WrongOffset = 24, "wrong_offset";
    /// More bytes than announced.
    BeyondSize = 25, "beyond_size";
    /// The bytes do not have the announced BLAKE3.
    WrongHash = 26, "wrong_hash";
    /// The same upload id was used for another file.
    UploadConflict = 27, "upload_conflict";
    /// The upload was opened again elsewhere.
    Superseded = 28, "superseded";
    /// The upload is not complete.
    Incomplete = 29, "incomplete";
    /// The file is no picture, or one beyond the decode limits.
    BadPicture = 30, "bad_picture";
    /// The thumbnail is still being made.
    ThumbnailPending = 31, "thumbnail_pending";
    /// The server is going away; another one, or this one later, will answer.
    Draining = 32, "draining";
}

impl Code {
    /// The code with this number, if this version knows it.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| *code as u32 == number)
    }

    /// Whether the same request may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Internal
                | Self::Unavailable
                | Self::RateLimited
                | Self::TimedOut
                | Self::Draining
                | Self::ThumbnailPending
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request that was not done, with what to tell the person who made it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable reason.
    pub code: Code,
    /// One sentence for people: what is wrong and what would be accepted. Holds no secret.
    pub message: String,
    /// For limits: when to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal with a sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// A limit was reached that lifts after `retry_after`.
    #[must_use]
    pub fn limited(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { code: Code::RateLimited, message: message.into(), retry_after: Some(retry_after) }
    }

    /// The server failed. The cause belongs into the log, not into the answer.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::Internal, "the server failed; try again in a moment")
    }

    /// No such thing, or not for this account to know: deliberately one answer for both.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }
}

impl From<BadText> for Refusal {
    fn from(error: BadText) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        let numbers: HashSet<_> = Code::ALL.iter().map(|code| *code as u32).collect();
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
        for code in Code::ALL {
            assert_eq!(Code::from_number(*code as u32), Some(*code));
        }
        assert_eq!(Code::from_number(0), None);
    }
}
