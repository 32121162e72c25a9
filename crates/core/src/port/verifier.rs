//! What the gate asks of the verify role.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;

use crate::{name::Email, refusal::Refusal};

/// What a code is good for; a code for one purpose is void for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To show that the address of a new account is one's own.
    Register,
    /// To set a new password.
    ResetPassword,
}

impl Purpose {
    /// A stable name, for keys and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::ResetPassword => "reset_password",
        }
    }
}

/// A code that has been handed to the mail system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeSent {
    /// How long it is good for.
    pub expires_in: Duration,
}

/// Makes, mails and checks verification codes.
#[async_trait]
pub trait Verifier: Send + Sync {
    /// Mails a code to the address. While an earlier one of the same purpose is good, that one is
    /// mailed again and good for its whole time from now on: asking voids nobody's code.
    ///
    /// `deliver` is false where the caller knows that nobody should get mail (a reset for an
    /// address without an account): everything but the mail then happens alike, so that the answer
    /// and its timing tell nothing.
    ///
    /// # Errors
    /// `rate_limited` by the mail address or by `from`; `unavailable` if mail cannot be sent.
    async fn request(
        &self,
        purpose: Purpose,
        email: &Email,
        from: IpAddr,
        deliver: bool,
    ) -> Result<CodeSent, Refusal>;

    /// Uses up the code if it is right.
    ///
    /// # Errors
    /// `wrong_code`; `expired_code` if it is too old, used, or was guessed at too often.
    async fn check(&self, purpose: Purpose, email: &Email, code: &str) -> Result<(), Refusal>;
}
