//! Expiring keys in memory. A counter is kept as its decimal digits, as Redis keeps it, so that a
//! key means the same on every bus.
//!
//! Whoever asks from many addresses makes many rate limits, so these have a table of their own and
//! take no room from the codes of others. When it is full, the limit that would start anew soonest
//! does so at once: it then holds for less than its time, but nobody is refused for what strangers
//! did. Any other counter is kept as faithfully as a value; a code may be guessed at only so often.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{Local, expiring::Expiring, now};
use crate::{
    Unavailable,
    key::{Counter, Keys},
    rate::KEY_PREFIX,
    size,
};

/// The keys of a [`Local`] bus.
pub(super) struct KeyTable {
    kept: Mutex<Expiring<Vec<u8>>>,
    rates: Mutex<Expiring<Vec<u8>>>,
}

impl KeyTable {
    /// Tables for at most `kept_max` keys and, beside them, `rates_max` rate limits.
    pub(super) fn new(kept_max: usize, rates_max: usize) -> Self {
        Self {
            kept: Mutex::new(Expiring::new(kept_max)),
            rates: Mutex::new(Expiring::that_makes_room(rates_max)),
        }
    }

    fn locked<T>(&self, key: &str, work: impl FnOnce(&mut Expiring<Vec<u8>>) -> T) -> T {
        let table = if key.starts_with(KEY_PREFIX) { &self.rates } else { &self.kept };
        work(&mut table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Keys for Local {
    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), Unavailable> {
        size::check(key, value)?;
        Ok(self.keys.locked(key, |keys| keys.insert(key, value.to_vec(), lifetime, now()))?)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.keys.locked(key, |keys| keys.get(key, now()).map(|(value, _)| value.clone())))
    }

    async fn delete(&self, key: &str) -> Result<bool, Unavailable> {
        Ok(self.keys.locked(key, |keys| keys.remove(key, now()).is_some()))
    }

    async fn increment(&self, key: &str, lifetime: Duration) -> Result<Counter, Unavailable> {
        size::check(key, &[])?;
        self.keys.locked(key, |keys| {
            let now = now();
            if let Some((value, expires)) = keys.get_mut(key, now) {
                let count = counted(value)?.saturating_add(1);
                *value = digits(count);
                return Ok(Counter { count, expires_in: expires - now });
            }
            keys.insert(key, digits(1), lifetime, now)?;
            Ok(Counter { count: 1, expires_in: lifetime })
        })
    }
}

fn digits(count: u64) -> Vec<u8> {
    count.to_string().into_bytes()
}

fn counted(value: &[u8]) -> Result<u64, Unavailable> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Unavailable("the key holds something that is no counter".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{local::LeaseTable, rate::RateLimit, size::VALUE_BYTES_MAX};

    const MINUTE: Duration = Duration::from_secs(60);

    fn small() -> Local {
        Local { keys: KeyTable::new(2, 2), leases: LeaseTable::new(2), ..Local::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_table_is_unavailable_until_something_expires() {
        let bus = small();
        bus.put("a", b"1", MINUTE).await.unwrap();
        bus.increment("b", 2 * MINUTE).await.unwrap();
        assert!(bus.put("c", b"3", MINUTE).await.is_err());
        assert!(bus.increment("d", MINUTE).await.is_err());
        bus.put("a", b"2", MINUTE).await.unwrap();
        assert_eq!(bus.increment("b", MINUTE).await.unwrap().count, 2);
        tokio::time::advance(MINUTE).await;
        bus.put("c", b"3", MINUTE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_strangers_closes_nothing_for_others() {
        let bus = small();
        let long = RateLimit { name: "long", count: 1, window: 3 * MINUTE };
        let short = RateLimit { name: "short", count: 1, window: MINUTE };
        bus.put("code", b"123456", MINUTE).await.unwrap();
        bus.increment("tries", MINUTE).await.unwrap();
        assert_eq!(long.exceeded(&bus, "alice").await.unwrap(), None);
        for stranger in ["a", "b", "c"] {
            assert_eq!(short.exceeded(&bus, stranger).await.unwrap(), None);
        }
        assert_eq!(short.exceeded(&bus, "a").await.unwrap(), None, "it had made room");
        assert!(long.exceeded(&bus, "alice").await.unwrap().is_some(), "it ends last");
        assert!(bus.get("code").await.unwrap().is_some());
        assert_eq!(bus.increment("tries", MINUTE).await.unwrap().count, 2, "it is no rate limit");
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused() {
        let bus = Local::new();
        let large = vec![0; VALUE_BYTES_MAX + 1];
        assert!(bus.put("key", &large, MINUTE).await.is_err());
        assert!(bus.put("key", &large[1..], MINUTE).await.is_ok());
        assert!(bus.increment(&"k".repeat(1000), MINUTE).await.is_err());
        assert!(bus.increment("key", MINUTE).await.is_err(), "it holds no counter");
    }
}
