//! Measures Skein against raw quinn in the same run, on the same machine, with the same processes.
//!
//! A scenario (in [`scenario`]) starts the real server, loads it, and does the same with a process
//! that has nothing but quinn ([`baseline`]); or it lets clients of the SDK do their work while the
//! network is disturbed, and holds that against the same network undisturbed. What it finds is a list of [`report::Finding`]s.
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
mod report;
mod scenario;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    arguments::{Arguments, Command},
    failure::Failure,
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
    let mut report = Report::new(arguments.json);
    match arguments.command {
        Command::Pingpong(load) => scenario::pingpong::run(&load, &mut report).await,
        Command::Transfer(load) => scenario::transfer::run(&load, &mut report).await,
        Command::Networks(load) => scenario::networks::run(&load, &mut report).await,
        Command::Priority(load) => scenario::priority::run(&load, &mut report).await,
        Command::Congestion(load) => scenario::congestion::run(&load, &mut report),
        Command::Smoke => scenario::smoke(&mut report).await,
        Command::Baseline { folder } => baseline::server::run(folder).await,
    }
}
