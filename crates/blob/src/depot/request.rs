//! One request to the object store: its deadline, what is measured of it, and what its error means.
//!
//! Only a remote store has deadlines: it may hang without ever saying so. A folder answers, or the
//! whole process hangs with its disk.

use std::{future::Future, time::Duration};

use metrics::{counter, histogram};
use object_store::path::Path as ObjectPath;
use tokio::time::{Instant, timeout};

use super::DepotError;
use crate::metric;

/// How many small requests' time a part may take: it carries megabytes.
const PART_PATIENCE: u32 = 3;
/// The same for making one object of many parts, which some stores do by copying.
const COMPLETE_PATIENCE: u32 = 6;
/// What a store answers about parts that it does not have as they were named (the `Code` of S3's
/// error bodies): asking again cannot help.
const LOST_PARTS: [&str; 4] = ["NoSuchUpload", "InvalidPart", "EntityTooSmall", "InvalidUpload"];

/// What it answers if the bucket is not there, to requests that name no object.
const NO_BUCKET: &str = "NoSuchBucket";

/// Where requests go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Line {
    /// To a folder.
    Folder,
    /// To another machine; a small request may take this long, with its repetitions.
    Remote(Duration),
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Publish,
    Put,
    Look,
    Open,
    Read,
    Delete,
    List,
    Begin,
    Part,
    Complete,
    Abort,
}

impl Operation {
    /// To follow "failed to".
    pub(crate) const fn doing(self) -> &'static str {
        match self {
            Self::Publish => "publish a blob",
            Self::Put => "store an object",
            Self::Look => "look for an object",
            Self::Open => "open an object",
            Self::Read => "read an object",
            Self::Delete => "delete an object",
            Self::List => "list objects",
            Self::Begin => "begin an object of parts",
            Self::Part => "store a part",
            Self::Complete => "join the parts of an object",
            Self::Abort => "give up the parts of an object",
        }
    }

    /// The value of the metrics' label.
    const fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Put => "put",
            Self::Look => "look",
            Self::Open => "open",
            Self::Read => "read",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Begin => "begin",
            Self::Part => "part",
            Self::Complete => "complete",
            Self::Abort => "abort",
        }
    }

    /// Whether it is more than taking what a request has brought already.
    const fn is_request(self) -> bool {
        !matches!(self, Self::Read | Self::List)
    }

    const fn patience(self) -> u32 {
        match self {
            // A whole small file is as large as a part.
            Self::Part | Self::Put => PART_PATIENCE,
            Self::Complete => COMPLETE_PATIENCE,
            _ => 1,
        }
    }
}

impl Line {
    /// Asks, and waits for the answer no longer than the deadline.
    pub(crate) async fn ask<T>(
        self,
        operation: Operation,
        path: &ObjectPath,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, DepotError> {
        let doing = operation.doing();
        let Self::Remote(deadline) = self else {
            return request.await.map_err(|source| meaning(operation, path, source));
        };
        let begun = Instant::now();
        let answer = match timeout(deadline * operation.patience(), request).await {
            Ok(answer) => answer.map_err(|source| remote_meaning(operation, path, source)),
            Err(late) => Err(DepotError::Unavailable { doing, source: late.into() }),
        };
        let label = operation.label();
        if operation.is_request() {
            histogram!(metric::REQUEST_SECONDS, "operation" => label).record(begun.elapsed());
        }
        if matches!(answer, Err(DepotError::Unavailable { .. } | DepotError::Objects { .. })) {
            counter!(metric::REQUEST_ERRORS, "operation" => label).increment(1);
        }
        answer
    }
}

fn meaning(operation: Operation, path: &ObjectPath, source: object_store::Error) -> DepotError {
    match source {
        object_store::Error::NotFound { .. } => DepotError::Missing(path.clone()),
        source => DepotError::Objects { doing: operation.doing(), source },
    }
}

/// What is neither there nor forbidden is a store that is away: the library has one error for all
/// that may go wrong on the way.
fn remote_meaning(
    operation: Operation,
    path: &ObjectPath,
    source: object_store::Error,
) -> DepotError {
    let of_parts = matches!(operation, Operation::Part | Operation::Complete | Operation::Abort);
    match source {
        object_store::Error::Generic { source, .. } => {
            let said = source.to_string();
            let lost = of_parts && LOST_PARTS.iter().any(|code| said.contains(code));
            if lost || (operation == Operation::List && said.contains(NO_BUCKET)) {
                return DepotError::Missing(path.clone());
            }
            DepotError::Unavailable { doing: operation.doing(), source }
        }
        other => meaning(operation, path, other),
    }
}
