//! Skein's wire: the messages generated from `proto/skein/v1`, the framing around them, and the
//! conversion to and from the domain at the edge.
//!
//! `proto/README.md` is the normative specification; `proto/vectors` holds bytes that every
//! implementation is tested with. Read [`frame`] first, then [`entry`].
//!
//! This crate refuses to do I/O and to decide anything: bytes in, domain values or [`Malformed`]
//! out.

pub mod body;
pub mod close;
pub mod entry;
pub mod error;
pub mod frame;
pub mod people;
pub mod session;
pub mod transfer;

use skein_core::{
    id::BadId,
    name::BadText,
    refusal::{Code, Refusal},
};
use thiserror::Error;

/// The generated messages, as in `proto/skein/v1`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/skein.v1.rs"));
}

/// A message that is well-formed protobuf but not what the specification names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {expected}")]
pub struct Malformed {
    /// Where.
    pub field: &'static str,
    /// What would have been accepted.
    pub expected: String,
    code: Code,
}

impl Malformed {
    fn missing(field: &'static str) -> Self {
        Self { field, expected: "is missing".into(), code: Code::Malformed }
    }

    fn id(field: &'static str) -> impl Fn(BadId) -> Self {
        move |bad| Self {
            field,
            expected: format!("expected {}", bad.expected),
            code: Code::Malformed,
        }
    }

    fn text(field: &'static str) -> impl Fn(BadText) -> Self {
        move |bad| Self { field, expected: bad.to_string(), code: Code::Invalid }
    }

    fn other(field: &'static str, expected: &str) -> Self {
        Self { field, expected: expected.into(), code: Code::Malformed }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.code, malformed.to_string())
    }
}

fn hash(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], Malformed> {
    bytes.try_into().map_err(|_| Malformed::other(field, "expected 32 bytes"))
}
