//! Parts of uploads that the object store has, and that stay in the spool until the blob is complete:
//! an unfinished object can be read by nobody, so this is where those read who follow the upload.
//!
//! Only uploads that are meant for somebody are kept, while there is room, and each from its first
//! part that was kept on without a gap. Beyond that the parts go as they always do, and a follower is told to
//! ask again later. It is not remembered over a restart: then the next opening removes them.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use skein_blob::spool::PART_BYTES;
use skein_core::id::BlobId;

/// Bytes that are kept on one node: a gibibyte of its staging disk.
pub(crate) const KEPT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The parts that are kept.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<BlobId, Range<u64>>>);

impl Kept {
    /// Keeps a part, if there is room and it follows those that are kept. Whether it is kept.
    pub(crate) fn keep(&self, blob: BlobId, part: u64) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: u64 = kept.values().map(|range| range.end - range.start).sum();
        let has_room = (parts + 1) * PART_BYTES <= KEPT_BYTES_MAX;
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
        assert!(!kept.keep(b, room) && !kept.keep(a, 4) && !kept.keep(c, 0));
        assert!(kept.keep(a, 3), "what is kept stays");
        kept.forget(a);
        assert!(kept.keep(c, 0) && kept.keep(b, room) && !kept.keep(b, room + 1));
    }
}
