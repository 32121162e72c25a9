//! Which uploads are open in this process, so that two connections that open the same one share one
//! file and one hash, and only the later of them writes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use skein_core::{
    id::{AccountId, UploadId},
    refusal::{Code, Refusal},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::{
    metric,
    upload::{folder::Staged, spooled::Arriving},
};

/// What names an upload.
pub(crate) type Key = (AccountId, UploadId);

/// The open uploads. As large as the number of upload streams that the sessions may open.
#[derive(Debug, Default)]
pub(crate) struct Table {
    places: Mutex<HashMap<Key, Place>>,
}

#[derive(Debug)]
struct Place {
    slot: Arc<AsyncMutex<Slot>>,
    seats: usize,
}

/// Keeps the upload in the table. Whoever works on its slot holds one, also after the connection is
/// gone, so that no second slot for the same file can come up meanwhile.
#[derive(Debug)]
pub(crate) struct Seat {
    table: Arc<Table>,
    key: Key,
    slot: Arc<AsyncMutex<Slot>>,
}

/// The state that all openings of one upload share.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// Counts the openings: only the last may write.
    pub(crate) generation: u64,
    /// Where blobs are files. `None` until it is loaded, and again after a failure left the end of
    /// the file unknown.
    pub(crate) staged: Option<Staged>,
    /// The same where blobs are in an object store.
    pub(crate) arriving: Option<Arriving>,
}

impl Table {
    /// Takes a seat at the upload.
    pub(crate) fn seat(self: &Arc<Self>, key: Key) -> Seat {
        let mut places = self.lock();
        let place = places.entry(key).or_insert_with(|| Place { slot: Arc::default(), seats: 0 });
        place.seats += 1;
        let slot = Arc::clone(&place.slot);
        measure(&places);
        Seat { table: Arc::clone(self), key, slot }
    }

    /// Takes a seat at an upload that nobody has open, and keeps whoever comes then waiting for the
    /// slot from the first moment.
    pub(crate) fn seat_alone(self: &Arc<Self>, key: Key) -> Option<(OwnedMutexGuard<Slot>, Seat)> {
        let mut places = self.lock();
        if places.contains_key(&key) {
            return None;
        }
        let slot = Arc::new(AsyncMutex::default());
        let guard = Arc::clone(&slot).try_lock_owned().ok()?;
        places.insert(key, Place { slot: Arc::clone(&slot), seats: 1 });
        Some((guard, Seat { table: Arc::clone(self), key, slot }))
    }

    /// Uploads that are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// The slot, once nobody else works on it.
    pub(crate) async fn slot(&self) -> OwnedMutexGuard<Slot> {
        Arc::clone(&self.slot).lock_owned().await
    }
}

impl Clone for Seat {
    fn clone(&self) -> Self {
        self.table.seat(self.key)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut places = self.table.lock();
        if let Some(place) = places.get_mut(&self.key) {
            place.seats -= 1;
            if place.seats == 0 {
                places.remove(&self.key);
                measure(&places);
            }
        }
    }
}

fn measure(places: &HashMap<Key, Place>) {
    gauge!(metric::UPLOADS_OPEN).set(places.len() as f64);
}

impl Slot {
    /// Refuses all but the last opening.
    pub(crate) fn check(&self, generation: u64) -> Result<(), Refusal> {
        if self.generation == generation {
            return Ok(());
        }
        Err(Refusal::new(Code::Superseded, "this upload was opened again elsewhere"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (AccountId(1), UploadId([1; 16]));

    #[test]
    fn an_upload_stays_while_someone_sits_there() {
        let table = Arc::new(Table::default());
        let first = table.seat(KEY);
        let second = first.clone();
        assert!(Arc::ptr_eq(&first.slot, &second.slot));
        assert!(table.seat_alone(KEY).is_none());
        drop(first);
        assert_eq!(table.len(), 1);
        drop(second);
        assert_eq!(table.len(), 0);
        let (guard, _seat) = table.seat_alone(KEY).unwrap();
        assert!(table.seat(KEY).slot.try_lock().is_err());
        drop(guard);
        assert!(table.seat(KEY).slot.try_lock().is_ok());
    }
}
