//! Copies the folder of blobs: complete files by a hard link where that is possible, since they
//! never change; uploads under way, which do, byte by byte. Everything is on the disk on return.
//! Blocks.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use skein_core::id::BlobId;

/// The folder of uploads under way, under that of the blobs.
const STAGING: &str = "staging";
/// The folder of complete files, likewise.
const COMPLETE: &str = "blobs";

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// The complete files.
    pub(super) blobs: HashSet<BlobId>,
    /// Their bytes.
    pub(super) blob_bytes: u64,
    /// Uploads under way.
    pub(super) uploads: u64,
}

/// An error, and the path that it is about.
type At<T> = Result<T, (PathBuf, io::Error)>;

/// Copies the tree `from` to the new folder `to`: uploads first, so that one which is completed
/// meanwhile is found among the complete files.
pub(super) fn copy(from: &Path, to: &Path) -> At<Copied> {
    let mut copied = Copied::default();
    make_folder(to)?;
    let mut folders = folders_in(from)?;
    folders.sort_by_key(|name| name != STAGING);
    for name in folders {
        let (from, to) = (from.join(&name), to.join(&name));
        if name == STAGING {
            copy_uploads(&from, &to, &mut copied)?;
        } else {
            link_folder(&from, &to, name == COMPLETE, &mut copied)?;
        }
    }
    sync_folder(to)?;
    Ok(copied)
}

/// Writes a new file that only its owner may read, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> At<()> {
    let draft = draft(path);
    let written = private(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    });
    written.map_err(|error| (path.to_owned(), error))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Copies a file to a new one that only its owner may read, whole or not at all.
pub(super) fn write_copy(from: &Path, to: &Path) -> At<()> {
    let draft = draft(to);
    let mut source = File::open(from).map_err(|error| (from.to_owned(), error))?;
    let written = private(&draft).and_then(|mut file| {
        io::copy(&mut source, &mut file)?;
        file.sync_all()?;
        fs::rename(&draft, to)
    });
    written.map_err(|error| (to.to_owned(), error))?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// Gives a closed store its name. Its write-ahead log must be in it by then.
pub(super) fn put_in_place(from: &Path, to: &Path) -> At<()> {
    for beside in ["-wal", "-shm"] {
        let mut path = from.as_os_str().to_owned();
        path.push(beside);
        let path = PathBuf::from(path);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(found) if beside == "-wal" && found.len() > 0 => {
                return Err((path, io::Error::other("it was not moved into the store")));
            }
            Ok(_) => fs::remove_file(&path).map_err(|error| (path, error))?,
            Err(error) => return Err((path, error)),
        }
    }
    let placed = File::open(from).and_then(|file| file.sync_all());
    placed.and_then(|()| fs::rename(from, to)).map_err(|error| (to.to_owned(), error))?;
    to.parent().map_or(Ok(()), sync_folder)
}

fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    draft.into()
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn copy_uploads(from: &Path, to: &Path, copied: &mut Copied) -> At<()> {
    make_folder(to)?;
    for name in names_in(from, |entry| entry.is_file())? {
        let (from, to) = (from.join(&name), to.join(&name));
        match fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_all()) {
            Ok(()) => copied.uploads += 1,
            // It was completed or thrown away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((to, error)),
        }
    }
    sync_folder(to)
}

fn link_folder(from: &Path, to: &Path, complete: bool, copied: &mut Copied) -> At<()> {
    make_folder(to)?;
    for name in folders_in(from)? {
        link_folder(&from.join(&name), &to.join(&name), complete, copied)?;
    }
    for name in names_in(from, |entry| entry.is_file())? {
        // Files whose name is no blob's are drafts of such.
        let Ok(blob) = name.parse::<BlobId>() else { continue };
        let (from, to) = (from.join(&name), to.join(&name));
        let bytes = match link_or_copy(&from, &to) {
            Ok(bytes) => bytes,
            // It was thrown away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err((to, error)),
        };
        if complete && copied.blobs.insert(blob) {
            copied.blob_bytes += bytes;
        }
    }
    sync_folder(to)
}

/// A hard link needs both on one file system, and one that has them.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<u64> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(fs::metadata(to)?.len());
    }
    let bytes = fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    Ok(bytes)
}

fn folders_in(path: &Path) -> At<Vec<String>> {
    names_in(path, |entry| entry.is_dir())
}

/// What is in a folder, of names that are text. A folder that is not there is empty.
fn names_in(path: &Path, wanted: impl Fn(&fs::FileType) -> bool) -> At<Vec<String>> {
    let at = |error| (path.to_owned(), error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at)?;
        if wanted(&entry.file_type().map_err(at)?)
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn make_folder(path: &Path) -> At<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| (path.to_owned(), error))
}

fn sync_folder(path: &Path) -> At<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| (path.to_owned(), error))
}
