//! How much room a disk has.

use std::{io, path::Path};

/// Free bytes below which nothing can be stored.
pub const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

const MIB: u64 = 1024 * 1024;

/// The bytes that are free under a folder. Blocks.
///
/// # Errors
/// If the system does not say, as where there is no such folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What was found, for people.
#[must_use]
pub fn words(bytes: u64, folder: &Path) -> String {
    format!("{} MiB are free under {}", bytes / MIB, folder.display())
}

/// Whether there is room under a folder for what is to be stored. Blocks.
///
/// # Errors
/// That there is none, or that the folder is gone.
pub fn check(folder: &Path) -> Result<(), String> {
    judge(free_bytes(folder), folder)
}

fn judge(free: io::Result<u64>, folder: &Path) -> Result<(), String> {
    match free {
        Ok(bytes) if bytes < FREE_BYTES_MIN => Err(format!("only {}", words(bytes, folder))),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_told() {
        let folder = Path::new("/srv/skein");
        assert_eq!(judge(Ok(FREE_BYTES_MIN), folder), Ok(()));
        let why = judge(Ok(FREE_BYTES_MIN - 1), folder);
        assert_eq!(why, Err("only 63 MiB are free under /srv/skein".to_owned()));
        let here = tempfile::tempdir().expect("a folder");
        assert!(free_bytes(here.path()).is_ok());
        assert!(check(&here.path().join("none")).is_err());
    }
}
