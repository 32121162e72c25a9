//! A process whose clock is off, by libfaketime: its wall clock alone, so that what it measures
//! stays right, as on a machine that nobody set.

use std::{fs, path::PathBuf};

use crate::process::Program;

/// The program with a wall clock that is off by so many seconds.
#[must_use]
pub fn turned(program: Program, seconds: i64) -> Program {
    let library = library();
    program
        .env("LD_PRELOAD", &library.to_string_lossy())
        .env("FAKETIME", &format!("{seconds:+}s"))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// The variant for programs with threads, wherever the system's packages put it.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut paths = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    paths.find(|path| path.is_file()).expect("libfaketime is missing: run `make tools`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_an_hour_ahead() {
        let log = crate::folder::new("clock").join("log");
        let date = |program: Program| {
            program.args(["+%s"]).run();
            let text = fs::read_to_string(&log).expect("date writes");
            text.lines().last().and_then(|line| line.parse::<i64>().ok()).expect("seconds")
        };
        let before = date(Program::new("date", &log));
        let ahead = date(turned(Program::new("date", &log), 3600));
        assert!(ahead - before >= 3600, "{before} and {ahead}");
    }
}
