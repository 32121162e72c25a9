//! Files of uploads under way, one for each in the folder `staging`, named after the blob that it
//! will become.
//!
//! An append returns only once the bytes are on the disk, so what the caller then records as
//! durable is. Everything here blocks: call it off the async threads.

use std::{
    fs::{self, File, OpenOptions, ReadDir},
    io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use skein_core::{id::BlobId, time::Timestamp};

/// The folder's name under the root of the depot, so that publishing is a rename within it.
pub(crate) const FOLDER: &str = "staging";
/// Bytes that [`StagedFile::replay`] hands on at a time.
pub(crate) const REPLAY_BYTES: usize = 256 * 1024;

/// The folder of uploads under way.
#[derive(Debug, Clone)]
pub struct Staging {
    folder: PathBuf,
}

/// One file that grows. Positioned at its end.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    length: u64,
}

/// A file found in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The blob that it was to become.
    pub blob: BlobId,
    /// When its bytes last changed.
    pub changed: Timestamp,
}

/// The files in the folder, read piece by piece.
#[derive(Debug)]
pub struct Listing(ReadDir);

impl Staging {
    /// Creates the folder `staging` under the root, if needed.
    ///
    /// # Errors
    /// If it cannot be created or synced.
    pub fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder)?;
        sync_folder(root)?;
        Ok(Self { folder })
    }

    /// Creates an empty file, whose name is durable on return. Replaces one that was there.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn create(&self, blob: BlobId) -> io::Result<StagedFile> {
        let path = self.path(blob);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.sync_all()?;
        sync_folder(&self.folder)?;
        Ok(StagedFile { file, length: 0 })
    }

    /// Opens the file again and cuts off what lies behind the durable offset: those bytes were
    /// never acknowledged. `None` if there is no file, or one that is too short.
    ///
    /// # Errors
    /// If it cannot be opened or cut.
    pub fn reopen(&self, blob: BlobId, durable: u64) -> io::Result<Option<StagedFile>> {
        let mut file = match OpenOptions::new().read(true).write(true).open(self.path(blob)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if length < durable {
            return Ok(None);
        }
        if length > durable {
            file.set_len(durable)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Some(StagedFile { file, length: durable }))
    }

    /// Opens the file for reading while it grows, positioned at its start. It stays good when the file
    /// is published or removed. `None` if there is no file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn read(&self, blob: BlobId) -> io::Result<Option<File>> {
        match File::open(self.path(blob)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the file. Whether there was one.
    ///
    /// # Errors
    /// If it is there and stays.
    pub fn remove(&self, blob: BlobId) -> io::Result<bool> {
        match fs::remove_file(self.path(blob)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins to list the folder.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn list(&self) -> io::Result<Listing> {
        list(&self.folder)
    }

    fn path(&self, blob: BlobId) -> PathBuf {
        self.folder.join(blob.to_string())
    }
}

impl StagedFile {
    /// Bytes in the file.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Appends the chunks and returns once they are durable.
    ///
    /// # Errors
    /// If the disk does not take them. Then the end of the file is unknown: reopen it.
    pub fn append(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        append_durably(&mut self.file, chunks)?;
        self.length += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        Ok(())
    }

    /// Hands the bytes from `offset` to the end to `take`, a piece at a time.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn replay(&mut self, offset: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; REPLAY_BYTES];
        self.file.seek(SeekFrom::Start(offset))?;
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => take(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The first bytes, at most `bytes_max`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn head(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.file.rewind()?;
        (&mut self.file).take(bytes_max).read_to_end(&mut head)?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(head)
    }
}

impl Listing {
    /// The next files, at most `limit`; fewer only at the end. Files whose name is no blob id are
    /// somebody else's and left out.
    ///
    /// # Errors
    /// If the folder cannot be read on.
    pub fn next_page(&mut self, limit: usize) -> io::Result<Vec<Found>> {
        let mut page = Vec::new();
        for entry in &mut self.0 {
            let entry = entry?;
            let blob = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(blob) = blob else { continue };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It was published or removed since the folder was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            page.push(Found { blob, changed: Timestamp(0) + age });
            if page.len() == limit {
                break;
            }
        }
        Ok(page)
    }
}

/// Begins to list a folder of files or folders that are named after blobs.
pub(crate) fn list(folder: &Path) -> io::Result<Listing> {
    fs::read_dir(folder).map(Listing)
}

/// Writes the chunks where the file is positioned, and returns once they are on the disk.
pub(crate) fn append_durably(file: &mut File, chunks: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        chunks.iter().filter(|chunk| !chunk.is_empty()).map(|c| IoSlice::new(c)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.sync_data()
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: BlobId = BlobId([7; 16]);

    fn staging() -> (tempfile::TempDir, Staging) {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::open(folder.path()).unwrap();
        (folder, staging)
    }

    fn whole(file: &mut StagedFile) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.replay(0, |piece| bytes.extend_from_slice(piece)).unwrap();
        bytes
    }

    #[test]
    fn appends_and_continues_behind_the_durable_offset() {
        let (_folder, staging) = staging();
        let mut file = staging.create(BLOB).unwrap();
        let many: Vec<Bytes> = (0..3000u32).map(|i| Bytes::from(vec![i as u8; 3])).collect();
        file.append(&many).unwrap();
        file.append(&[Bytes::new(), Bytes::from_static(b"tail")]).unwrap();
        assert_eq!(file.length(), 9004);
        drop(file);

        let mut file = staging.reopen(BLOB, 9001).unwrap().unwrap();
        file.append(&[Bytes::from_static(b"!")]).unwrap();
        assert_eq!(file.head(4).unwrap(), [0, 0, 0, 1]);
        file.append(&[Bytes::from_static(b"?")]).unwrap();
        let bytes = whole(&mut file);
        assert_eq!(bytes.len(), 9003);
        assert!(bytes.ends_with(b"t!?"));
        assert!(staging.reopen(BLOB, 9004).unwrap().is_none());
    }

    #[test]
    fn lists_and_removes() {
        let (folder, staging) = staging();
        for byte in 0..5 {
            drop(staging.create(BlobId([byte; 16])).unwrap());
        }
        fs::write(folder.path().join("staging/README"), "not ours").unwrap();
        let mut listing = staging.list().unwrap();
        assert_eq!(listing.next_page(3).unwrap().len(), 3);
        assert_eq!(listing.next_page(3).unwrap().len(), 2);
        assert!(staging.remove(BlobId([1; 16])).unwrap());
        assert!(!staging.remove(BlobId([1; 16])).unwrap());
        assert!(staging.reopen(BlobId([1; 16]), 0).unwrap().is_none());
    }
}
