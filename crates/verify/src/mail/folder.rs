//! Mails as `.eml` files in a folder, for a server without a mail server: whoever runs it opens
//! them with any mail program, or reads the code in them. Mails of yesterday go when a new one comes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use lettre::Message;
use skein_core::time::{Clock, Timestamp};
use tokio::task;

use super::{Mailer, NotSent};

/// Only the owner may read what holds codes.
const FILE_MODE: u32 = 0o600;
/// Only the owner may see when somebody asked for a code.
const FOLDER_MODE: u32 = 0o700;

/// How long a mail stays: its code is void much sooner, but somebody may want to see what was sent.
const MAIL_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Names that are looked at when old mails are removed: a bound on the time that it takes, and more
/// than a folder gets in a day.
const NAMES_MAX: usize = 10_000;
/// Digits of the time in a name, in milliseconds since the Unix epoch; stable.
const TIME_DIGITS: usize = 13;
/// Hexadecimal digits of chance in a name; stable.
const CHANCE_DIGITS: usize = 8;

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
        let now = self.clock.now();
        let stem = stem(now, rand::random());
        let write = move || {
            let path = write_whole(&folder, &stem, &mail.formatted())?;
            // The mail is out, whatever becomes of the old ones.
            if let Err(error) = remove_older(&folder, now.before(MAIL_KEPT)) {
                tracing::warn!(error.cause = %error, "old mails cannot be removed");
            }
            Ok(path)
        };
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

/// How a file is called, without its ending.
fn stem(at: Timestamp, chance: u32) -> String {
    format!("{:0TIME_DIGITS$}-{chance:0CHANCE_DIGITS$x}", at.0)
}

/// Removes what this module wrote before `oldest`, by the names: a copied folder may have any times.
fn remove_older(folder: &Path, oldest: Timestamp) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.take(NAMES_MAX) {
        let path = entry?.path();
        if written_at(&path).is_some_and(|at| at < oldest) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// When a mail was written, unless the name is none that this module gives.
fn written_at(path: &Path) -> Option<Timestamp> {
    let (stem, ending) = path.file_name()?.to_str()?.rsplit_once('.')?;
    let (at, chance) = stem.split_once('-')?;
    let is_ours = matches!(ending, "eml" | "tmp")
        && at.len() == TIME_DIGITS
        && chance.len() == CHANCE_DIGITS
        && u32::from_str_radix(chance, 16).is_ok();
    at.parse().ok().map(Timestamp).filter(|_| is_ours)
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

    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    #[tokio::test]
    async fn mails_of_yesterday_go_when_a_new_one_comes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let now = Timestamp(1_700_000_000_000);
        let day_ago = Timestamp(now.0 - 24 * 60 * 60 * 1000);
        let older = Timestamp(day_ago.0 - 1);
        let (old, draft) = (format!("{}.eml", stem(older, 1)), format!("{}.tmp", stem(older, 2)));
        let young = format!("{}.eml", stem(day_ago, 3));
        let others = ["0-1.eml", "notes.txt", "1600000000000-notmine1.eml", "1600000000000.eml"];
        for name in [&*old, &*draft, &*young].into_iter().chain(others) {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        let mail = Message::builder()
            .from("a@example.org".parse().expect("a mailbox"))
            .to("b@example.org".parse().expect("a mailbox"))
            .body(String::new())
            .expect("a mail");
        let outbox = Folder::new(folder.path(), Arc::new(At(now)));
        outbox.send(mail).await.expect("a file");

        let is_there = |name: &str| folder.path().join(name).exists();
        assert!(!is_there(&old) && !is_there(&draft), "older than a day");
        assert!(is_there(&young), "a day old");
        assert!(others.iter().all(|name| is_there(name)), "not mails of this folder");
        let names = fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(names, others.len() + 2, "with the new mail");
    }
}
