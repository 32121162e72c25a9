//! The addresses of names. What a name stood for before is kept: a client that comes back waits only
//! a moment for the resolver, which may be as far away as the server, and answers that come later
//! are there for the next attempt (RFC 8767, section 5, has resolvers do the same).

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

/// Addresses of one name that are tried before giving up.
const ADDRESSES_MAX: usize = 4;
/// Names that are remembered.
const NAMES_MAX: usize = 16;
/// Lookups at a time. One takes a thread until the resolver gives up, whoever still waits for it.
const LOOKUPS_MAX: usize = 4;
/// How long a lookup may take if the name is new.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take if there is an earlier answer (as RFC 8305, section 3, waits for the better one
/// of two).
const STALE_AFTER: Duration = Duration::from_millis(50);

/// Resolves names, and remembers.
#[derive(Debug)]
pub(super) struct Names {
    /// The latest last.
    known: Mutex<Vec<(String, Vec<SocketAddr>)>>,
    lookups: Arc<Semaphore>,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: Mutex::default(), lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Names {
    /// The addresses of `name`, which is `HOST:PORT`.
    pub(super) async fn resolve(self: &Arc<Self>, name: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let known = self.known(name);
        let patience = if known.is_empty() { RESOLVE_TIMEOUT } else { STALE_AFTER };
        let looking = async {
            let permit = Arc::clone(&self.lookups).acquire_owned().await;
            let permit = permit.map_err(io::Error::other)?;
            let (names, name) = (Arc::clone(self), name.to_owned());
            // It goes on when nobody waits for it any more.
            let looking = tokio::spawn(async move {
                let _permit = permit;
                names.look_up(name).await
            });
            looking.await.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        let in_time = tokio::time::timeout(patience, looking).await;
        let looked_up = in_time.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match looked_up {
            Err(_) if !known.is_empty() => Ok(known),
            looked_up => looked_up,
        }
    }

    /// What `name` stood for when it was resolved last; nothing if that is not known.
    pub(super) fn known(&self, name: &str) -> Vec<SocketAddr> {
        if let Ok(address) = name.parse() {
            return vec![address];
        }
        let known = self.lock();
        let found = known.iter().find(|(other, _)| other == name);
        found.map(|(_, addresses)| addresses.clone()).unwrap_or_default()
    }

    async fn look_up(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        let resolved = tokio::net::lookup_host(&name).await?;
        let addresses: Vec<_> = resolved.take(ADDRESSES_MAX).collect();
        self.keep(name, addresses.clone());
        Ok(addresses)
    }

    fn keep(&self, name: String, addresses: Vec<SocketAddr>) {
        let mut known = self.lock();
        known.retain(|(other, _)| *other != name);
        if known.len() == NAMES_MAX {
            known.remove(0);
        }
        known.push((name, addresses));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Vec<SocketAddr>)>> {
        // What a panic elsewhere leaves here is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    #[tokio::test]
    async fn an_address_needs_no_resolver_and_a_name_is_remembered() {
        let names = Arc::new(Names::default());
        assert_eq!(names.resolve("127.0.0.1:9").await.unwrap(), [ADDRESS]);
        assert_eq!(names.known("127.0.0.1:9"), [ADDRESS]);
        assert!(names.known("localhost:9").is_empty());
        let resolved = names.resolve("localhost:9").await.unwrap();
        assert!(resolved.contains(&ADDRESS), "{resolved:?}");
        assert_eq!(names.known("localhost:9"), resolved);
    }

    #[tokio::test]
    async fn a_resolver_that_says_nothing_is_no_reason_not_to_try_what_was_known() {
        let names = Arc::new(Names::default());
        let busy = names.lookups.acquire_many(LOOKUPS_MAX as u32).await.unwrap();
        names.keep("chat.invalid:9".to_owned(), vec![ADDRESS]);
        assert_eq!(names.resolve("chat.invalid:9").await.unwrap(), [ADDRESS]);
        drop(busy);
        // RFC 6761, section 6.4: it has no address, whoever is asked.
        assert_eq!(names.resolve("chat.invalid:9").await.unwrap(), [ADDRESS]);
    }

    #[test]
    fn only_so_many_names_are_remembered() {
        let names = Names::default();
        for number in 0..=NAMES_MAX {
            names.keep(format!("{number}:9"), vec![ADDRESS]);
        }
        assert_eq!(names.lock().len(), NAMES_MAX);
        assert!(names.known("0:9").is_empty());
        names.keep("1:9".to_owned(), Vec::new());
        assert_eq!(names.lock().len(), NAMES_MAX);
    }
}
