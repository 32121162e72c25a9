//! Measures Skein against raw quinn in the same run, on the same machine, with the same processes.
//!
//! A scenario (in [`scenario`]) starts the real server, loads it, and does the same with a process
//! that has nothing but quinn ([`baseline`]); or it lets clients of the SDK do their work while the
//! network is disturbed, and holds that against the same network undisturbed. What it finds is a
//! list of [`report::Finding`]s, whose table may go into a file as well ([`record`]).
//! A run fails if anything went missing or was wrong, never because it was slow.

mod arguments;
mod arrivals;
mod baseline;
mod congestion;
mod failure;
mod fleet;
mod latency;
mod pace;
mod plot;
mod record;
mod report;
mod scenario;

use std::{env, path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{
    arguments::{Arguments, Command},
    failure::Failure,
    record::Record,
    report::Report,
};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("skein-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    // Before anything is measured: some of it takes an hour.
    let record = arguments.record.map(place).transpose()?;
    let mut report = Report::new(arguments.json);
    measure(arguments.command, &mut report).await?;
    let Some(record) = record else { return Ok(()) };
    let put = record.put(report.table());
    put.map_err(|cause| Failure::Record { file: record.file().to_owned(), cause })
}

/// The place for what this command will find.
fn place(file: PathBuf) -> Result<Record, Failure> {
    let words = env::args_os().map(|word| word.to_string_lossy().into_owned());
    let found = Record::find(file.clone(), record::command(words));
    found.map_err(|cause| Failure::Record { file, cause })
}

async fn measure(command: Command, report: &mut Report) -> Result<(), Failure> {
    match command {
        Command::Pingpong(load) => scenario::pingpong::run(&load, report).await,
        Command::Transfer(load) => scenario::transfer::run(&load, report).await,
        Command::Loss(load) => scenario::loss::run(&load, report).await,
        Command::Networks(load) => scenario::networks::run(&load, report).await,
        Command::Priority(load) => scenario::priority::run(&load, report).await,
        Command::Congestion(load) => scenario::congestion::run(&load, report),
        Command::Smoke => scenario::smoke(report).await,
        Command::Baseline { folder } => baseline::server::run(folder).await,
    }
}
