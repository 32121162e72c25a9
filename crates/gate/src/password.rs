//! Passwords: argon2id, off the async threads, and never more at once than the machine can bear.
//!
//! A hash costs 19 MiB and some tens of milliseconds of one core on purpose. Whoever needs one
//! first has to be [admitted](Hasher::admit), which fails at once when too many wait: memory and
//! the time in the queue have a bound, and nobody loses a used-up code to a full queue.

use std::{sync::Arc, thread, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use skein_core::{
    limit::PASSWORD_BYTES_MAX,
    name::BadText,
    refusal::{Code, Refusal},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task,
};

/// Memory of one hash, in KiB. This and the next two are OWASP's first choice for argon2id; a hash
/// says with which it was made, so they may be raised at any time.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at work at once at most, whatever the number of cores: 152 MiB.
const RUNNING_MAX: usize = 8;
/// Hashes that wait for their turn.
const WAITING_MAX: usize = 64;
/// When to try again after the queue was full: about the time in which it empties.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// What an unknown account's password is compared with, so that it takes as long as a known one's.
/// Made with the same parameters; no password gives it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords.
#[derive(Clone)]
pub(crate) struct Hasher {
    /// Who is at work or waits.
    places: Arc<Semaphore>,
    /// Who is at work.
    cores: Arc<Semaphore>,
}

/// The right to one hash.
pub(crate) struct Admission {
    cores: Arc<Semaphore>,
    place: OwnedSemaphorePermit,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from).min(RUNNING_MAX);
        Self::with_limits(cores, WAITING_MAX)
    }

    fn with_limits(running: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(running + waiting)),
            cores: Arc::new(Semaphore::new(running)),
        }
    }

    /// A place in the queue.
    ///
    /// # Errors
    /// `unavailable` if there is none.
    pub(crate) fn admit(&self) -> Result<Admission, Refusal> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refusal {
            retry_after: Some(RETRY_AFTER),
            ..Refusal::new(Code::Unavailable, "too many people log in right now; try again shortly")
        })?;
        Ok(Admission { cores: self.cores.clone(), place })
    }
}

impl Admission {
    /// The hash of a new password, as a PHC string.
    pub(crate) async fn hash(self, password: String) -> Result<String, Refusal> {
        self.work(move |argon2| {
            let hash: Result<PasswordHash, _> = argon2.hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(failed)
        })
        .await?
    }

    /// Whether it is the password that the PHC string was made from. Without one, of an unknown
    /// account, it takes as long and says no.
    pub(crate) async fn check(
        self,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, Refusal> {
        self.work(move |argon2| {
            let hash = PasswordHash::new(stored.as_deref().unwrap_or(NOBODY)).map_err(failed)?;
            let verified = argon2.verify_password(password.as_bytes(), &hash).is_ok();
            Ok(verified && stored.is_some())
        })
        .await?
    }

    async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce(Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let Self { cores, place } = self;
        let core = cores.acquire_owned().await.map_err(failed)?;
        let run = move || {
            let result = work(argon2());
            // Given back by the work itself: whoever asked may have gone away long ago.
            drop((core, place));
            result
        };
        task::spawn_blocking(run).await.map_err(failed)
    }
}

/// Refuses what is too long to be anyone's password, before it costs a hash. A password to be
/// checked is not held to the rules for new ones, which may have been others when it was set.
pub(crate) fn within_bounds(password: String) -> Result<String, BadText> {
    if password.len() <= PASSWORD_BYTES_MAX { Ok(password) } else { Err(BadText::Password) }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("they are within the limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(error.cause = %error, "a password could not be hashed or checked");
    Refusal::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn knows_its_password() {
        let hasher = Hasher::new();
        let admit = || hasher.admit().expect("nobody waits");
        let hash = admit().hash("correct horse".into()).await.expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let check = |password: &str, stored| admit().check(password.into(), stored);
        assert_eq!(check("correct horse", Some(hash.clone())).await, Ok(true));
        assert_eq!(check("correct horsf", Some(hash)).await, Ok(false));
        assert_eq!(check("correct horse", None).await, Ok(false));
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let nobody = PasswordHash::new(NOBODY).expect("a PHC string");
        let params = Params::try_from(&nobody).expect("parameters of argon2");
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost(), params.output_len()),
            (MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))
        );
    }

    #[tokio::test]
    async fn refuses_when_too_many_wait() {
        let hasher = Hasher::with_limits(1, 1);
        let first = hasher.admit().expect("a core");
        let second = hasher.admit().expect("a place to wait");
        let refusal = hasher.admit().err().expect("no place");
        assert_eq!((refusal.code, refusal.retry_after), (Code::Unavailable, Some(RETRY_AFTER)));
        drop(second);
        let second = hasher.admit().expect("the place is free again");
        let (a, b) = tokio::join!(first.hash("a".into()), second.hash("b".into()));
        assert!(a.is_ok() && b.is_ok(), "one after the other");
        assert_eq!(hasher.places.available_permits(), 2);
    }
}
