//! The server's command line.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use skein_core::time::Clock;
use skein_ops::{
    clock::SystemClock,
    config::load,
    lifecycle::{Outcome, Shutdown},
    ready::Ready,
};
use skeind::{Config, Flags, Server, banner, certs};

/// How long threads that block on the disk may take at the very end.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(2);

/// Skein's server: gate, verify, status, chat and resource in one process.
///
/// Configuration comes from the file of --config (TOML), then from the environment (SKEIN_… with
/// two underscores for each dot, as in SKEIN_CHAT__SESSIONS_MAX), then from these flags.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  skeind                                  run on ./data, on this machine only
  skeind --http 127.0.0.1:0 --quic 127.0.0.1:0 --ready-file ready.json
  skeind --config skein.toml config       print the effective configuration"
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Options {
    /// Folder for everything that the server keeps [default: data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Where to listen for HTTP; port 0 picks one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", global = true)]
    http: Option<String>,
    /// Where to listen for QUIC; port 0 picks one [default: 127.0.0.1:4433]
    #[arg(long, value_name = "ADDR", global = true)]
    quic: Option<String>,
    /// A TOML file with configuration
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Write {"http": "...", "quic": "..."} to this file once everything accepts
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Print the effective configuration as TOML, with secrets redacted
    Config,
    /// Make an authority and a certificate for each role of a cluster
    Certs(certs::Options),
}

fn main() -> ExitCode {
    let Cli { options, command } = Cli::parse();
    if let Some(Command::Certs(options)) = &command {
        return make_certs(options);
    }
    let Options { data, http, quic, config: file, ready_file } = options;
    let config: Config = match load(file.as_deref(), &Flags { data, http, quic }) {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    match command {
        Some(Command::Config) => match toml::to_string_pretty(&config) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, 1),
        },
        Some(Command::Certs(options)) => make_certs(&options),
        None => serve(config, ready_file),
    }
}

/// Makes certificates, for which no configuration is needed.
fn make_certs(options: &certs::Options) -> ExitCode {
    let made = match certs::make(options, SystemClock.now()) {
        Ok(made) => made,
        Err(error) => return fail(&error, 1),
    };
    println!("{}", certs::words(options, &made));
    ExitCode::SUCCESS
}

fn serve(config: Config, ready_file: Option<PathBuf>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let code = runtime.block_on(async {
        let telemetry = match config.log.install("skeind") {
            Ok(telemetry) => telemetry,
            Err(error) => return fail(&error, 2),
        };
        let code = run(config, ready_file).await;
        drop(telemetry);
        code
    });
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    code
}

async fn run(config: Config, ready_file: Option<PathBuf>) -> ExitCode {
    let shutdown = Shutdown::new();
    if let Err(error) = shutdown.on_signals() {
        return fail(&error, 1);
    }
    let patience = config.shutdown.deadline();
    if let Some(path) = &ready_file
        && let Err(error) = Ready::clear(path)
    {
        eprintln!("skeind: cannot remove {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    let (data, mail) = (config.data.clone(), config.verify.smtp.is_some());
    let server = match Server::start(config, &shutdown).await {
        Ok(server) => server,
        Err(error) => return fail(&error, 1),
    };
    let ready = server.ready();
    if let Some(path) = ready_file
        && let Err(error) = ready.write(&path)
    {
        eprintln!("skeind: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    println!("{}", banner(&ready, &data, mail));
    match server.finish(patience).await {
        Outcome::Clean => ExitCode::SUCCESS,
        Outcome::Panicked => {
            tracing::error!("ended, but a task had panicked before");
            ExitCode::FAILURE
        }
        Outcome::Forced => {
            tracing::warn!("ended before everything under way was done");
            ExitCode::FAILURE
        }
    }
}

/// One sentence with its causes, on standard error.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !sentence.contains(&words) {
            sentence = format!("{sentence}: {words}");
        }
        cause = error.source();
    }
    eprintln!("skeind: {sentence}");
    ExitCode::from(code)
}
