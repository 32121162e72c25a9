//! The file that is sent: what identifies it, and what it looks like.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use skein_core::name::{FileName, MediaType};

use super::PIECE_BYTES;
use crate::Error;

/// Bytes that are looked at to tell what a file is.
const MAGIC_BYTES: usize = 12;

/// A file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) name: FileName,
    pub(super) size: u64,
    /// Nanoseconds since the Unix epoch: with the size, what tells whether the file is the same.
    pub(super) mtime_ns: i64,
}

impl Source {
    /// Looks at the file at `path`. Blocks.
    pub(super) fn look(path: &Path) -> Result<Self, Error> {
        let absolute = fs::canonicalize(path).map_err(Error::file(path))?;
        let data = fs::metadata(&absolute).map_err(Error::file(path))?;
        if !data.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "is not a file");
            return Err(Error::file(path)(error));
        }
        // The name as it was given: a link is called what its owner calls it.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let modified = data.modified().map_err(Error::file(path))?;
        let mtime_ns = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Self {
            path: absolute,
            name: FileName::parse(name)?,
            size: data.len(),
            mtime_ns: i64::try_from(mtime_ns).unwrap_or(i64::MAX),
        })
    }

    /// Looks at a file that was queued when it had this size and time. Blocks.
    pub(super) fn look_again(path: &Path, known: (u64, i64)) -> Result<Self, Error> {
        let source = Self::look(path).map_err(|error| match error {
            Error::File { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Error::FileGone(path)
            }
            error => error,
        })?;
        if source.is_as(known.0, known.1) {
            Ok(source)
        } else {
            Err(Error::FileChanged(source.path))
        }
    }

    /// The file's path, as the home keeps it.
    pub(super) fn key(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Whether the file had this size and time.
    pub(super) const fn is_as(&self, size: u64, mtime_ns: i64) -> bool {
        self.size == size && self.mtime_ns == mtime_ns
    }

    /// Whether the file is still what it was. Blocks.
    pub(super) fn is_unchanged(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|_| {
            Self::look(&self.path).is_ok_and(|now| now.is_as(self.size, self.mtime_ns))
        })
    }

    /// The BLAKE3 of the whole, and what its first bytes look like. Blocks; tells `read` how far
    /// it is.
    pub(super) fn hash(&self, read: impl Fn(u64)) -> Result<([u8; 32], MediaType), Error> {
        let mut file = fs::File::open(&self.path).map_err(Error::file(&self.path))?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; PIECE_BYTES];
        let mut magic = Vec::new();
        let mut done = 0;
        loop {
            let count = file.read(&mut buffer).map_err(Error::file(&self.path))?;
            if count == 0 {
                break;
            }
            if magic.len() < MAGIC_BYTES {
                magic.extend_from_slice(&buffer[..count.min(MAGIC_BYTES)]);
            }
            hasher.update(&buffer[..count]);
            done += count as u64;
            read(done);
        }
        if done != self.size {
            return Err(Error::FileChanged(self.path.clone()));
        }
        let media_type = MediaType::parse(media_type(&magic, self.name.as_str()))?;
        Ok((*hasher.finalize().as_bytes(), media_type))
    }
}

/// What the bytes look like; for what has no signature, what the name says.
fn media_type(magic: &[u8], name: &str) -> &'static str {
    let picture = match magic {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    };
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    picture.unwrap_or(match extension.as_deref() {
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        Some("gz" | "tgz") => "application/gzip",
        Some("json") => "application/json",
        Some("txt" | "md" | "log") => "text/plain",
        Some("html" | "htm") => "text/html",
        Some("csv") => "text/csv",
        Some("mp3") => "audio/mpeg",
        Some("opus" | "ogg") => "audio/ogg",
        Some("mp4") => "video/mp4",
        Some("webm") => "video/webm",
        _ => "application/octet-stream",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_pictures_by_their_bytes_and_not_by_their_name() {
        for (magic, name, expected) in [
            (&b"\xff\xd8\xff\xe0\0\x10JF"[..], "holiday", "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n", "x.txt", "image/png"),
            (b"GIF89a", "x", "image/gif"),
            (b"RIFF\x10\0\0\0WEBP", "x", "image/webp"),
            (b"RIFF\x10\0\0\0WAVE", "x", "application/octet-stream"),
            (b"hello", "x.jpg", "application/octet-stream"),
            (b"hello", "x.TXT", "text/plain"),
            (b"", "", "application/octet-stream"),
        ] {
            assert_eq!(media_type(magic, name), expected, "{name}");
        }
    }

    #[test]
    fn looks_and_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, vec![7; 300_000]).unwrap();
        let source = Source::look(&path).unwrap();
        assert_eq!((source.size, source.name.as_str()), (300_000, "a.txt"));
        let (hash, media_type) = source.hash(|_| {}).unwrap();
        assert_eq!(hash, *blake3::hash(&vec![7; 300_000]).as_bytes());
        assert_eq!(media_type.as_str(), "text/plain");
        assert!(source.is_unchanged());
        let known = (source.size, source.mtime_ns);
        assert_eq!(Source::look_again(&path, known).unwrap(), source);
        fs::write(&path, "shorter").unwrap();
        assert!(!source.is_unchanged());
        assert!(matches!(Source::look_again(&path, known), Err(Error::FileChanged(_))));
        let gone = folder.path().join("b.txt");
        assert!(matches!(Source::look_again(&gone, known), Err(Error::FileGone(_))));
        assert!(matches!(source.hash(|_| {}), Err(Error::FileChanged(_))));
        assert!(Source::look(folder.path()).is_err());
    }
}
