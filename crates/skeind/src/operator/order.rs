//! What operators order, and what they are answered: the words that `skeind admin` and a running
//! server exchange. Both are the same binary, so that they may change together.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use skein_core::refusal::Refusal;

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Tells of accounts after this one, by number, at most so many.
    Users {
        /// The account's number.
        after: Option<u64>,
        /// At most this many; bounded by [`USERS_MAX`].
        limit: usize,
    },
    /// Tells of one account.
    User {
        /// Its name.
        name: String,
    },
    /// Ends its logins and lets it log in no more.
    Disable {
        /// Its name.
        name: String,
    },
    /// Lets it log in again.
    Enable {
        /// Its name.
        name: String,
    },
    /// Mails it a code for a new password.
    Reset {
        /// Its name.
        name: String,
    },
    /// Tells of its logins.
    Sessions {
        /// Its name.
        name: String,
    },
    /// Ends the login of one device, or of all.
    Kick {
        /// The account's name.
        name: String,
        /// The device's id.
        device: Option<String>,
    },
    /// Tells of the chat nodes.
    Nodes,
    /// Lets a chat node send its sessions to others.
    Drain {
        /// Its name.
        node: String,
        /// Over how many milliseconds.
        over_ms: u64,
        /// Also if there is no other that takes its sessions.
        force: bool,
    },
    /// Tells of open uploads after this one, the longest untouched first, at most so many.
    Uploads {
        /// The last that is known.
        after: Option<Place>,
        /// At most this many; bounded by [`UPLOADS_MAX`].
        limit: usize,
    },
    /// Tells what is stored.
    Storage,
    /// Copies the embedded store and its blobs to a new folder.
    Backup {
        /// The folder, absolute.
        to: PathBuf,
    },
}

/// Accounts in one answer at most.
pub(crate) const USERS_MAX: usize = 500;

/// Uploads in one answer at most.
pub(crate) const UPLOADS_MAX: usize = 500;

/// Missing files that are named in one answer at most.
pub(crate) const MISSING_LISTED_MAX: usize = 100;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "with", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Accounts.
    Users(Vec<User>),
    /// An account after what was done to it.
    User(User),
    /// Logins.
    Sessions(Vec<Session>),
    /// How many logins were ended.
    Kicked(Kicked),
    /// A code was mailed.
    Reset(Reset),
    /// Chat nodes.
    Nodes(Vec<Node>),
    /// The node was told.
    Draining(Draining),
    /// Open uploads.
    Uploads(Vec<Upload>),
    /// What is stored.
    Storage(Storage),
    /// What was copied.
    Backup(Backup),
    /// It was done, but the chat nodes could not be told: sessions that are open end when their node
    /// looks at their login again.
    Late(Box<Self>),
    /// It was not done.
    Failed(Failure),
}

/// An account. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// Its number.
    pub(crate) account: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) email: String,
    /// When it was created.
    pub(crate) created_ms: u64,
    /// Since when it is disabled.
    pub(crate) disabled_ms: Option<u64>,
    /// What counts against its quota.
    pub(crate) storage_bytes: u64,
    /// Its logins.
    pub(crate) logins: u64,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The device's id.
    pub(crate) device: String,
    /// What its owner calls it.
    pub(crate) device_name: String,
    /// When it logged in.
    pub(crate) issued_ms: u64,
    /// Until when the login is good.
    pub(crate) expires_ms: u64,
}

/// Logins that were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kicked {
    /// Whose.
    pub(crate) name: String,
    /// How many.
    pub(crate) logins: u64,
}

/// A code that was mailed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reset {
    /// To whom.
    pub(crate) name: String,
    /// How long it is good for.
    pub(crate) expires_in_seconds: u64,
}

/// A chat node, as it said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) node: String,
    /// Where clients reach it.
    pub(crate) address: String,
    /// Sessions that it holds.
    pub(crate) sessions: u64,
    /// Sessions that it takes at most.
    pub(crate) sessions_max: u64,
    /// Whether it gets no one any more.
    pub(crate) draining: bool,
    /// The memory of its process.
    pub(crate) memory_bytes: u64,
    /// Thousandths of one core.
    pub(crate) cpu_permille: u32,
}

/// An order to drain that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Draining {
    /// To which node.
    pub(crate) node: String,
    /// The time that holds: that of the first order, where there were several.
    pub(crate) over_ms: u64,
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upload {
    /// Whose.
    pub(crate) account: u64,
    /// Its id.
    pub(crate) upload: String,
    /// What its blob will be called.
    pub(crate) blob: String,
    /// Bytes in the whole file.
    pub(crate) size: u64,
    /// Bytes that are durable.
    pub(crate) durable: u64,
    /// Whether all bytes are there.
    pub(crate) completing: bool,
    /// When it was opened first, or its last checkpoint.
    pub(crate) touched_ms: u64,
}

impl Upload {
    /// Where it stands in the list.
    pub(crate) fn place(&self) -> Place {
        let Self { touched_ms, account, upload, .. } = self;
        Place { touched_ms: *touched_ms, account: *account, upload: upload.clone() }
    }
}

/// Where an upload stands in the list of the open ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// When it was opened last, or its last checkpoint.
    pub(crate) touched_ms: u64,
    /// Whose it is.
    pub(crate) account: u64,
    /// Its id.
    pub(crate) upload: String,
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Storage {
    /// Complete files.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) blob_bytes: u64,
    /// Uploads that are not complete.
    pub(crate) open_uploads: u64,
    /// The bytes that these announced.
    pub(crate) open_bytes: u64,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backup {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Complete files in it.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) blob_bytes: u64,
    /// Uploads under way in it.
    pub(crate) uploads: u64,
    /// Complete files that its store knows and that are not in it.
    pub(crate) missing: u64,
    /// The ids of these, the first [`MISSING_LISTED_MAX`].
    pub(crate) missing_blobs: Vec<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The stable name of the reason.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with a sentence.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code.name(), refusal.message)
    }
}
