//! Expiring keys in memory. A counter is kept as its decimal digits, as Redis keeps it, so that a
//! key means the same on every bus.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{Local, check_sizes, expiring::Expiring, now};
use crate::{
    Unavailable,
    key::{Counter, Keys},
};

/// The keys of a [`Local`] bus.
pub(super) struct KeyTable(Mutex<Expiring<Vec<u8>>>);

impl KeyTable {
    /// A table for at most `max` keys.
    pub(super) fn new(max: usize) -> Self {
        Self(Mutex::new(Expiring::new(max)))
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Expiring<Vec<u8>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Keys for Local {
    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), Unavailable> {
        check_sizes(key, value)?;
        Ok(self.keys.locked(|keys| keys.insert(key, value.to_vec(), lifetime, now()))?)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.keys.locked(|keys| keys.get(key, now()).map(|(value, _)| value.clone())))
    }

    async fn delete(&self, key: &str) -> Result<bool, Unavailable> {
        Ok(self.keys.locked(|keys| keys.remove(key, now()).is_some()))
    }

    async fn increment(&self, key: &str, lifetime: Duration) -> Result<Counter, Unavailable> {
        check_sizes(key, &[])?;
        self.keys.locked(|keys| {
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
    use crate::local::{LeaseTable, VALUE_BYTES_MAX};

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_full_table_is_unavailable_until_something_expires() {
        let bus = Local { keys: KeyTable::new(2), leases: LeaseTable::new(2), ..Local::new() };
        bus.put("a", b"1", MINUTE).await.unwrap();
        bus.increment("b", 2 * MINUTE).await.unwrap();
        assert!(bus.put("c", b"3", MINUTE).await.is_err());
        assert!(bus.increment("d", MINUTE).await.is_err());
        bus.put("a", b"2", MINUTE).await.unwrap();
        assert_eq!(bus.increment("b", MINUTE).await.unwrap().count, 2);
        tokio::time::advance(MINUTE).await;
        bus.put("c", b"3", MINUTE).await.unwrap();
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
