//! Parts of uploads that the object store has, and that stay in the spool until the blob is complete:
//! an unfinished object can be read by nobody, so this is where those read who follow the upload.
//!
//! Only uploads that are meant for somebody are kept, while there is room, and each from its first
//! part that was kept on without a gap. Where there is no room, the parts of uploads that nobody has
//! open or follows go first: a sender that pauses must not take the room of those that send. If none
//! is left, the parts go as they always do, and a follower is told to ask again later.
//!
//! It is not remembered over a restart, so whatever lies in the spool beside the uploads that are
//! open goes then, as far as the object store has it; and in every round of the sweeper after it has
//! been at rest.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use skein_blob::spool::PART_BYTES;
use skein_core::id::BlobId;
use skein_ops::disk;

use crate::{
    ResourceError,
    incoming::Lane,
    role::{Parts, on_disk},
};

/// Bytes that are kept on one node: a gibibyte of its staging disk.
pub(crate) const KEPT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes that stay free on that disk for uploads under way, of some three parts each: beyond that
/// nothing is kept, and a small disk never keeps anything.
const FREE_BYTES_MIN: u64 = 512 * 1024 * 1024;

/// The parts that are kept.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<BlobId, Range<u64>>>);

impl Kept {
    /// Keeps a part, if there is room and it follows those that are kept. Whether it is kept.
    pub(crate) fn keep(&self, blob: BlobId, part: u64) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = has_room(&kept);
        match kept.get_mut(&blob) {
            Some(range) if range.contains(&part) => true,
            Some(range) if has_room && range.end == part => {
                range.end += 1;
                true
            }
            None if has_room => {
                kept.insert(blob, part..part + 1);
                true
            }
            _ => false,
        }
    }

    /// Whether there is room for one part more.
    pub(crate) fn has_room(&self) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        has_room(&kept)
    }

    /// The uploads of which parts are kept.
    fn uploads(&self) -> Vec<BlobId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The first part that is kept of those just before `first`; `first` if none is.
    pub(crate) fn from(&self, blob: BlobId, first: u64) -> u64 {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&blob).map_or(first, |range| range.start.min(first))
    }

    /// All parts of the upload are gone.
    pub(crate) fn forget(&self, blob: BlobId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob);
    }
}

fn has_room(kept: &HashMap<BlobId, Range<u64>>) -> bool {
    let parts: u64 = kept.values().map(|range| range.end - range.start).sum();
    (parts + 1) * PART_BYTES <= KEPT_BYTES_MAX
}

/// Whether the disk has room for more than the uploads under way.
pub(crate) async fn leaves_room(lane: &Lane) -> bool {
    let spool = lane.spool.clone();
    let free = on_disk("see what is free", move || disk::free_bytes(spool.root())).await;
    // A disk that does not say keeps nothing.
    free.is_ok_and(|free| free >= FREE_BYTES_MIN)
}

/// Makes room for one part more, if there is none and some of the parts are nobody's.
pub(crate) async fn make_room(parts: &Parts, lane: &Lane) -> Result<(), ResourceError> {
    if lane.kept.has_room() {
        return Ok(());
    }
    for blob in lane.kept.uploads() {
        release_idle(parts, lane, blob).await?;
        if lane.kept.has_room() {
            break;
        }
    }
    Ok(())
}

/// Releases the parts of an upload that the object store has, unless somebody has it open here or
/// follows it.
pub(crate) async fn release_idle(
    parts: &Parts,
    lane: &Lane,
    blob: BlobId,
) -> Result<(), ResourceError> {
    if parts.reaches.is_held(blob) {
        return Ok(());
    }
    let Some(found) = parts.records.upload_of(blob).await? else {
        // It is gone, and so is what lay here; its name is never used again.
        lane.kept.forget(blob);
        return Ok(());
    };
    // Whoever opens it from now on waits.
    let alone = parts.table.seat_alone((found.account, found.spec.id));
    let Some(_alone) = alone.filter(|_| !parts.reaches.is_held(blob)) else { return Ok(()) };
    // Until now it may have been opened, and begun anew.
    let Some(found) = parts.records.upload_of(blob).await? else { return Ok(()) };
    let (spool, first) = (lane.spool.clone(), found.durable / PART_BYTES);
    on_disk("release parts", move || spool.release_before(blob, first)).await?;
    lane.kept.forget(blob);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_follows_while_there_is_room() {
        let (kept, [a, b, c]) = (Kept::default(), [1, 2, 3].map(|byte| BlobId([byte; 16])));
        assert_eq!(kept.from(a, 7), 7);
        assert!(kept.keep(a, 2) && kept.keep(a, 3) && kept.keep(a, 2), "once more is as once");
        assert!(!kept.keep(a, 5), "4 is not there");
        assert_eq!((kept.from(a, 4), kept.from(a, 1), kept.from(b, 4)), (2, 1, 4));
        let room = KEPT_BYTES_MAX / PART_BYTES - 2;
        assert!((0..room).all(|part| kept.keep(b, part)));
        assert!(!kept.has_room());
        assert!(!kept.keep(b, room) && !kept.keep(a, 4) && !kept.keep(c, 0));
        assert!(kept.keep(a, 3), "what is kept stays");
        kept.forget(a);
        assert!(kept.keep(c, 0) && kept.keep(b, room) && !kept.keep(b, room + 1));
    }
}
