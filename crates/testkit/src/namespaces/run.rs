//! Runs the programs that make a network, each for a bounded time; a failure is told with what the
//! program has said.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

use thiserror::Error;

/// Seconds that a program may take. They take milliseconds; it bounds what hangs.
const TIMEOUT_SECONDS: &str = "30";
/// Seconds after which one that does not end even then is killed.
const KILL_AFTER_SECONDS: &str = "5";

/// Why the network is not as it was wanted.
#[derive(Debug, Error)]
pub enum LabError {
    /// A program has failed.
    #[error("`{command}` ended with {status}: {output}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended; 124 is for one that took too long.
        status: String,
        /// What it said.
        output: String,
    },
    /// A program or a file could not be used.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

/// Runs a command to its end with this as its input; gives what it printed.
pub(super) fn run(command: &[&str], input: &str) -> Result<String, LabError> {
    let text = command.join(" ");
    let failed = |source| LabError::Io { what: text.clone(), source };
    let mut child = Command::new("timeout")
        .args(["-k", KILL_AFTER_SECONDS, TIMEOUT_SECONDS])
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // A program that ends before it has read says why by itself.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let (status, output) = (output.status.to_string(), format!("{said}{errors}").trim().to_owned());
    Err(LabError::Failed { command: text, status, output })
}
