//! `skein login`.

use clap::Args;
use serde_json::json;
use skein_client::Username;

use crate::{cli, context::Context, failure::Failure};

/// Log in. The server and the login are remembered in the home.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The account's name.
    #[arg(value_parser = cli::username)]
    name: Username,
    /// Read the password from the first line of stdin.
    #[arg(long)]
    password_stdin: bool,
}

impl Login {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let server = context.server().await?;
        let password = context.password(self.password_stdin, false)?;
        let account = context.log_in(&server, &self.name, &password).await?;
        let (id, name) = (account.id.0, account.name.as_str());
        context.output.line(
            &format!("logged in as {name} at {server}"),
            &json!({ "account": id, "name": name, "server": server }),
        )
    }
}
