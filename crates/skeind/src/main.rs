//! The server's command line.

use std::{future::Future, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use skein_core::time::Clock;
use skein_ops::{
    clock::SystemClock,
    config::load,
    lifecycle::{Outcome, Shutdown},
    ready::Ready,
};
use skeind::{
    Config, Flags, Role, Server, admin, banner, certs, doctor, migrate, routing, sentence,
};

/// How long threads that block on the disk may take at the very end.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(2);
/// What ends commands is little: they answer for themselves.
const COMMAND_FILTER: &str = "warn";

/// Skein's server: gate, verify, status, chat and resource in one process, or one of them.
///
/// Configuration comes from the file of --config (TOML), then from the environment (SKEIN_… with
/// two underscores for each dot, as in SKEIN_CHAT__SESSIONS_MAX), then from these flags.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  skeind                                  run on ./data, on this machine only
  skeind --http 127.0.0.1:0 --quic 127.0.0.1:0 --ready-file ready.json
  skeind --config skein.toml config       print the effective configuration
  skeind chat --config chat-1.toml        run one chat node of a cluster
  skeind doctor                           look for what is wrong, and how to mend it
  skeind admin users list                 look after the accounts"
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
    #[arg(long, value_name = "FILE", global = true)]
    ready_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run all roles in one process, as without a command
    All,
    /// Run the HTTP API of a cluster
    Gate,
    /// Run what mails and checks codes in a cluster
    Verify,
    /// Run the directory of the chat nodes of a cluster
    Status,
    /// Run a chat node of a cluster
    Chat,
    /// Run what takes uploads and keeps files in a cluster
    Resource,
    /// Bring the store's schema up to date
    Migrate,
    /// Make an authority and a certificate for each role of a cluster
    Certs(certs::Options),
    /// Print the effective configuration as TOML, with secrets redacted
    Config,
    /// Print what a load balancer needs to read this node's connection ids, its key among it
    Routing,
    /// Look at every configured part and at this machine, and say how to mend what is wrong
    Doctor(doctor::Options),
    /// Look after accounts, chat nodes, uploads and backups
    Admin(admin::Options),
}

fn main() -> ExitCode {
    let Cli { options, command } = Cli::parse();
    // No configuration is needed for it.
    if let Some(Command::Certs(options)) = &command {
        return make_certs(options);
    }
    let Options { data, http, quic, config: file, ready_file } = options;
    let config: Config = match load(file.as_deref(), &Flags { data, http, quic }) {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    let role = match command {
        None | Some(Command::All) => Role::All,
        Some(Command::Gate) => Role::Gate,
        Some(Command::Verify) => Role::Verify,
        Some(Command::Status) => Role::Status,
        Some(Command::Chat) => Role::Chat,
        Some(Command::Resource) => Role::Resource,
        Some(Command::Certs(options)) => return make_certs(&options),
        Some(Command::Config) => return print_config(&config),
        Some(Command::Routing) => return print_routing(&config),
        Some(Command::Migrate) => return in_command(config, migrate_store),
        Some(Command::Doctor(options)) => {
            return in_command(config, async |config| doctor::run(options, &config).await);
        }
        Some(Command::Admin(options)) => {
            return in_command(config, async |config| admin::run(options, &config).await);
        }
    };
    let name = if role == Role::All { "skeind".to_owned() } else { format!("skeind-{role}") };
    in_runtime(&config.clone(), &name, || run(role, config, ready_file))
}

fn print_config(config: &Config) -> ExitCode {
    match toml::to_string_pretty(config) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, 1),
    }
}

fn print_routing(config: &Config) -> ExitCode {
    match routing::describe(&config.chat) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, 1),
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

async fn migrate_store(config: Config) -> ExitCode {
    let shutdown = Shutdown::new();
    if let Err(error) = shutdown.on_signals() {
        return fail(&error, 1);
    }
    match migrate(&config, &shutdown).await {
        Ok(sentence) => {
            println!("{sentence}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, 1),
    }
}

/// Runs a command that is over soon: its log has what went wrong, and is not exported.
fn in_command<F>(mut config: Config, work: impl FnOnce(Config) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    if config.log.filter == Config::default().log.filter {
        COMMAND_FILTER.clone_into(&mut config.log.filter);
    }
    config.log.otlp = None;
    in_runtime(&config.clone(), "skeind", || work(config))
}

fn in_runtime<F>(config: &Config, name: &str, work: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let code = runtime.block_on(async {
        let telemetry = match config.log.install(name) {
            Ok(telemetry) => telemetry,
            Err(error) => return fail(&error, 2),
        };
        let code = work().await;
        drop(telemetry);
        code
    });
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    code
}

async fn run(role: Role, config: Config, ready_file: Option<PathBuf>) -> ExitCode {
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
    let server = match Server::start(role, config, &shutdown).await {
        Ok(server) => server,
        Err(error) if error.is_stop() => return ExitCode::SUCCESS,
        Err(error) => return fail(&error, 1),
    };
    let ready = server.ready();
    if let Some(path) = ready_file
        && let Err(error) = ready.write(&path)
    {
        eprintln!("skeind: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    println!("{}", banner(role, &ready, &data, mail));
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
    eprintln!("skeind: {}", sentence(error));
    ExitCode::from(code)
}
