//! Refusals on their way through gRPC. What the other role answered travels whole in metadata; the
//! gRPC code beside it is for tools that know no Skein.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use prost::Message;
use skein_core::refusal::{Code, Refusal};
use skein_ops::observe::count_error;
use skein_wire::pb;
use thiserror::Error;
use tonic::{
    Status,
    metadata::{MetadataMap, MetadataValue},
};

use crate::access::Role;

/// The metadata key of the encoded `skein.v1.Error`. On the wire: stable.
const KEY: &str = "skein-error-bin";
/// Bytes of a refusal's sentence that travel: far more than any sentence has, far less than a
/// header may.
const MESSAGE_BYTES_MAX: usize = 1024;
/// When to try again while a peer is away: it may be starting again, and another may be asked.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The other role refused: its words.
    Refused(Refusal),
    /// There was no connection, or it ended before it took the call: surely it was not sent.
    NotSent(String),
    /// Something happened between here and there; the call may have been carried out.
    Lost(String),
    /// No answer within the time; the call may have been carried out.
    Late,
}

/// A message that is well-formed protobuf but not what the schema names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("`{0}` is missing or not of the form that the schema names")]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(Code::Malformed, malformed.to_string())
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Lost(malformed.to_string())
    }
}

impl Failure {
    /// Its name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code.name(),
            Self::NotSent(_) => "not_sent",
            Self::Lost(_) => "lost",
            Self::Late => "deadline",
        }
    }
}

/// Counts a refusal of the role that is asked here, and makes a status of it.
pub(crate) fn refused(role: Role) -> impl Fn(Refusal) -> Status {
    move |refusal| {
        count_error(role.name(), refusal.code);
        to_status(refusal)
    }
}

/// The refusal as a status, for the server.
pub(crate) fn to_status(refusal: Refusal) -> Status {
    let code = match refusal.code {
        Code::Internal => tonic::Code::Internal,
        Code::Unavailable | Code::Draining => tonic::Code::Unavailable,
        Code::RateLimited | Code::TooMany | Code::Quota => tonic::Code::ResourceExhausted,
        Code::Malformed | Code::Invalid => tonic::Code::InvalidArgument,
        Code::Unauthorised => tonic::Code::Unauthenticated,
        Code::Forbidden => tonic::Code::PermissionDenied,
        Code::NotFound => tonic::Code::NotFound,
        Code::TimedOut => tonic::Code::DeadlineExceeded,
        _ => tonic::Code::FailedPrecondition,
    };
    let mut error = pb::Error::from(refusal);
    let fits = |end: &usize| error.message.is_char_boundary(*end);
    let end = (0..=error.message.len().min(MESSAGE_BYTES_MAX)).rev().find(fits).unwrap_or(0);
    error.message.truncate(end);
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(KEY, MetadataValue::from_bytes(&error.encode_to_vec()));
    Status::with_metadata(code, error.message, metadata)
}

/// What became of a call, for the client.
pub(crate) fn of_status(status: &Status) -> Failure {
    if let Some(refusal) = carried(status) {
        return Failure::Refused(refusal);
    }
    let mut words = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let given_back =
            error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        if given_back || error.is::<tonic::ConnectError>() {
            return Failure::NotSent(innermost(error));
        }
        if error.is::<tonic::TimeoutExpired>() {
            return Failure::Late;
        }
        if error.source().is_none() {
            words = format!("{words}: {error}");
        }
        cause = error.source();
    }
    Failure::Lost(words)
}

/// The answer for whoever asked, when no peer could be: the cause belongs into the log.
pub(crate) fn unavailable(role: &str) -> Refusal {
    let message = format!("the {role} service cannot be reached at the moment; try again");
    Refusal { retry_after: Some(RETRY_AFTER), ..Refusal::new(Code::Unavailable, message) }
}

fn carried(status: &Status) -> Option<Refusal> {
    let value = status.metadata().get_bin(KEY)?;
    let bytes: Bytes = value.to_bytes().ok()?;
    Some(pb::Error::decode(bytes).ok()?.into())
}

fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_arrives_as_it_was_given() {
        for code in Code::ALL {
            for retry_after in [None, Some(Duration::from_millis(1_500))] {
                let refusal = Refusal { retry_after, ..Refusal::new(*code, "das geht nicht: ✗") };
                let status = to_status(refusal.clone());
                // As the transport does.
                let mut headers = tonic::codegen::http::HeaderMap::new();
                status.add_header(&mut headers).expect("fits into headers");
                let status = Status::from_header_map(&headers).expect("a status");
                match of_status(&status) {
                    Failure::Refused(arrived) => assert_eq!(arrived, refusal),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_long_sentence_is_cut() {
        let status = to_status(Refusal::new(Code::Invalid, "ä".repeat(MESSAGE_BYTES_MAX)));
        assert_eq!(status.message().len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn what_is_not_a_refusal_is_not_taken_for_one() {
        assert!(matches!(of_status(&Status::internal("no")), Failure::Lost(_)));
        let mut status = Status::not_found("no");
        let garbled = MetadataValue::from_bytes(b"\xff\xff");
        status.metadata_mut().insert_bin(KEY, garbled);
        assert!(matches!(of_status(&status), Failure::Lost(_)));
        let error = tonic::TimeoutExpired(());
        assert!(matches!(of_status(&Status::from_error(error.into())), Failure::Late));
        let error = tonic::ConnectError("refused".into());
        assert!(matches!(of_status(&Status::from_error(error.into())), Failure::NotSent(_)));
    }
}
