//! The data folder: what is where in it, and that only one server uses it.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// A data folder that this process has for itself until it drops it.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// The data folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// There is none.
    #[error("there is no data folder {0}: name it with --data or in the configuration")]
    Missing(PathBuf),
    /// The disk refused.
    #[error("cannot use the data folder {path}: {source}")]
    Disk {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A restore into it has not come to its end.
    #[error(
        "a restore into the data folder {0} was interrupted: delete what is in it and restore again"
    )]
    HalfRestored(PathBuf),
    /// Another server has it.
    #[error(
        "another skeind is using the data folder {0}: stop it, or give this one its own with --data"
    )]
    Taken(PathBuf),
}

impl DataFolder {
    /// The file by which a server has the folder for itself.
    pub(crate) const LOCK: &str = "skeind.lock";

    /// Takes the folder, and creates it for its owner only if there is none.
    pub(crate) fn take(path: &Path) -> Result<Self, FolderError> {
        let folder = Self::lock(path)?;
        // An empty store beside the files of another one would have them all swept away.
        if folder.store_part().exists() {
            return Err(FolderError::HalfRestored(path.to_owned()));
        }
        Ok(folder)
    }

    fn lock(path: &Path) -> Result<Self, FolderError> {
        let disk = |source| FolderError::Disk { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(Self::LOCK))
            .map_err(disk)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Taken(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(disk(source)),
        }
    }

    /// Takes the folder of a server that has run before.
    pub(crate) fn take_existing(path: &Path) -> Result<Self, FolderError> {
        if path.is_dir() { Self::take(path) } else { Err(FolderError::Missing(path.to_owned())) }
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("skein.db")
    }

    /// A store that is being restored, as long as not all of the folder is there.
    pub(crate) fn store_part(&self) -> PathBuf {
        self.path.join("skein.db.part")
    }

    /// Where blobs and uploads under way are.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Where uploads wait on their way to an object store.
    pub(crate) fn staging(&self) -> PathBuf {
        staging(&self.path)
    }

    /// Where a server can be told what to do.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.path)
    }

    /// Where mails are put while there is no mail server.
    pub(crate) fn outbox(&self) -> PathBuf {
        self.path.join("mail")
    }

    /// Where the server's own certificates are.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.path.join("certs")
    }
}

/// Where uploads wait on their way to an object store, in the data folder `path`.
pub(crate) fn staging(path: &Path) -> PathBuf {
    path.join("staging")
}

/// Where the server that uses the data folder `path` can be told what to do.
pub(crate) fn socket(path: &Path) -> PathBuf {
    path.join("admin.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn belongs_to_one_server_at_a_time() {
        let path = std::env::temp_dir().join(format!("skein-folder-{}", std::process::id()));
        let held = DataFolder::take(&path).expect("free");
        assert!(matches!(DataFolder::take(&path), Err(FolderError::Taken(_))));
        drop(held);
        drop(DataFolder::take(&path).expect("free again"));
        fs::remove_dir_all(&path).expect("ours");
    }
}
