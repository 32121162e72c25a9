//! A bounded map whose entries expire. What has expired is taken out by the next call that changes
//! the map, in the order of expiry, so no call ever looks through all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::size::LIFETIME_MAX;

/// There is no room for another name.
#[derive(Debug)]
pub(super) struct Full {
    /// How many there are.
    pub(super) max: usize,
}

/// Names with values, each until its moment comes.
pub(super) struct Expiring<V> {
    max: usize,
    makes_room: bool,
    entries: BTreeMap<Arc<str>, (V, Instant)>,
    by_expiry: BTreeSet<(Instant, Arc<str>)>,
}

impl<V> Expiring<V> {
    /// An empty map for at most `max` names.
    pub(super) fn new(max: usize) -> Self {
        Self { max, makes_room: false, entries: BTreeMap::new(), by_expiry: BTreeSet::new() }
    }

    /// An empty map for at most `max` names, of which the one that would expire first makes room
    /// for a further one.
    pub(super) fn that_makes_room(max: usize) -> Self {
        Self { makes_room: true, ..Self::new(max) }
    }

    /// Sets a value in place of an earlier one.
    pub(super) fn insert(
        &mut self,
        name: &str,
        value: V,
        lifetime: Duration,
        now: Instant,
    ) -> Result<(), Full> {
        self.purge(now);
        self.remove(name, now);
        if self.entries.len() >= self.max && self.makes_room {
            self.pop_first();
        }
        if self.entries.len() >= self.max {
            return Err(Full { max: self.max });
        }
        let name: Arc<str> = name.into();
        let expires = now + lifetime.min(LIFETIME_MAX);
        self.by_expiry.insert((expires, Arc::clone(&name)));
        self.entries.insert(name, (value, expires));
        Ok(())
    }

    /// The value and the moment at which it expires.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<(&V, Instant)> {
        let (value, expires) = self.entries.get(name)?;
        (*expires > now).then_some((value, *expires))
    }

    /// The value, to be changed without changing its moment.
    pub(super) fn get_mut(&mut self, name: &str, now: Instant) -> Option<(&mut V, Instant)> {
        let (value, expires) = self.entries.get_mut(name)?;
        (*expires > now).then_some((value, *expires))
    }

    /// Takes the value out, unless it has expired.
    pub(super) fn remove(&mut self, name: &str, now: Instant) -> Option<V> {
        let (name, (value, expires)) = self.entries.remove_entry(name)?;
        self.by_expiry.remove(&(expires, name));
        (expires > now).then_some(value)
    }

    /// What begins with `prefix`, by name.
    pub(super) fn with_prefix(&self, prefix: &str, now: Instant) -> Vec<(&str, &V)> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(_, (_, expires))| *expires > now)
            .map(|(name, (value, _))| (&**name, value))
            .collect()
    }

    fn purge(&mut self, now: Instant) {
        while self.by_expiry.first().is_some_and(|(expires, _)| *expires <= now) {
            self.pop_first();
        }
    }

    fn pop_first(&mut self) {
        if let Some((_, name)) = self.by_expiry.pop_first() {
            self.entries.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn is_bounded_and_makes_room_when_something_expires() {
        let start = Instant::now();
        let mut map = Expiring::new(2);
        map.insert("a", 1, SECOND, start).unwrap();
        map.insert("b", 2, 3 * SECOND, start).unwrap();
        assert!(map.insert("c", 3, SECOND, start).is_err());
        map.insert("b", 4, 3 * SECOND, start).unwrap();
        assert_eq!(map.get("c", start), None, "what found no room left nothing behind");

        let later = start + SECOND;
        assert_eq!(map.get("a", later), None);
        map.insert("c", 3, SECOND, later).unwrap();
        assert_eq!(map.with_prefix("", later), [("b", &4), ("c", &3)]);
        assert_eq!((map.entries.len(), map.by_expiry.len()), (2, 2));
        assert_eq!(map.remove("b", start + 3 * SECOND), None);
        assert_eq!(map.remove("c", later), Some(3));
        assert_eq!((map.entries.len(), map.by_expiry.len()), (0, 0));
        map.insert("forever", 5, Duration::MAX, later).unwrap();
    }

    #[test]
    fn what_expires_first_makes_room() {
        let now = Instant::now();
        let mut map = Expiring::that_makes_room(2);
        for (name, seconds) in [("late", 9), ("soon", 1), ("next", 5), ("last", 10)] {
            map.insert(name, (), seconds * SECOND, now).unwrap();
        }
        assert_eq!(map.with_prefix("", now), [("last", &()), ("late", &())]);
        assert_eq!((map.entries.len(), map.by_expiry.len()), (2, 2));
    }
}
