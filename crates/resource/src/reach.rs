//! How far uploads have come, told to those who follow them in this process.
//!
//! Nothing here is the truth: that is the store's record, and the bytes. Whoever follows takes a hold
//! first and reads the record second, so that nothing that happens in between is missed. What
//! happens at another node nobody tells here; a follower that hears nothing for long gives up, and
//! whoever wants the rest asks again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skein_core::{id::BlobId, refusal::Refusal};
use tokio::sync::watch;

/// How far an upload has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// Bytes that can be read here.
    pub(crate) received: u64,
    /// Whether it was opened here lately, and not only followed.
    pub(crate) opened: bool,
    /// Counts the times that it began anew after what was received was not good any more: who has
    /// bytes of an earlier one must not go on with those of this.
    pub(crate) epoch: u64,
    /// How it has ended, if it has.
    pub(crate) end: Option<End>,
}

/// How an upload has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The blob is visible.
    Complete,
    /// What was received is not good any more. The refusal says whether that is for good.
    Broken(Refusal),
}

/// All uploads that are open or followed here: as many as there are streams of both.
#[derive(Debug, Default)]
pub(crate) struct Reaches {
    places: Mutex<HashMap<BlobId, Place>>,
}

#[derive(Debug)]
struct Place {
    reach: watch::Sender<Reach>,
    holds: usize,
}

/// Keeps the reach of an upload in the table: whoever tells it and whoever listens has one.
#[derive(Debug)]
pub(crate) struct Hold {
    reaches: Arc<Reaches>,
    blob: BlobId,
}

impl Reaches {
    /// Takes a hold on the reach of an upload.
    pub(crate) fn hold(self: &Arc<Self>, blob: BlobId) -> Hold {
        let mut places = self.lock();
        let reach = || Place { reach: watch::Sender::new(Reach::default()), holds: 0 };
        places.entry(blob).or_insert_with(reach).holds += 1;
        Hold { reaches: Arc::clone(self), blob }
    }

    /// So many bytes can be read.
    pub(crate) fn received(&self, blob: BlobId, received: u64) {
        self.tell(blob, |reach| reach.received = reach.received.max(received));
    }

    /// The upload has ended. The first word counts.
    pub(crate) fn ended(&self, blob: BlobId, end: End) {
        self.tell(blob, |reach| {
            reach.end.get_or_insert(end);
        });
    }

    /// Whether somebody has the upload open here, or follows it.
    pub(crate) fn is_held(&self, blob: BlobId) -> bool {
        self.lock().contains_key(&blob)
    }

    fn tell(&self, blob: BlobId, change: impl FnOnce(&mut Reach)) {
        if let Some(place) = self.lock().get(&blob) {
            place.reach.send_modify(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BlobId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Hold {
    /// The upload was opened, and has so many bytes here: whatever was told before is over. Whoever
    /// has not heard it yet sees by the epoch what it has missed.
    pub(crate) fn begin(&self, received: u64) {
        self.reaches.tell(self.blob, |reach| {
            let broken = matches!(reach.end, Some(End::Broken(_)));
            let epoch = reach.epoch + u64::from(broken);
            *reach = Reach { received, opened: true, epoch, end: None };
        });
    }

    /// Listens. What has been told so far is there.
    pub(crate) fn listen(&self) -> watch::Receiver<Reach> {
        match self.reaches.lock().get(&self.blob) {
            Some(place) => place.reach.subscribe(),
            // Not while there is this hold; nobody will tell anything.
            None => watch::channel(Reach::default()).1,
        }
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.reaches.hold(self.blob)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut places = self.reaches.lock();
        if let Some(place) = places.get_mut(&self.blob) {
            place.holds -= 1;
            if place.holds == 0 {
                places.remove(&self.blob);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: BlobId = BlobId([1; 16]);

    #[test]
    fn tells_the_last_and_forgets_what_nobody_holds() {
        let reaches = Arc::new(Reaches::default());
        reaches.received(BLOB, 5);
        let hold = reaches.hold(BLOB);
        let mut listening = hold.listen();
        assert_eq!(listening.borrow_and_update().received, 0, "nobody held it then");
        reaches.received(BLOB, 7);
        reaches.received(BLOB, 6);
        reaches.ended(BLOB, End::Complete);
        reaches.ended(BLOB, End::Broken(Refusal::internal()));
        assert!(listening.has_changed().unwrap());
        let reach = listening.borrow_and_update().clone();
        assert_eq!((reach.received, reach.end), (7, Some(End::Complete)));
        hold.clone().begin(3);
        let reach = listening.borrow_and_update().clone();
        assert_eq!((reach.received, reach.epoch, reach.end), (3, 0, None));
        reaches.ended(BLOB, End::Broken(Refusal::internal()));
        hold.begin(0);
        let reach = listening.borrow_and_update().clone();
        assert_eq!((reach.received, reach.epoch, reach.end), (0, 1, None), "it shows all the same");
        assert_eq!(reaches.len(), 1);
        assert!(reaches.is_held(BLOB));
        drop(hold);
        assert_eq!(reaches.len(), 0);
        assert!(listening.has_changed().is_err());
    }
}
