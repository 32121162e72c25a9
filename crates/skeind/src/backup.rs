//! Backup and restore of the embedded form: one folder with a copy of the store, and the files that
//! it speaks of.
//!
//! The store is copied first, as it is at one moment, while the server goes on. Whatever that copy
//! refers to was in its place by then, and stays as it is: complete files never change, and those
//! that messages refer to are not deleted. So the files can be linked one after the other, and only
//! uploads under way are copied. The note that makes the folder a backup is written last.

mod tree;

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use skein_core::{
    id::{AccountId, BlobId},
    time::Timestamp,
};
use skein_store::{StoreError, account::Accounts, blob::Blobs, sqlite::Sqlite, token::Tokens};
use thiserror::Error;
use tokio::task;

use self::tree::Copied;
use crate::{
    folder::{DataFolder, FolderError},
    operator::{Backup, Failure, MISSING_LISTED_MAX},
    sentence,
};

/// The note that a folder is a whole backup.
const NOTE: &str = "backup.json";
/// The copy of the store.
const STORE: &str = "skein.db";
/// The files.
const BLOBS: &str = "blobs";
/// The layout that this version writes and reads.
const LAYOUT: u32 = 1;
/// Records that are asked for at a time.
const PAGE: usize = 500;

/// What the note says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    layout: u32,
    /// The version of the program that made it.
    skeind: String,
    /// Milliseconds since the Unix epoch.
    made_ms: u64,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    /// The folder to write to has something in it.
    #[error("{0} is not empty: name a new folder")]
    NotEmpty(PathBuf),
    /// The folder to restore from is not a whole backup.
    #[error("{0} is no whole backup: it has no {NOTE} of a kind that this version reads")]
    NoBackup(PathBuf),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The store, or its copy.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Copies the store and the files under `blobs`, if they are in a folder, to the new folder `to`.
pub(crate) async fn make(
    store: &Sqlite,
    blobs: Option<&Path>,
    to: PathBuf,
    now: Timestamp,
) -> Result<Backup, Failure> {
    let made = make_in(store, blobs, &to, now).await;
    made.map_err(|error| {
        tracing::error!(error.cause = %error, "no backup was made");
        Failure::new("backup", sentence(&error))
    })
}

async fn make_in(
    store: &Sqlite,
    blobs: Option<&Path>,
    to: &Path,
    now: Timestamp,
) -> Result<Backup, BackupError> {
    private_folder(to)?;
    if !is_empty(to, &[])? {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    store.backup(&to.join(STORE)).await?;
    let (mut copied, mut missing) = (Copied::default(), Missing::default());
    if let Some(blobs) = blobs {
        let (from, into) = (blobs.to_owned(), to.join(BLOBS));
        copied = blocking(to, move || tree::copy(&from, &into)).await?;
        let copy = Sqlite::open(&to.join(STORE))?;
        let checked = Missing::of(&copy, &copied.blobs).await;
        copy.close().await;
        drop(copy);
        missing = checked?;
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let note = Note { layout: LAYOUT, skeind: version, made_ms: now.0 };
    let path = to.join(NOTE);
    let bytes = serde_json::to_vec(&note).map_err(|error| disk(&path)(error.into()))?;
    blocking(to, move || tree::write(&path, &bytes)).await?;
    tracing::info!(blobs = copied.blobs.len(), bytes = copied.blob_bytes, "made a backup");
    missing.tell(to);
    Ok(result(to, &copied, missing))
}

fn result(folder: &Path, copied: &Copied, missing: Missing) -> Backup {
    Backup {
        folder: folder.to_owned(),
        blobs: copied.blobs.len() as u64,
        blob_bytes: copied.blob_bytes,
        uploads: copied.uploads,
        missing: missing.number,
        missing_blobs: missing.first.iter().map(BlobId::to_string).collect(),
    }
}

/// Fills the empty data folder `data` from the backup `from`. The store gets a new id and all
/// logins end, because what clients have may be ahead of what was restored: they begin anew.
///
/// # Errors
/// [`BackupError`].
pub(crate) async fn restore(from: &Path, data: &Path) -> Result<Backup, BackupError> {
    let none = || BackupError::NoBackup(from.to_owned());
    let note = fs::read(from.join(NOTE)).map_err(|_| none())?;
    let note: Note = serde_json::from_slice(&note).map_err(|_| none())?;
    if note.layout != LAYOUT {
        return Err(none());
    }
    let folder = DataFolder::take(data)?;
    if !is_empty(data, &[DataFolder::LOCK])? {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    // First, though empty: from now on no server starts on the folder.
    let part = folder.store_part();
    blocking(data, {
        let part = part.clone();
        move || tree::write(&part, b"")
    })
    .await?;
    let mut copied = Copied::default();
    let blobs = from.join(BLOBS);
    let has_files = blobs.is_dir();
    if has_files {
        let into = folder.blobs();
        copied = blocking(data, move || tree::copy(&blobs, &into)).await?;
    }
    // Last, and under its name only once it is whole and has begun anew.
    let of = from.join(STORE);
    blocking(data, {
        let part = part.clone();
        move || tree::write_copy(&of, &part)
    })
    .await?;
    let store = Sqlite::open(&part)?;
    let renewed = begin_anew(&store, has_files.then_some(&copied.blobs)).await;
    store.close().await;
    drop(store);
    let missing = renewed?;
    let path = folder.store();
    blocking(data, move || tree::put_in_place(&part, &path)).await?;
    missing.tell(data);
    Ok(result(data, &copied, missing))
}

/// Makes a restored store another one, without logins, and says which files it lacks if it has some.
async fn begin_anew(
    store: &Sqlite,
    there: Option<&HashSet<BlobId>>,
) -> Result<Missing, StoreError> {
    store.renew_instance().await?;
    let mut after: Option<AccountId> = None;
    loop {
        let accounts = store.list_accounts(after, PAGE).await?;
        let Some(last) = accounts.last() else { break };
        after = Some(last.profile.id);
        for account in accounts.iter().filter(|account| account.logins > 0) {
            store.revoke_logins(account.profile.id, None).await?;
        }
    }
    match there {
        Some(there) => Missing::of(store, there).await,
        None => Ok(Missing::default()),
    }
}

/// Complete files that a store knows and that are not there.
#[derive(Debug, Default)]
struct Missing {
    number: u64,
    /// The first [`MISSING_LISTED_MAX`].
    first: Vec<BlobId>,
}

impl Missing {
    /// Compares the copied store with the files that were linked after it. One that nobody refers
    /// to may have been thrown away between, and its record goes too. What is missing otherwise was
    /// lost before: what is left is worth a backup all the more.
    async fn of(copy: &Sqlite, there: &HashSet<BlobId>) -> Result<Self, StoreError> {
        let (mut missing, mut after) = (Self::default(), None);
        loop {
            let page = copy.complete_blobs(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(missing) };
            after = Some(*last);
            for blob in page.into_iter().filter(|blob| !there.contains(blob)) {
                if copy.delete_unreferenced_blob(blob).await? {
                    continue;
                }
                missing.number += 1;
                if missing.first.len() < MISSING_LISTED_MAX {
                    missing.first.push(blob);
                }
            }
        }
    }

    /// Leaves a word in the log, for the command's words may have gone by.
    fn tell(&self, folder: &Path) {
        if self.number > 0 {
            let folder = folder.display();
            tracing::warn!(missing = self.number, %folder, "files that the store knows are missing");
        }
    }
}

fn private_folder(path: &Path) -> Result<(), BackupError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk(path))
}

/// Whether the folder holds nothing but files of these names.
fn is_empty(path: &Path, but: &[&str]) -> Result<bool, BackupError> {
    for entry in fs::read_dir(path).map_err(disk(path))? {
        let name = entry.map_err(disk(path))?.file_name();
        if !but.iter().any(|but| name == *but) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs work on the disk off the async threads. An error is told of `path` if it names no other.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, (PathBuf, io::Error)> + Send + 'static,
) -> Result<T, BackupError> {
    let done = task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err((path.to_owned(), error.into())))
        .map_err(|(path, source)| BackupError::Disk { path, source })
}

fn disk(path: &Path) -> impl Fn(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Disk { path: path.clone(), source }
}

#[cfg(test)]
mod tests;
