//! The role itself: what it does when a code is asked for, and when one is shown.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use lettre::message::Mailbox;
use skein_bus::{Unavailable, key::Keys, rate::RateLimit};
use skein_core::{
    limit::{CODE_LIFETIME, CODE_TRIES_MAX},
    name::{BadText, Email},
    port::verifier::{CodeSent, Purpose, Verifier},
    refusal::{Code, Refusal},
    subject::Subject,
    time::Clock,
};
use skein_ops::lifecycle::Shutdown;
use thiserror::Error;

use crate::{
    code::{self, Record},
    config::Config,
    mail::{
        self, Mailer,
        folder::Folder,
        queue::{Full, Queue},
        smtp::{BadSmtp, Relay},
    },
};

/// Whom mails in the outbox folder come from.
const FOLDER_FROM: &str = "Skein <skein@localhost>";
/// The window of both limits.
const LIMIT_WINDOW: Duration = Duration::from_secs(60 * 60);
/// When to try again while a part that the role needs is away.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The verify role.
pub struct Verify {
    from: Mailbox,
    queue: Queue,
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
    per_email_and_network: RateLimit,
    per_email: RateLimit,
    per_network: RateLimit,
}

/// What the role works with.
pub struct Parts {
    /// Keeps codes, tries and limits.
    pub keys: Arc<dyn Keys>,
    /// For the date of a mail.
    pub clock: Arc<dyn Clock>,
}

/// The role cannot start as configured.
#[derive(Debug, Error)]
pub enum StartError {
    /// The mail server.
    #[error(transparent)]
    Smtp(#[from] BadSmtp),
    /// The sender's address.
    #[error(
        "verify.smtp.from: expected `name@example.org` or `Name <name@example.org>`, got `{0}`"
    )]
    From(String),
}

impl Verify {
    /// Starts the role: mails go to the configured server, or else into the folder `outbox`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: &Config,
        outbox: &Path,
        parts: Parts,
        shutdown: &Shutdown,
    ) -> Result<Arc<Self>, StartError> {
        let (from, mailer): (&str, Arc<dyn Mailer>) = match &config.smtp {
            Some(smtp) => (&smtp.from, Arc::new(Relay::new(smtp)?)),
            None => (FOLDER_FROM, Arc::new(Folder::new(outbox, parts.clock.clone()))),
        };
        let from = from.parse().map_err(|_| StartError::From(from.to_owned()))?;
        Ok(Arc::new(Self::with_mailer(config, from, mailer, parts, shutdown)))
    }

    fn with_mailer(
        config: &Config,
        from: Mailbox,
        mailer: Arc<dyn Mailer>,
        parts: Parts,
        shutdown: &Shutdown,
    ) -> Self {
        let limit =
            |name, count: u32| RateLimit { name, count: u64::from(count), window: LIMIT_WINDOW };
        Self {
            from,
            queue: Queue::start(mailer, shutdown),
            keys: parts.keys,
            clock: parts.clock,
            per_email_and_network: limit(
                "codes-per-email-and-network",
                config.codes_per_email_and_network_per_hour,
            ),
            per_email: limit("codes-per-email", config.codes_per_email_per_hour),
            per_network: limit("codes-per-network", config.codes_per_network_per_hour),
        }
    }

    async fn hold_to_limits(&self, email: &Email, from: IpAddr) -> Result<(), Refusal> {
        let (network, email) = (Subject::network(from), Subject::email(email));
        // What one network may do comes first: over its limit, it must not use up the address's.
        for (limit, subject) in [
            (&self.per_network, network.to_string()),
            (&self.per_email_and_network, format!("{email}/{network}")),
            (&self.per_email, email.to_string()),
        ] {
            let exceeded = limit.exceeded(&*self.keys, &subject).await;
            if let Some(wait) = exceeded.map_err(away)? {
                return Err(Refusal::limited("too many codes were asked for; try later", wait));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Verifier for Verify {
    /// As the trait says. "Mail cannot be sent" means here that the queue of mails is full: what
    /// happens to a queued mail later is logged, because waiting for it would let the answer's
    /// timing tell a delivered mail from a withheld one.
    async fn request(
        &self,
        purpose: Purpose,
        email: &Email,
        from: IpAddr,
        deliver: bool,
    ) -> Result<CodeSent, Refusal> {
        self.hold_to_limits(email, from).await?;
        let key = code::record_key(purpose, email);
        let stored = self.keys.get(&key).await.map_err(away)?;
        let record = stored.as_deref().and_then(Record::decode);
        let record = record.unwrap_or_else(|| Record::draw(&mut rand::rng(), purpose, email));
        let code = record.open(purpose, email);
        let now = self.clock.now();
        let mail = mail::compose(&self.from, email, purpose, &code, CODE_LIFETIME, now)
            .map_err(|_| Refusal::from(BadText::Email))?;
        self.keys.put(&key, &record.encode(), CODE_LIFETIME).await.map_err(away)?;
        self.queue.push(mail, deliver).map_err(|Full| {
            tracing::warn!("the queue of mails is full");
            unavailable("mail cannot be sent at the moment")
        })?;
        Ok(CodeSent { expires_in: CODE_LIFETIME })
    }

    async fn check(&self, purpose: Purpose, email: &Email, code: &str) -> Result<(), Refusal> {
        let key = code::record_key(purpose, email);
        let stored = self.keys.get(&key).await.map_err(away)?;
        let Some(record) = stored.as_deref().and_then(Record::decode) else {
            return Err(expired("there is no code for this address, or it has expired"));
        };
        // Counted before the code is looked at, so that guesses at once cannot slip through.
        let tries = self.keys.increment(&record.tries_key(), CODE_LIFETIME).await.map_err(away)?;
        if tries.count > u64::from(CODE_TRIES_MAX) {
            return Err(expired("the code was guessed at too often"));
        }
        if !record.is_for(purpose, email, code) {
            // The last guess makes room, so that asking again brings a code that is good.
            if tries.count == u64::from(CODE_TRIES_MAX) {
                self.keys.delete(&key).await.map_err(away)?;
            }
            return Err(Refusal::new(Code::WrongCode, "the code is wrong"));
        }
        if self.keys.delete(&key).await.map_err(away)? {
            Ok(())
        } else {
            Err(expired("the code has been used"))
        }
    }
}

fn expired(why: &str) -> Refusal {
    Refusal::new(Code::ExpiredCode, format!("{why}; ask for a new one"))
}

fn away(error: Unavailable) -> Refusal {
    tracing::error!(error.cause = %error, "codes cannot be kept");
    unavailable("codes cannot be handled at the moment")
}

fn unavailable(what: &str) -> Refusal {
    let sentence = format!("{what}; try again in a moment");
    Refusal { retry_after: Some(RETRY_AFTER), ..Refusal::new(Code::Unavailable, sentence) }
}

#[cfg(test)]
mod tests;
