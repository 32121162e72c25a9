//! Mails as `.eml` files in a folder, for a server without a mail server: whoever runs it opens
//! them with any mail program, or reads the code in them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use lettre::Message;
use skein_core::time::Clock;
use tokio::task;

use super::{Mailer, NotSent};

/// Only the owner may read what holds codes.
const FILE_MODE: u32 = 0o600;
/// Only the owner may see when somebody asked for a code.
const FOLDER_MODE: u32 = 0o700;

/// Writes each mail into a file of its own, named by time and chance, never by the address.
pub struct Folder {
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Folder {
    /// Mails go into the folder at `path`, which is created when the first one does.
    #[must_use]
    pub fn new(path: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.to_owned(), clock }
    }
}

#[async_trait]
impl Mailer for Folder {
    async fn send(&self, mail: Message) -> Result<(), NotSent> {
        let folder = self.path.clone();
        let stem = format!("{:013}-{:08x}", self.clock.now().0, rand::random::<u32>());
        let write = move || write_whole(&folder, &stem, &mail.formatted());
        let written = task::spawn_blocking(write).await.map_err(io::Error::other);
        let path = written.and_then(|result| result).map_err(NotSent::Folder)?;
        tracing::info!(mail.path = %path.display(), "a mail is in the outbox folder");
        Ok(())
    }
}

/// Writes the file so that a reader sees all of it or nothing. Not synced: a code that is lost with
/// the machine's power has lost its use, too.
fn write_whole(folder: &Path, stem: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let draft = folder.join(format!("{stem}.tmp"));
    let path = folder.join(format!("{stem}.eml"));
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
    file.write_all(bytes)?;
    fs::rename(&draft, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn writes_whole_files_for_the_owner_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outbox = folder.path().join("outbox");
        let path = write_whole(&outbox, "0-1", b"To: someone\r\n").expect("a file");
        assert_eq!(fs::read(&path).expect("the file"), b"To: someone\r\n");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode();
        assert_eq!(mode(&path) & 0o777, FILE_MODE);
        assert_eq!(mode(&outbox) & 0o777, FOLDER_MODE);
        let names: Vec<_> = fs::read_dir(&outbox).expect("the folder").collect();
        assert_eq!(names.len(), 1, "the draft is gone");
    }
}
