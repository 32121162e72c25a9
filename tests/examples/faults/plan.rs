//! How much is done, and for how long: the short form for every run of the tests, the long one for
//! proof.

use std::{env, path::PathBuf, time::Duration};

/// What the short form may take at the end of `make test` before people stop running it.
const SHORT_EXPECTED: Duration = Duration::from_secs(360);
/// How long a node that is drained is left alone once its time is over.
pub(crate) const DRAIN_SETTLES: Duration = Duration::from_secs(1);
/// How long a node that was drained may take to end and to start, before a window is longer than the
/// undisturbed one before it.
const ANEW: Duration = Duration::from_secs(4);

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Accounts; each is in one direct conversation with its neighbour.
    pub(crate) accounts: usize,
    /// Clients of each account.
    pub(crate) devices: usize,
    /// Time between two messages of one client.
    pub(crate) message_every: Duration,
    /// Clients that send files, one after the other.
    pub(crate) uploaders: usize,
    /// Every so many files of an uploader, one is large.
    pub(crate) large_file_every: usize,
    /// Bytes of a large file, at most; half of it at least.
    pub(crate) large_file_bytes: usize,
    /// Bytes of any other file, at most.
    pub(crate) small_file_bytes: usize,
    /// Chat nodes that are killed, one after the other.
    pub(crate) chat_kills: usize,
    /// How long a killed process is away.
    pub(crate) away: Duration,
    /// How long a chat node is frozen: longer than its lease.
    pub(crate) frozen: Duration,
    /// How long the object store is away.
    pub s3_away: Duration,
    /// Over how long a node's sessions are moved.
    pub(crate) drain_over: Duration,
    /// What the whole run may take before it says that it took too long.
    pub(crate) expected: Option<Duration>,
    /// How long the load goes on after each fault, before it is looked at.
    pub(crate) afterwards: Duration,
    /// Only the faults whose name contains this.
    pub(crate) only: Option<String>,
    /// Where the cluster keeps everything; it stays there.
    pub(crate) folder: Option<PathBuf>,
}

impl Plan {
    /// Reads the command line: `[--short] [--only NAME] [--folder DIR]`.
    pub(crate) fn from_arguments() -> Result<Self, String> {
        let mut arguments = env::args().skip(1);
        let (mut short, mut only, mut folder) = (false, None, None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--short" => short = true,
                "--only" => only = Some(arguments.next().ok_or("--only takes a name")?),
                "--folder" => {
                    folder = Some(arguments.next().ok_or("--folder takes a path")?.into());
                }
                other => {
                    return Err(format!(
                        "what is {other}? Usage: faults [--short] [--only NAME] [--folder DIR]"
                    ));
                }
            }
        }
        let plan = if short { Self::short() } else { Self::long() };
        Ok(Self { only, folder, ..plan })
    }

    /// How long a window without a fault is, and one with a drain: as long, to be compared.
    pub(crate) fn window(&self) -> Duration {
        self.drain_over + DRAIN_SETTLES + ANEW
    }

    fn short() -> Self {
        Self {
            message_every: Duration::from_secs(6),
            uploaders: 4,
            large_file_bytes: 24 << 20,
            chat_kills: 3,
            frozen: Duration::from_secs(14),
            s3_away: Duration::from_secs(6),
            afterwards: Duration::from_secs(2),
            expected: Some(SHORT_EXPECTED),
            ..Self::long()
        }
    }

    fn long() -> Self {
        Self {
            accounts: 100,
            devices: 2,
            message_every: Duration::from_secs(2),
            uploaders: 8,
            large_file_every: 4,
            large_file_bytes: 32 << 20,
            small_file_bytes: 200 << 10,
            chat_kills: 10,
            away: Duration::from_millis(1500),
            frozen: Duration::from_secs(30),
            s3_away: Duration::from_secs(20),
            drain_over: Duration::from_secs(5),
            expected: None,
            afterwards: Duration::from_secs(5),
            only: None,
            folder: None,
        }
    }
}
