//! BLAKE3 of a whole file that can be saved on the way and continued in another process.
//!
//! BLAKE3 is a binary tree over 1 KiB chunks. The file is cut into parts of [`PART_BYTES`], each a
//! complete subtree, and the chaining values of finished subtrees are merged like the digits of a
//! binary counter: after `n` parts the stack has one value for each 1 bit of `n`. That stack is all
//! that [`TreeHasher::save`] writes; the bytes of the part under way are hashed again.
//!
//! The root of the tree is hashed differently from every inner node. So a full part is merged only
//! once a byte follows it: until then it may be the right edge of the tree, or the whole of it.

use blake3::{
    Hasher,
    hazmat::{self, ChainingValue, HasherExt, Mode},
};
use bytes::Bytes;
use thiserror::Error;

/// Bytes of one part: 1,024 chunks. An interrupted upload reads at most this much again.
pub const PART_BYTES: u64 = 1 << PART_BYTES_LOG2;

const PART_BYTES_LOG2: u8 = 20;
/// The first byte of a saved state. States outlive the process: a new layout gets a new number.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 10;
/// Bytes that are joined before they are hashed: enough chunks for every lane of a wide processor.
const JOINED_BYTES: usize = 64 * 1024;
const NO_FILE: [u8; 32] = [0; 32];

/// A BLAKE3 under way.
#[derive(Debug, Clone)]
pub struct TreeHasher {
    /// Subtrees that are certainly not the right edge, the largest first.
    subtrees: Vec<ChainingValue>,
    /// How many parts those subtrees cover.
    parts: u64,
    /// The part under way; it may be full.
    part: Hasher,
}

/// The bytes are not a state that [`TreeHasher::save`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is no hash state of version {VERSION}")]
pub struct BadState;

impl Default for TreeHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeHasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self { subtrees: Vec::new(), parts: 0, part: Hasher::new() }
    }

    /// Continues from a saved state. Returns the offset in bytes that the state covers; the caller
    /// gives the bytes from there on again. A saved state never covers the whole file, so at least
    /// one byte follows unless the offset is zero.
    ///
    /// # Errors
    /// If `saved` was not written by [`save`](Self::save).
    pub fn restore(saved: &[u8]) -> Result<(Self, u64), BadState> {
        let (header, values) = saved.split_at_checked(HEADER_BYTES).ok_or(BadState)?;
        let count = header[2..].try_into().map_err(|_| BadState)?;
        let parts = u64::from_le_bytes(count);
        let covered = parts.checked_mul(PART_BYTES).ok_or(BadState)?;
        let (subtrees, rest) = values.as_chunks::<32>();
        let counted = u32::try_from(subtrees.len()).is_ok_and(|len| len == parts.count_ones());
        if header[..2] != [VERSION, PART_BYTES_LOG2] || !rest.is_empty() || !counted {
            return Err(BadState);
        }
        Ok((Self { subtrees: subtrees.to_vec(), parts, part: part_at(covered) }, covered))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.part.count() == PART_BYTES {
                self.close_part();
            }
            let room = PART_BYTES - self.part.count();
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(take);
            self.part.update(now);
            bytes = later;
        }
    }

    /// Takes the next bytes, which came in many small pieces. One by one, each the payload of a
    /// packet, they would be hashed a block at a time; joined they are hashed many chunks at a
    /// time, which is several times as fast and pays for the copy.
    pub fn update_all(&mut self, pieces: &[Bytes]) {
        let mut joined = Vec::with_capacity(JOINED_BYTES);
        for piece in pieces {
            if joined.len() + piece.len() > JOINED_BYTES {
                self.update(&joined);
                joined.clear();
            }
            if piece.len() > JOINED_BYTES {
                self.update(piece);
            } else {
                joined.extend_from_slice(piece);
            }
        }
        self.update(&joined);
    }

    /// The offset in bytes that [`save`](Self::save) would cover.
    #[must_use]
    pub const fn covered(&self) -> u64 {
        self.parts * PART_BYTES
    }

    /// The state over the merged parts, in a form that is stable: one byte version (1), one byte
    /// the base-2 logarithm of the part size (20), eight bytes the number of parts (little endian),
    /// then 32 bytes for each 1 bit of that number, the most significant first: 394 bytes at most
    /// for a file of up to 4 GiB.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut saved = Vec::with_capacity(HEADER_BYTES + 32 * self.subtrees.len());
        saved.extend_from_slice(&[VERSION, PART_BYTES_LOG2]);
        saved.extend_from_slice(&self.parts.to_le_bytes());
        saved.extend(self.subtrees.iter().flatten());
        saved
    }

    /// The state over all bytes so far, which must be whole parts, for a file of which at least one
    /// more byte is known to follow. [`save`](Self::save) would leave the last part out.
    #[must_use]
    pub fn save_before_more(&self) -> Vec<u8> {
        let mut closed = self.clone();
        if closed.part.count() == PART_BYTES {
            closed.close_part();
        }
        closed.save()
    }

    /// The hash of all bytes so far: what [`blake3::hash`] answers for them. After a
    /// [`restore`](Self::restore) whose missing bytes never came, a value that no file has.
    #[must_use]
    pub fn finalize(&self) -> [u8; 32] {
        let Some((left_edge, inner)) = self.subtrees.split_first() else {
            return *self.part.finalize().as_bytes();
        };
        if self.part.count() == 0 {
            return NO_FILE;
        }
        let mut right = self.part.finalize_non_root();
        for left in inner.iter().rev() {
            right = hazmat::merge_subtrees_non_root(left, &right, Mode::Hash);
        }
        *hazmat::merge_subtrees_root(left_edge, &right, Mode::Hash).as_bytes()
    }

    /// Merges the full part, as a byte follows it. Each trailing zero bit of the new count is a
    /// pair of subtrees of equal size.
    fn close_part(&mut self) {
        let mut value = self.part.finalize_non_root();
        self.parts += 1;
        for _ in 0..self.parts.trailing_zeros() {
            if let Some(left) = self.subtrees.pop() {
                value = hazmat::merge_subtrees_non_root(&left, &value, Mode::Hash);
            }
        }
        self.subtrees.push(value);
        self.part = part_at(self.covered());
    }
}

fn part_at(offset: u64) -> Hasher {
    let mut part = Hasher::new();
    part.set_input_offset(offset);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = PART_BYTES as usize;

    /// A small generator (xorshift64*), so that a failing case can be repeated from its seed.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, below: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) as usize % below
        }
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
    }

    fn tree(bytes: &[u8]) -> [u8; 32] {
        let mut hasher = TreeHasher::new();
        hasher.update(bytes);
        hasher.finalize()
    }

    #[test]
    fn equals_blake3_around_every_border() {
        let bytes = content(9 * PART + 1);
        let mut sizes = vec![0, 1, 1023, 1024, 1025, 2048, 2049];
        for parts in 1..=9 {
            let border = parts * PART;
            sizes.extend([border - 1025, border - 1024, border - 1, border, border + 1]);
        }
        for size in sizes {
            assert_eq!(tree(&bytes[..size]), *blake3::hash(&bytes[..size]).as_bytes(), "{size}");
        }
    }

    #[test]
    fn continues_from_any_split_and_any_saved_state() {
        let bytes = content(6 * PART + 5000);
        for seed in 1..=60 {
            let mut dice = Dice(seed * 0x9E37_79B9);
            // A third of the sizes are whole parts, where merging early would show.
            let size = match dice.roll(3) {
                0 => dice.roll(7) * PART,
                _ => dice.roll(bytes.len() + 1),
            };
            let mut hasher = TreeHasher::new();
            let mut at = 0;
            while at < size {
                let step = (1 + dice.roll(3 * PART / 2)).min(size - at);
                hasher.update(&bytes[at..at + step]);
                at += step;
                if dice.roll(3) == 0 {
                    let (restored, covered) = TreeHasher::restore(&hasher.save()).unwrap();
                    assert!(covered as usize <= at && at - covered as usize <= PART, "{seed}");
                    assert_eq!(covered, hasher.covered());
                    hasher = restored;
                    hasher.update(&bytes[covered as usize..at]);
                }
            }
            assert_eq!(hasher.finalize(), *blake3::hash(&bytes[..size]).as_bytes(), "seed {seed}");
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_hash_of_the_whole() {
        let bytes = Bytes::from(content(3 * PART + 777));
        for seed in 1..=20 {
            let mut dice = Dice(seed * 0x9E37_79B9);
            let mut hasher = TreeHasher::new();
            let mut rest = bytes.clone();
            while !rest.is_empty() {
                let mut pieces = Vec::new();
                for _ in 0..dice.roll(200) {
                    // Mostly packets; now and then nothing, or more than is joined.
                    let size = match dice.roll(50) {
                        0 => 0,
                        1 => JOINED_BYTES + dice.roll(PART),
                        2 => JOINED_BYTES,
                        _ => 1 + dice.roll(1452),
                    };
                    pieces.push(rest.split_to(size.min(rest.len())));
                }
                hasher.update_all(&pieces);
            }
            assert_eq!(hasher.finalize(), *blake3::hash(&bytes).as_bytes(), "seed {seed}");
        }
    }

    #[test]
    fn whole_parts_with_more_to_come_are_saved_whole() {
        let bytes = content(4 * PART + 10);
        for parts in 1..=4 {
            let mut hasher = TreeHasher::new();
            hasher.update(&bytes[..parts * PART]);
            let (mut restored, covered) = TreeHasher::restore(&hasher.save_before_more()).unwrap();
            assert_eq!(covered, parts as u64 * PART_BYTES);
            restored.update(&bytes[parts * PART..]);
            assert_eq!(restored.finalize(), *blake3::hash(&bytes).as_bytes());
            hasher.update(&bytes[parts * PART..]);
            assert_eq!(hasher.finalize(), restored.finalize());
        }
    }

    #[test]
    fn the_saved_form_is_stable() {
        let mut hasher = TreeHasher::new();
        assert_eq!(hasher.save(), [1, 20, 0, 0, 0, 0, 0, 0, 0, 0]);
        hasher.update(&content(3 * PART));
        let saved = hasher.save();
        assert_eq!(saved[..10], [1, 20, 2, 0, 0, 0, 0, 0, 0, 0]);
        let value = "9546b10ee43c0e9fd778980fc1661bc72747e118aeffa0803b7fda201d262ca4";
        assert_eq!(hex(&saved[10..]), value);
    }

    #[test]
    fn refuses_other_bytes() {
        let mut hasher = TreeHasher::new();
        hasher.update(&content(4 * PART));
        let saved = hasher.save();
        assert_eq!(saved.len(), 10 + 2 * 32);
        for bad in [&saved[..0], &saved[..9], &saved[..73], &[saved.as_slice(), &[0]].concat()] {
            assert_eq!(TreeHasher::restore(bad).err(), Some(BadState));
        }
        for (position, value) in [(0, 2), (1, 21), (2, 4), (9, 255)] {
            let mut bad = saved.clone();
            bad[position] = value;
            assert_eq!(TreeHasher::restore(&bad).err(), Some(BadState), "{position}");
        }
        let (unfed, covered) = TreeHasher::restore(&saved).unwrap();
        assert_eq!((unfed.finalize(), covered), (NO_FILE, 3 * PART_BYTES));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
