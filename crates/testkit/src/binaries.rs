//! Finds the binaries under test beside the test that runs.

use std::{env, path::PathBuf};

/// The path of a binary of this workspace, built with the same profile as the caller.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let mut folder = env::current_exe().expect("a process knows its file");
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --bins` first", path.display());
    path
}
