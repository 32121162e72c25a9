//! Users of this machine: some servers refuse to be root, which tests in a container often are.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::Command,
};

use crate::process::Program;

/// Whether this process is root's.
#[must_use]
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The program as this user's, if this process may choose.
#[must_use]
pub fn run_as(user: &str, program: Program) -> Program {
    if is_root() { program.user(user) } else { program }
}

/// Makes a file this user's, if this process may give it away.
pub fn give(user: &str, path: &Path) {
    if is_root() {
        let output = Command::new("id").args(["-u", user]).output().expect("id(1) is there");
        let uid = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
        let uid = uid.unwrap_or_else(|| panic!("there is no user `{user}`, as its package makes"));
        chown(path, Some(uid), None).expect("root may give files away");
    }
}
