//! `skeind admin`: what operators look at and change. It speaks to the server that uses the data
//! folder; with none running it works on the folder itself, and with a database configured on the
//! parts of the cluster.

mod show;
pub(crate) mod socket;
mod wait;

use std::{
    path::{PathBuf, absolute},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand};
use skein_bus::hint::Hints;
use skein_core::{
    port::{directory::Directory, verifier::Verifier},
    time::Clock,
};
use skein_ops::{clock::SystemClock, health::Health, lifecycle::Shutdown};
use skein_rpc::credentials::Credentials;
use skein_status::Status;
use skein_store::postgres;

use self::show::Show;
pub(crate) use self::show::printable;
use crate::{
    Config, StartError, backup,
    folder::{self, DataFolder, FolderError},
    operator::{Answer, Failure, Operator, Order, USERS_MAX},
    parts::{self, Truth},
    patience::Patience,
    sentence,
};

/// How long a command waits for the parts of a cluster.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Debug, Args)]
pub struct Options {
    /// Print JSON: one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at accounts and change them
    #[command(subcommand)]
    Users(Users),
    /// List the chat nodes and their load
    Nodes,
    /// Let a chat node send its sessions to others
    Drain {
        /// The node's name
        node: String,
        /// Over which time, as in 30s or 5m
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
        over: Duration,
    },
    /// List open uploads, the longest untouched first
    Uploads,
    /// Say what is stored
    Storage,
    /// Copy the embedded store and its files to a new folder, while the server runs
    Backup {
        /// The folder
        dir: PathBuf,
    },
    /// Fill an empty data folder from a backup; all logins end
    Restore {
        /// The folder that `backup` made
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Users {
    /// List accounts
    List,
    /// Show one account
    Show {
        /// Its name
        name: String,
    },
    /// End an account's logins and let it log in no more
    Disable {
        /// Its name
        name: String,
    },
    /// Let a disabled account log in again
    Enable {
        /// Its name
        name: String,
    },
    /// Mail an account a code for a new password
    Reset {
        /// Its name
        name: String,
    },
    /// List an account's logins
    Sessions {
        /// Its name
        name: String,
    },
    /// End the logins of an account
    Kick {
        /// Its name
        name: String,
        /// Only that of this device, as `sessions` shows it
        #[arg(long, value_name = "ID")]
        device: Option<String>,
    },
}

/// Carries out the command and prints what came of it.
pub async fn run(options: Options, config: &Config) -> ExitCode {
    let show = Show { json: options.json };
    match command(options.command, config, show).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            show.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn command(command: Command, config: &Config, show: Show) -> Result<(), Failure> {
    let order = match command {
        Command::Restore { dir } => {
            if config.store.is_some() {
                let message = "restore fills a data folder, but a database is configured";
                return Err(Failure::new("invalid", message));
            }
            let restored = backup::restore(&dir, &config.data).await;
            let restored = restored.map_err(|error| Failure::new("restore", sentence(&error)))?;
            return show.restored(&restored);
        }
        Command::Users(Users::List) => return list(config, show).await,
        Command::Users(Users::Show { name }) => Order::User { name },
        Command::Users(Users::Disable { name }) => Order::Disable { name },
        Command::Users(Users::Enable { name }) => Order::Enable { name },
        Command::Users(Users::Reset { name }) => Order::Reset { name },
        Command::Users(Users::Sessions { name }) => Order::Sessions { name },
        Command::Users(Users::Kick { name, device }) => Order::Kick { name, device },
        Command::Nodes => Order::Nodes,
        Command::Drain { node, over } => {
            Order::Drain { node, over_ms: u64::try_from(over.as_millis()).unwrap_or(u64::MAX) }
        }
        Command::Uploads => Order::Uploads,
        Command::Storage => Order::Storage,
        Command::Backup { dir } => {
            let unnamed = |error: std::io::Error| Failure::new("invalid", error.to_string());
            Order::Backup { to: absolute(dir).map_err(unnamed)? }
        }
    };
    let mut line = Line::open(config, order_needs_bus(&order)).await?;
    let answer = line.ask(order, show).await?;
    line.close().await;
    show.answer(answer)
}

/// Page after page, so that any number of accounts can be listed.
async fn list(config: &Config, show: Show) -> Result<(), Failure> {
    let mut line = Line::open(config, false).await?;
    let mut after = None;
    loop {
        let answer = line.ask(Order::Users { after, limit: USERS_MAX }, show).await?;
        let Answer::Users(users) = answer else { break };
        let Some(last) = users.last() else { break };
        after = Some(last.account);
        show.answer(Answer::Users(users))?;
    }
    line.close().await;
    Ok(())
}

const fn order_needs_bus(order: &Order) -> bool {
    matches!(order, Order::Disable { .. } | Order::Kick { .. } | Order::Nodes | Order::Drain { .. })
}

/// The way to whoever carries out orders.
enum Line {
    /// A running server.
    Server(PathBuf),
    /// This process. The folder is held meanwhile, if it is on one.
    Here { operator: Box<Operator>, _folder: Option<DataFolder> },
}

impl Line {
    async fn open(config: &Config, needs_bus: bool) -> Result<Self, Failure> {
        let socket = folder::socket(&config.data);
        // Nobody else can have the folder while a server has it.
        match DataFolder::take_existing(&config.data) {
            Err(FolderError::Taken(_)) if socket.exists() || config.store.is_none() => {
                Ok(Self::Server(socket))
            }
            taken => match (&config.store, taken) {
                (Some(store), _) => cluster(config, store, needs_bus).await,
                (None, Ok(folder)) => embedded(folder, config),
                (None, Err(error)) => Err(error.into()),
            }
            .map_err(|error| Failure::new("unavailable", sentence(&error))),
        }
    }

    /// The answer to an order. Somebody who waits for it is told that it takes its time.
    async fn ask(&mut self, order: Order, show: Show) -> Result<Answer, Failure> {
        let doing = wait::doing(&order);
        let most = socket::patience(&order);
        wait::telling(|waited| show.waiting(doing, waited, most), self.answer(order)).await
    }

    async fn answer(&mut self, order: Order) -> Result<Answer, Failure> {
        let answer = match self {
            Self::Here { operator, .. } => operator.perform(order).await,
            Self::Server(socket) => {
                let away = |why: String| Failure::new("unavailable", why);
                let patience = socket::patience(&order);
                let answer = socket::ask(socket, &order, patience).await.map_err(|error| {
                    away(format!("the server at {} does not answer: {error}", socket.display()))
                })?;
                answer.ok_or_else(|| {
                    away(
                        "the server takes no orders: it starts or stops, or its log says why"
                            .to_owned(),
                    )
                })?
            }
        };
        match answer {
            Answer::Failed(failure) => Err(failure),
            answer => Ok(answer),
        }
    }

    async fn close(self) {
        if let Self::Here { operator, .. } = self {
            operator.truth.close().await;
        }
    }
}

/// On the folder of a server that is stopped. Its store is migrated by that server, and by nobody
/// who only wants to look: an upgrade can then still be called off.
fn embedded(folder: DataFolder, config: &Config) -> Result<Line, StartError> {
    let truth = Truth::open_migrated(&folder.store())?;
    let operator = Operator {
        truth,
        hints: None,
        directory: None,
        verifier: None,
        blobs: config.blobs.is_none().then(|| folder.blobs()),
        clock: Arc::new(SystemClock),
    };
    Ok(Line::Here { operator: Box::new(operator), _folder: Some(folder) })
}

/// On the parts of a cluster.
async fn cluster(
    config: &Config,
    store: &postgres::Config,
    needs_bus: bool,
) -> Result<Line, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    let patience = Patience::new(PATIENCE, &shutdown);
    let truth = Truth::connect(store, &patience).await?;
    let mut hints: Option<Arc<dyn Hints>> = None;
    let mut directory: Option<Arc<dyn Directory>> = None;
    let mut verifier: Option<Arc<dyn Verifier>> = None;
    if let Some(rpc) = &config.rpc {
        let credentials = Credentials::load(rpc, Arc::clone(&clock))?;
        if !rpc.status.is_empty() {
            let client = skein_rpc::directory::Client::new(&rpc.status, &credentials)?;
            directory = Some(Arc::new(client));
        }
        if !rpc.verify.is_empty() {
            let client = skein_rpc::verifier::Client::new(&rpc.verify, &credentials)?;
            verifier = Some(Arc::new(client));
        }
    }
    if needs_bus && config.bus.is_some() {
        let bus = parts::bus(config.bus.as_ref(), &patience, &Health::default()).await?;
        hints = Some(bus.clone());
        // Status keeps everything on the bus, so that it can be here as well as anywhere.
        directory.get_or_insert_with(|| Arc::new(Status::new(bus)));
    }
    let operator = Operator { truth, hints, directory, verifier, blobs: None, clock };
    Ok(Line::Here { operator: Box::new(operator), _folder: None })
}

/// A span of time as people write it.
fn span(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 30s or 5m, got `{text}`");
    let (number, unit) = match text.find(|char: char| !char.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, "s"),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(60 * 60))),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spans() {
        for (text, millis) in
            [("30s", 30_000), ("5m", 300_000), ("250ms", 250), ("7", 7_000), ("1h", 3_600_000)]
        {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1.5s", "5 m", "-1s", "1d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
