//! The command line: its options, and the dispatch to a command.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use skein_client::{Email, FileName, Note, Text, Username};
use tracing_subscriber::EnvFilter;

use crate::{command, context::Context, failure::Failure, rejected};

/// Where the client finds a server that nobody has named.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

const EXAMPLES: &str = "\
Two people meet (each with a home of their own):
  skein --home a register alice --email alice@example.org
  skein --home b register bob --email bob@example.org
  skein --home a add bob -m \"hello, it's me\"
  skein --home b accept alice

They talk, and send a photo:
  skein --home a send bob \"look at this\"
  skein --home a send bob --file photo.jpg
  skein --home b log alice
  skein --home b get alice 2 -o photo.jpg

Messages that cannot be sent are kept, and go out with the next command that connects.
A transfer that was interrupted continues when the same command is run again, or by itself
if it is left to the background:
  skein --home a send bob --file film.mp4 --background
  skein --home a transfers run";

/// Chat over QUIC: messages and files that arrive, also on a bad network.
#[derive(Debug, Parser)]
#[command(name = "skein", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// The folder that keeps the login, unsent messages and logs [default: ~/.skein].
    #[arg(long, global = true, env = "SKEIN_HOME", value_name = "DIR")]
    home: Option<PathBuf>,

    /// The server's URL; remembered after a login [default: http://127.0.0.1:8080].
    #[arg(long, global = true, env = "SKEIN_SERVER", value_name = "URL")]
    server: Option<String>,

    /// Print one JSON object a line, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Register(command::register::Register),
    ResetPassword(command::reset_password::ResetPassword),
    Login(command::login::Login),
    Logout(command::logout::Logout),
    Whoami(command::whoami::Whoami),
    Find(command::find::Find),
    Add(command::add::Add),
    Requests(command::requests::Requests),
    Accept(command::accept::Accept),
    Decline(command::decline::Decline),
    Contacts(command::contacts::Contacts),
    Remove(command::remove::Remove),
    Send(command::send::Send),
    Log(command::log::Log),
    Watch(command::watch::Watch),
    Get(command::get::Get),
    Transfers(command::transfers::Transfers),
}

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Output)?;
    runtime.block_on(async {
        let context = Context::open(cli.home, cli.server, cli.json)?;
        let result = cli.command.run(&context).await;
        context.client.close().await;
        result.and(rejected::tell(&context).await)
    })
}

/// Logs to stderr what `SKEIN_LOG` asks for, and nothing by default: errors are told as sentences.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_env("SKEIN_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

impl Command {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Register(command) => command.run(context).await,
            Self::ResetPassword(command) => command.run(context).await,
            Self::Login(command) => command.run(context).await,
            Self::Logout(command) => command.run(context).await,
            Self::Whoami(command) => command.run(context).await,
            Self::Find(command) => command.run(context).await,
            Self::Add(command) => command.run(context).await,
            Self::Requests(command) => command.run(context).await,
            Self::Accept(command) => command.run(context).await,
            Self::Decline(command) => command.run(context).await,
            Self::Contacts(command) => command.run(context).await,
            Self::Remove(command) => command.run(context).await,
            Self::Send(command) => command.run(context).await,
            Self::Log(command) => command.run(context).await,
            Self::Watch(command) => command.run(context).await,
            Self::Get(command) => command.run(context).await,
            Self::Transfers(command) => command.run(context).await,
        }
    }
}

/// An account's name, as an argument.
pub(crate) fn username(text: &str) -> Result<Username, String> {
    Username::parse(text).map_err(|bad| bad.to_string())
}

/// An e-mail address, as an argument.
pub(crate) fn email(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|bad| bad.to_string())
}

/// A greeting or remark, as an argument.
pub(crate) fn note(text: &str) -> Result<Note, String> {
    Note::parse(text).map_err(|bad| bad.to_string())
}

/// The words of a message, as arguments.
pub(crate) fn text(words: &[String]) -> Result<Text, Failure> {
    Text::parse(words.join(" ")).map_err(|bad| Failure::Usage(bad.to_string()))
}

/// What to call a file here that someone else has named `name`, with `suffix` behind it. A name
/// that would hide the file or look like an option gets something before it.
pub(crate) fn local_name(name: &FileName, suffix: &str) -> PathBuf {
    let before = if name.as_str().starts_with(['.', '-']) { "_" } else { "" };
    let changed = FileName::parse(format!("{before}{name}{suffix}"));
    PathBuf::from(changed.as_ref().map_or("download", FileName::as_str))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_use_is_refused() {
        for arguments in [
            &["skein"][..],
            &["skein", "register", "alice"],
            &["skein", "register", "../alice", "--email", "a@example.org"],
            &["skein", "register", "alice", "--email", "nobody"],
            &["skein", "send", "bob"],
            &["skein", "send", "bob", "hello", "--file", "x"],
            &["skein", "log", "bob", "-n", "0"],
            &["skein", "log", "bob", "--before", "x"],
            &["skein", "get", "bob"],
            &["skein", "send", "bob", "hello", "--background"],
            &["skein", "transfers", "pause"],
        ] {
            let error = Cli::try_parse_from(arguments).map(drop).expect_err("wrong use");
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }

    #[test]
    fn other_peoples_names_are_harmless_here() {
        let name = |text: &str| FileName::parse(text).expect("a file name");
        for (given, suffix, expected) in [
            ("photo.jpg", "", "photo.jpg"),
            ("photo.jpg", ".thumbnail.jpg", "photo.jpg.thumbnail.jpg"),
            (".bashrc", "", "_.bashrc"),
            ("--force", "", "_--force"),
            (&"x".repeat(255), ".thumbnail.jpg", "download"),
        ] {
            assert_eq!(local_name(&name(given), suffix), PathBuf::from(expected));
        }
    }

    #[test]
    fn the_commands_of_the_help_are_understood() {
        for line in EXAMPLES.lines().filter_map(|line| line.trim().strip_prefix("skein ")) {
            let quoted = line.replace("\"hello, it's me\"", "x").replace("\"look at this\"", "x");
            let arguments = ["skein"].into_iter().chain(quoted.split(' '));
            assert!(Cli::try_parse_from(arguments).is_ok(), "{line}");
        }
    }
}
