//! What operators read: a line each for people, or one JSON object a line for programs.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    time::Duration,
};

use serde::Serialize;
use serde_json::json;

use crate::operator::{
    Answer, Backup, Draining, Failure, Kicked, Node, Reset, Session, Storage, Upload, User,
};

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) json: bool,
}

impl Show {
    /// Prints an answer.
    pub(super) fn answer(self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Users(users) => self.each(&users, user),
            Answer::User(one) => self.each(&[one], user),
            Answer::Sessions(sessions) => self.each(&sessions, session),
            Answer::Kicked(kicked) => self.each(&[kicked], |Kicked { name, logins }| {
                format!("ended {} of {name}", count(*logins, "login"))
            }),
            Answer::Reset(reset) => self.each(&[reset], |Reset { name, expires_in_seconds }| {
                format!("mailed {name} a code, good for {expires_in_seconds} s")
            }),
            Answer::Nodes(nodes) => self.each(&nodes, node),
            Answer::Draining(told) => self.each(&[told], |Draining { node, over_ms }| {
                let seconds = *over_ms as f64 / 1000.0;
                format!("{node} was told to send its sessions elsewhere within {seconds} s")
            }),
            Answer::Uploads(uploads) => self.each(&uploads, upload),
            Answer::Storage(used) => self.each(&[used], storage),
            Answer::Backup(made) => {
                self.each(std::slice::from_ref(&made), |made| backup("copied", made))?;
                incomplete(&made)
            }
            Answer::Late(done) => {
                warn(
                    "done, but the bus is away or not configured: sessions that are open end when \
                     their node looks at the login again, within a minute",
                );
                self.answer(*done)
            }
            Answer::Failed(failure) => Err(failure),
        }
    }

    /// Prints what was restored. What is missing was missing before: that is no failure of this.
    pub(super) fn restored(self, restored: &Backup) -> Result<(), Failure> {
        self.each(std::slice::from_ref(restored), |restored| {
            let words = backup("restored", restored);
            format!("{words}; everybody has to log in again")
        })
    }

    /// Tells a person at a terminal that the answer takes its time.
    pub(super) fn waiting(self, doing: &str, waited: Duration, most: Duration) {
        let stderr = io::stderr();
        if !self.json && stderr.is_terminal() {
            let (waited, most) = (waited.as_secs(), most.as_secs());
            // There is nobody left to tell if this fails.
            writeln!(&stderr, "skeind: still {doing}, for {waited} s of {most} s at most").ok();
        }
    }

    /// Tells what went wrong: people on standard error, programs also on standard output.
    pub(super) fn failure(self, failure: &Failure) {
        eprintln!("skeind: {}", printable(&failure.message));
        if self.json {
            // There is nobody left to tell if this fails.
            writeln!(io::stdout(), "{}", json!({ "error": failure })).ok();
        }
    }

    fn each<T: Serialize>(self, all: &[T], words: impl Fn(&T) -> String) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        for one in all {
            let written = if self.json {
                serde_json::to_writer(&mut stdout, one)
                    .map_err(io::Error::from)
                    .and_then(|()| writeln!(stdout))
            } else {
                writeln!(stdout, "{}", printable(&words(one)))
            };
            written.map_err(|error| Failure::new("output", error.to_string()))?;
        }
        Ok(())
    }
}

/// Tells of something that an operator should know of what was done. Programs go by the answer.
fn warn(words: &str) {
    // There is nobody left to tell if this fails.
    writeln!(io::stderr(), "skeind: {words}").ok();
}

fn user(user: &User) -> String {
    let User { account, name, email, created_ms, disabled_ms, storage_bytes, logins } = user;
    let disabled = disabled_ms.map_or_else(String::new, |ms| format!(", disabled {}", date(ms)));
    let (since, stored) = (date(*created_ms), size(*storage_bytes));
    let logins = count(*logins, "login");
    format!("{account} {name} <{email}> since {since}, {logins}, {stored}{disabled}")
}

fn session(session: &Session) -> String {
    let Session { device, device_name, issued_ms, expires_ms } = session;
    let (issued, expires) = (date(*issued_ms), date(*expires_ms));
    format!("{device} {device_name:?} since {issued}, until {expires}")
}

fn node(node: &Node) -> String {
    let draining = if node.draining { ", draining" } else { "" };
    let Node { node, address, sessions, sessions_max, memory_bytes, cpu_permille, .. } = node;
    let (memory, cpu) = (size(*memory_bytes), f64::from(*cpu_permille) / 10.0);
    format!(
        "{node} {address} {sessions} of {sessions_max} sessions, {memory}, {cpu} % of a core\
         {draining}"
    )
}

fn upload(upload: &Upload) -> String {
    let Upload { account, upload: id, blob, size: bytes, durable, completing, touched_ms } = upload;
    let state = if *completing { ", completing" } else { "" };
    let (durable, bytes, touched) = (size(*durable), size(*bytes), date(*touched_ms));
    format!("{id} of account {account}, blob {blob}, {durable} of {bytes}, last {touched}{state}")
}

fn storage(used: &Storage) -> String {
    let Storage { blobs, blob_bytes, open_uploads, open_bytes } = *used;
    let (stored, open) = (size(blob_bytes), size(open_bytes));
    let (files, uploads) = (count(blobs, "file"), count(open_uploads, "open upload"));
    format!("{files} with {stored}; {uploads} for {open}")
}

fn backup(verb: &str, made: &Backup) -> String {
    let Backup { folder, blobs, blob_bytes, uploads, missing, missing_blobs } = made;
    let (folder, bytes) = (folder.display(), size(*blob_bytes));
    let (files, uploads) = (count(*blobs, "file"), count(*uploads, "upload"));
    let words =
        format!("{verb} the store, {files} with {bytes} and {uploads} under way to {folder}");
    if *missing == 0 {
        return words;
    }
    let named = missing_blobs.join(" ");
    let more = match missing.saturating_sub(missing_blobs.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{words}, without {} that the store knows: {named}{more}", count(*missing, "file"))
}

/// A backup that lacks files is one, and still nothing to rest on.
fn incomplete(made: &Backup) -> Result<(), Failure> {
    let Backup { missing, folder, .. } = made;
    if *missing == 0 {
        return Ok(());
    }
    let message = format!(
        "the backup in {} lacks {} that the store knows and that the server no longer has; \
         everything else is in it, and it can be restored",
        folder.display(),
        count(*missing, "file")
    );
    Err(Failure::new("incomplete", message))
}

/// So many of something.
fn count(number: u64, of: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{number} {of}{many}")
}

/// A time in UTC, to the minute.
fn date(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let Ok(at) = time::OffsetDateTime::from_unix_timestamp(seconds) else { return "?".to_owned() };
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!("{year}-{month:02}-{day:02} {:02}:{:02}Z", at.hour(), at.minute())
}

/// A number of bytes as people read it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    format!("{value:.1} {unit}")
}

/// Other people's text in a form that does nothing to a terminal: control characters, and those
/// that turn the direction of what follows, are written out.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for char in text.chars() {
        let turns = matches!(
            char,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if char.is_control() || turns {
            // Writing to a string cannot fail.
            write!(printable, "{}", char.escape_default()).ok();
        } else {
            printable.push(char);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_without_some_files_is_shown_and_fails() {
        let whole = Backup {
            folder: "b".into(),
            blobs: 1,
            blob_bytes: 5,
            uploads: 0,
            missing: 0,
            missing_blobs: Vec::new(),
        };
        assert_eq!(incomplete(&whole), Ok(()));
        assert!(!backup("copied", &whole).contains("without"));
        let missing_blobs = vec!["aa".to_owned(), "bb".to_owned()];
        let lacking = Backup { missing: 3, missing_blobs, ..whole };
        let words = backup("copied", &lacking);
        assert!(
            words.ends_with("without 3 files that the store knows: aa bb and 1 more"),
            "{words}"
        );
        assert_eq!(incomplete(&lacking).unwrap_err().code, "incomplete");
        let show = Show { json: true };
        assert!(show.answer(Answer::Backup(lacking.clone())).is_err());
        assert_eq!(show.restored(&lacking), Ok(()));
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!((count(1, "file"), count(2, "file")), ("1 file".into(), "2 files".into()));
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 40), "5.0 TiB");
        assert_eq!(date(1_795_305_600_000), "2026-11-22 00:00Z");
        assert_eq!(printable("a\u{1b}[2J\u{202e}"), "a\\u{1b}[2J\\u{202e}");
    }
}
