//! Bytes of uploads on their way to a remote object store: a folder `staging/<blob id>` for each
//! upload, with a file for each part that the store does not have yet, named after its number.
//!
//! All parts but the last have the same size, so that a byte's place says which part it is in, also
//! at another node, whose folder begins with a later part. A file goes when the store has its part:
//! what lies here is the little that an interrupted client must not send again. An append returns
//! once the bytes are on the disk. Everything here blocks: call it off the async threads.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use skein_core::id::BlobId;

use crate::{
    staging::{self, FOLDER, Listing, REPLAY_BYTES, append_durably, sync_folder},
    tree,
};

/// Bytes of every part but the last: some more than the 5 MiB that S3 wants at least, and whole parts
/// of the hash. Checkpoints depend on it: stable.
pub const PART_BYTES: u64 = 8 * tree::PART_BYTES;

/// The folder of uploads under way.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
}

/// The bytes of one upload, which grow at their end.
#[derive(Debug)]
pub struct Spooled {
    folder: PathBuf,
    /// The first part that is here.
    first: u64,
    /// The part that grows.
    last: u64,
    /// Its file, positioned at its end, and the bytes in it.
    file: File,
    in_last: u64,
}

impl Spool {
    /// Creates the folder `staging` under the root, and the root, if needed.
    ///
    /// # Errors
    /// If it cannot be created or synced.
    pub fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder)?;
        sync_folder(root)?;
        Ok(Self { folder })
    }

    /// The folder that everything is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.folder
    }

    /// Finds what is here of an upload of `size` bytes from the part `first` on, and removes the
    /// rest: parts before `kept`, which the object store has, and what does not follow without a gap.
    /// Those from `kept` on stay for whoever reads them.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn resume(&self, blob: BlobId, first: u64, kept: u64, size: u64) -> io::Result<Spooled> {
        let folder = self.folder(blob);
        match fs::create_dir(&folder) {
            Ok(()) => sync_folder(&self.folder)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // From when the depot was a folder.
                fs::remove_file(&folder)?;
                fs::create_dir(&folder)?;
                sync_folder(&self.folder)?;
            }
            Err(error) => return Err(error),
        }
        let found = lengths(&folder)?;
        let mut last = first;
        while found.get(&last) == Some(&PART_BYTES) && (last + 1) * PART_BYTES < size {
            last += 1;
        }
        for (part, length) in &found {
            let fits = *length <= PART_BYTES && part * PART_BYTES + length <= size;
            if !fits || !(kept.min(first)..=last).contains(part) {
                fs::remove_file(folder.join(part.to_string()))?;
            }
        }
        let (file, in_last) = open_part(&folder, last, false)?;
        Ok(Spooled { folder, first, last, file, in_last })
    }

    /// The bytes of a part.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, blob: BlobId, part: u64) -> io::Result<Bytes> {
        fs::read(self.folder(blob).join(part.to_string())).map(Bytes::from)
    }

    /// Opens a part for reading while it grows, positioned at its start. It stays good when the part is
    /// removed. `None` if it is not here.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_part(&self, blob: BlobId, part: u64) -> io::Result<Option<File>> {
        match File::open(self.folder(blob).join(part.to_string())) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a part, which the object store has.
    ///
    /// # Errors
    /// If it is there and stays.
    pub fn release(&self, blob: BlobId, part: u64) -> io::Result<()> {
        match fs::remove_file(self.folder(blob).join(part.to_string())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the parts before `first`, which the object store has.
    ///
    /// # Errors
    /// If one is there and stays.
    pub fn release_before(&self, blob: BlobId, first: u64) -> io::Result<()> {
        let found = match lengths(&self.folder(blob)) {
            Ok(found) => found,
            // From when the depot was a folder, or gone.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        found.range(..first).try_for_each(|(part, _)| self.release(blob, *part))
    }

    /// Removes all that is here of an upload.
    ///
    /// # Errors
    /// If it is there and stays.
    pub fn remove(&self, blob: BlobId) -> io::Result<()> {
        let folder = self.folder(blob);
        let removed = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(&folder),
            other => other,
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Begins to list the uploads that have something here.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self) -> io::Result<Listing> {
        staging::list(&self.folder)
    }

    fn folder(&self, blob: BlobId) -> PathBuf {
        self.folder.join(blob.to_string())
    }
}

impl Spooled {
    /// Bytes of the upload that are here or at the object store: where the next one goes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.last * PART_BYTES + self.in_last
    }

    /// Bytes that the part under way still takes.
    #[must_use]
    pub const fn room(&self) -> u64 {
        PART_BYTES - self.in_last
    }

    /// The number of the part under way.
    #[must_use]
    pub const fn part(&self) -> u64 {
        self.last
    }

    /// Appends the chunks, which must fit the part under way, and returns once they are durable.
    ///
    /// # Errors
    /// If the disk does not take them. Then the end of the part is unknown: resume.
    pub fn append(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        let adding: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if adding > self.room() {
            return Err(ErrorKind::InvalidInput.into());
        }
        append_durably(&mut self.file, chunks)?;
        self.in_last += adding;
        Ok(())
    }

    /// Begins the next part; the one under way must be full.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn turn(&mut self) -> io::Result<()> {
        if self.room() > 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        (self.file, self.in_last) = open_part(&self.folder, self.last + 1, true)?;
        self.last += 1;
        Ok(())
    }

    /// Hands all bytes that are here to `take`, a piece at a time, each with the number of its part.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn replay(&mut self, mut take: impl FnMut(u64, &[u8])) -> io::Result<()> {
        let mut buffer = vec![0; REPLAY_BYTES];
        for part in self.first..=self.last {
            let mut file = File::open(self.folder.join(part.to_string()))?;
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => take(part, &buffer[..read]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// The parts in the folder and their bytes. Files whose name is no number are somebody else's.
fn lengths(folder: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let part = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(part) = part else { continue };
        match entry.metadata() {
            Ok(metadata) => {
                found.insert(u64::from(part), metadata.len());
            }
            // An earlier opening's part reached the object store meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The file of a part, which may have to be a new one, positioned at its end, and its bytes. Its
/// name is durable.
fn open_part(folder: &Path, part: u64, anew: bool) -> io::Result<(File, u64)> {
    let path = folder.join(part.to_string());
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(anew).open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        file.sync_all()?;
        sync_folder(folder)?;
    }
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: BlobId = BlobId([7; 16]);
    const PART: usize = PART_BYTES as usize;

    fn spool() -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        (folder, spool)
    }

    fn content(len: usize) -> Bytes {
        (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
    }

    fn fill(spooled: &mut Spooled, mut bytes: Bytes) {
        while !bytes.is_empty() {
            if spooled.room() == 0 {
                spooled.turn().unwrap();
            }
            let room = usize::try_from(spooled.room()).unwrap().min(bytes.len());
            spooled.append(&[bytes.split_to(room)]).unwrap();
        }
    }

    fn whole(spooled: &mut Spooled) -> Vec<u8> {
        let mut bytes = Vec::new();
        spooled.replay(|_, piece| bytes.extend_from_slice(piece)).unwrap();
        bytes
    }

    #[test]
    fn continues_at_the_last_byte_and_without_the_parts_that_went() {
        let (_folder, spool) = spool();
        let bytes = content(2 * PART + 500);
        let size = bytes.len() as u64;
        let mut spooled = spool.resume(BLOB, 0, 0, size).unwrap();
        fill(&mut spooled, bytes.slice(..2 * PART + 300));
        assert_eq!((spooled.length(), spooled.part()), (2 * PART_BYTES + 300, 2));
        assert!(spooled.turn().is_err(), "the part is not full");
        let mut again = spool.resume(BLOB, 0, 0, size).unwrap();
        assert!(whole(&mut again) == bytes[..2 * PART + 300]);
        assert!(spool.read(BLOB, 1).unwrap() == bytes[PART..2 * PART]);
        spool.release(BLOB, 0).unwrap();
        spool.release(BLOB, 0).unwrap();
        let mut later = spool.resume(BLOB, 1, 1, size).unwrap();
        assert_eq!(later.length(), 2 * PART_BYTES + 300);
        later.append(&[bytes.slice(2 * PART + 300..)]).unwrap();
        assert!(whole(&mut later) == bytes[PART..]);
        // What somebody reads stays, and is no part of what goes on.
        let kept = spool.resume(BLOB, 2, 1, size).unwrap();
        assert_eq!(kept.length(), size);
        let mut bytes_of_part = Vec::new();
        let mut reading = spool.open_part(BLOB, 1).unwrap().unwrap();
        // Elsewhere the upload went on meanwhile.
        let ahead = spool.resume(BLOB, 2, 2, size).unwrap();
        assert_eq!(ahead.length(), size);
        assert!(spool.read(BLOB, 1).is_err() && spool.open_part(BLOB, 1).unwrap().is_none());
        spool.release_before(BLOB, 2).unwrap();
        assert!(spool.read(BLOB, 2).is_ok(), "only what is before it goes");
        spool.release_before(BlobId([8; 16]), 2).unwrap();
        reading.read_to_end(&mut bytes_of_part).unwrap();
        assert!(bytes_of_part == bytes[PART..2 * PART], "an open part stays good");
    }

    #[test]
    fn keeps_nothing_that_does_not_fit() {
        let (folder, spool) = spool();
        let size = 2 * PART_BYTES;
        let mut spooled = spool.resume(BLOB, 0, 0, size).unwrap();
        fill(&mut spooled, content(2 * PART));
        assert_eq!((spooled.room(), spooled.part(), spooled.length()), (0, 1, size));
        assert!(spooled.append(&[content(1)]).is_err());
        let path = |part: &str| folder.path().join("staging").join(BLOB.to_string()).join(part);
        fs::write(path("5"), "from before").unwrap();
        fs::write(path("notes"), "somebody else's").unwrap();
        assert_eq!(spool.resume(BLOB, 0, 0, size).unwrap().length(), size);
        assert!(!path("5").exists() && path("notes").exists());
        // A part with a gap before it, and one that is too long.
        fs::remove_file(path("0")).unwrap();
        assert_eq!(spool.resume(BLOB, 0, 0, size).unwrap().length(), 0);
        fs::write(path("0"), vec![0; PART + 1]).unwrap();
        assert_eq!(spool.resume(BLOB, 0, 0, size).unwrap().length(), 0);
        assert_eq!(spool.list().unwrap().next_page(9).unwrap().len(), 1);
        spool.remove(BLOB).unwrap();
        spool.remove(BLOB).unwrap();
        assert!(spool.list().unwrap().next_page(9).unwrap().is_empty());
        fs::write(folder.path().join("staging").join(BLOB.to_string()), "of a folder").unwrap();
        assert_eq!(spool.resume(BLOB, 3, 3, 9 * PART_BYTES).unwrap().length(), 3 * PART_BYTES);
    }
}
