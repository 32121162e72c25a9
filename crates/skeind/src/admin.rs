//! `skeind admin`: what operators look at and change. It speaks to the server that uses the data
//! folder; with none running it works on the folder itself, and with a database configured on the
//! parts of the cluster.

mod line;
mod show;
pub(crate) mod socket;
mod wait;

use std::{
    path::{PathBuf, absolute},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Subcommand};

pub(crate) use self::show::printable;
use self::{
    line::{Line, UseOfBus},
    show::Show,
};
use crate::{
    Config, backup,
    operator::{Answer, Failure, Order, UPLOADS_MAX, USERS_MAX, Upload},
    sentence,
};

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
        /// Also if no other node takes its sessions: they end, and nobody can connect until it is
        /// started again
        #[arg(long)]
        force: bool,
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
        Command::Users(Users::List) => return list_users(config, show).await,
        Command::Uploads => return list_uploads(config, show).await,
        Command::Users(Users::Show { name }) => Order::User { name },
        Command::Users(Users::Disable { name }) => Order::Disable { name },
        Command::Users(Users::Enable { name }) => Order::Enable { name },
        Command::Users(Users::Reset { name }) => Order::Reset { name },
        Command::Users(Users::Sessions { name }) => Order::Sessions { name },
        Command::Users(Users::Kick { name, device }) => Order::Kick { name, device },
        Command::Nodes => Order::Nodes,
        Command::Drain { node, over, force } => {
            let over_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
            Order::Drain { node, over_ms, force }
        }
        Command::Storage => Order::Storage,
        Command::Backup { dir } => {
            let unnamed = |error: std::io::Error| Failure::new("invalid", error.to_string());
            Order::Backup { to: absolute(dir).map_err(unnamed)? }
        }
    };
    let mut line = Line::open(config, UseOfBus::by(&order)).await?;
    let answer = line.ask(order, show).await?;
    line.close().await;
    show.answer(answer)
}

/// Page after page, so that any number of accounts can be listed.
async fn list_users(config: &Config, show: Show) -> Result<(), Failure> {
    let mut line = Line::open(config, UseOfBus::None).await?;
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

/// The same for uploads. One that is touched meanwhile goes to the end, and is listed there again;
/// a page that is not full ends the list all the same.
async fn list_uploads(config: &Config, show: Show) -> Result<(), Failure> {
    let mut line = Line::open(config, UseOfBus::None).await?;
    let mut after = None;
    loop {
        let answer = line.ask(Order::Uploads { after, limit: UPLOADS_MAX }, show).await?;
        let Answer::Uploads(uploads) = answer else { break };
        let last = uploads.last().filter(|_| uploads.len() == UPLOADS_MAX);
        after = last.map(Upload::place);
        show.answer(Answer::Uploads(uploads))?;
        if after.is_none() {
            break;
        }
    }
    line.close().await;
    Ok(())
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
