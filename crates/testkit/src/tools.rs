//! Finds the programs that `make tools` has put into the target folder.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The variable that names the folder with the programs; `target/tools/python/bin` without it.
const FOLDER_VARIABLE: &str = "SKEIN_TOOLS";

/// A program of the Python environment that the tests have for themselves.
#[must_use]
pub fn python_program(name: &str) -> PathBuf {
    let folder = env::var_os(FOLDER_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python/bin"),
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run `make tools`", path.display());
    path
}
