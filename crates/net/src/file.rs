//! Small files that must be whole, and for their owner only.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// A file that cannot be read or written.
#[derive(Debug, Error)]
#[error("cannot use {path}: {source}")]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }

    /// What the operating system said.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::new(path, source))
}

/// Makes a folder, unless it is there.
pub(crate) fn folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|source| FileError::new(path, source))
}

/// Replaces a file at once and for its owner only: a crash leaves the former one or this one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let draft = path.with_extension("tmp");
    let write = || {
        if draft.exists() {
            fs::remove_file(&draft)?;
        }
        let mut out =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|source| FileError::new(path, source))
}
