//! How a command fails: one sentence on stderr, with `--json` also an object on stdout, and the
//! exit code 1, or 2 for wrong use.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::json;
use skein_client::{BadText, Error};

use crate::output::{complain, printable};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was used wrongly.
    Usage(String),
    /// It could not be done.
    Error(Error),
    /// It could not be done, for a reason of its own: a stable name and a sentence.
    Other(&'static str, String),
    /// The terminal or pipe failed.
    Output(io::Error),
}

impl Failure {
    /// Tells whoever waits, and answers how the process should end.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        let (code, message, exit) = match &self {
            Self::Usage(message) => ("usage", message.clone(), 2),
            Self::Error(Error::BadText(bad)) => ("invalid", bad.to_string(), 2),
            Self::Error(error) => (error.code(), error.to_string(), 1),
            Self::Other(code, message) => (*code, message.clone(), 1),
            // Whoever read the output has had enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return ExitCode::from(1);
            }
            Self::Output(error) => ("output", error.to_string(), 1),
        };
        let retry_after = match &self {
            Self::Error(Error::Refused(refusal)) => refusal.retry_after,
            _ => None,
        };
        let retry_after = retry_after.map(|wait| wait.as_secs_f64().ceil() as u64);
        let advice =
            retry_after.map_or_else(String::new, |seconds| format!(" (try again in {seconds} s)"));
        complain(&format!("{}{advice}", printable(&message)));
        if json {
            let mut error = json!({ "code": code, "message": message });
            if let Some(seconds) = retry_after {
                error["retry_after"] = seconds.into();
            }
            // There is nobody left to tell if this fails.
            writeln!(io::stdout(), "{}", json!({ "error": error })).ok();
        }
        ExitCode::from(exit)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<BadText> for Failure {
    fn from(bad: BadText) -> Self {
        Self::Error(bad.into())
    }
}
