//! Mail on its way out: what is said, and the two ways in which it leaves.

pub mod folder;
pub(crate) mod queue;
pub mod smtp;

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::{
    Message,
    message::{Mailbox, header::ContentType},
};
use skein_core::{name::Email, port::verifier::Purpose, time::Timestamp};
use thiserror::Error;

/// Takes mails out of the process. One try each: whoever misses a mail asks for another code.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands the mail to the next stop on its way.
    ///
    /// # Errors
    /// [`NotSent`], whose text holds no address and nothing of the mail.
    async fn send(&self, mail: Message) -> Result<(), NotSent>;
}

/// A mail that did not leave. Servers like to repeat the recipient in their answers, so none of
/// what they said is kept but the number.
#[derive(Debug, Error)]
pub enum NotSent {
    /// The server answered with a refusal.
    #[error("the mail server refused the mail with status {0}")]
    Refused(String),
    /// The server cannot take it now, and may in a while: a status of 4xx.
    #[error("the mail server asks to try later with status {0}")]
    Later(String),
    /// The server does not take the configured login.
    #[error(
        "the mail server refused the login with status {0}; see verify.smtp.username and \
         verify.smtp.password"
    )]
    Login(String),
    /// There was no conversation with the server.
    #[error("the mail server could not be talked to: {0}")]
    Unreachable(&'static str),
    /// The outbox folder does not take files.
    #[error("the mail could not be written into the outbox folder: {0}")]
    Folder(#[source] std::io::Error),
}

/// The text of a mail cannot be put together: the address has a form that mail does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the address is not one that mail can be sent to")]
pub(crate) struct Unmailable;

/// The mail that carries a code. All ASCII with short lines, so that nothing in it gets encoded.
pub(crate) fn compose(
    from: &Mailbox,
    to: &Email,
    purpose: Purpose,
    code: &str,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Message, Unmailable> {
    let (subject, reason) = match purpose {
        Purpose::Register => ("Your code for Skein", "create an account with this address"),
        Purpose::ResetPassword => {
            ("Your code for a new Skein password", "set a new password for your account")
        }
    };
    let minutes = lifetime.as_secs() / 60;
    let body = format!(
        "Somebody, probably you, wants to {reason}.\r\n\
         The code for it is\r\n\r\n    {code}\r\n\r\n\
         It is good for {minutes} minutes and for one use. Tell it to no one:\r\n\
         nobody of Skein will ever ask you for it.\r\n\r\n\
         If it was not you, there is nothing to do: without the code\r\n\
         nothing happens.\r\n"
    );
    let to = Mailbox::new(None, to.as_str().parse().map_err(|_| Unmailable)?);
    Message::builder()
        .from(from.clone())
        .to(to)
        .date(UNIX_EPOCH + Duration::from_millis(now.0))
        .message_id(None)
        .subject(subject)
        .header(ContentType::TEXT_PLAIN)
        .body(body)
        .map_err(|_| Unmailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_code_and_nothing_is_encoded() {
        let from = "Skein <skein@localhost>".parse().expect("a mailbox");
        let to = Email::parse("bo@example.org").expect("an address");
        for purpose in [Purpose::Register, Purpose::ResetPassword] {
            let lifetime = Duration::from_secs(300);
            let mail = compose(&from, &to, purpose, "042917", lifetime, Timestamp(0))
                .expect("a mail")
                .formatted();
            let text = String::from_utf8(mail).expect("ASCII");
            assert!(text.contains("\r\n    042917\r\n"), "{text}");
            assert!(text.contains("To: bo@example.org\r\n"), "{text}");
            assert!(text.contains("Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"), "{text}");
            assert!(text.contains("good for 5 minutes"), "{text}");
            assert!(text.contains("7bit"), "{text}");
        }
    }
}
