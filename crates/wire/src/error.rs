//! [`Refusal`] on the wire.

use std::time::Duration;

use skein_core::refusal::{Code, Refusal};

use crate::pb;

impl From<Refusal> for pb::Error {
    fn from(refusal: Refusal) -> Self {
        let retry_after = refusal.retry_after.unwrap_or_default();
        Self {
            code: refusal.code as u32,
            message: refusal.message,
            retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl From<pb::Error> for Refusal {
    /// A code that this version does not know is taken for a failure of the server.
    fn from(error: pb::Error) -> Self {
        let retry_after = Duration::from_millis(error.retry_after_ms);
        Self {
            code: Code::from_number(error.code).unwrap_or(Code::Internal),
            message: error.message,
            retry_after: (!retry_after.is_zero()).then_some(retry_after),
        }
    }
}
