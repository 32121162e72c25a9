//! `skein`, the command line client. Each command is a file in [`command`]; `docs/cli.md` documents
//! what they print with `--json`.

mod cli;
mod command;
mod context;
mod entry;
mod failure;
mod output;
mod progress;
mod rejected;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli::start_logging();
    let json = cli.json;
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}
