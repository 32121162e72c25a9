//! `skein register`: makes an account and logs in.

use clap::Args;
use serde_json::json;
use skein_client::{Code, Email, Error, Password, Purpose, Username};

use crate::{cli, context::Context, failure::Failure};

/// Make an account, and log in.
///
/// Where the server wants a code that it mails, the first call asks for it, and a second call with
/// --code makes the account.
#[derive(Debug, Args)]
pub(crate) struct Register {
    /// How others find you: letters, digits, '.', '-' and '_'.
    #[arg(value_parser = cli::username)]
    name: Username,
    /// Where codes are mailed to; nobody else sees it.
    #[arg(long, value_parser = cli::email)]
    email: Email,
    /// The code that the server has mailed.
    #[arg(long)]
    code: Option<String>,
    /// Read the password from the first line of stdin.
    #[arg(long)]
    password_stdin: bool,
}

impl Register {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let server = context.server().await?;
        let password = Password::parse(context.password(self.password_stdin, true)?)?;
        let client = &context.client;
        let code = self.code.as_deref();
        let registered = client.register(&server, &self.name, &self.email, &password, code).await;
        match registered {
            Err(Error::Refused(refusal)) if refusal.code == Code::CodeRequired => {
                let lifetime = client.request_code(&server, Purpose::Register, &self.email).await?;
                let (name, email, minutes) = (&self.name, &self.email, lifetime.as_secs() / 60);
                return Err(Failure::Other(
                    Code::CodeRequired.name(),
                    format!(
                        "a code is on its way by mail, good for {minutes} minutes; run again: \
                         skein register {name} --email {email} --code CODE"
                    ),
                ));
            }
            result => result?,
        }
        let account = context.log_in(&server, &self.name, password.expose()).await?;
        let (id, name) = (account.id.0, account.name.as_str());
        context.output.line(
            &format!("registered and logged in as {name} at {server}"),
            &json!({ "account": id, "name": name, "server": server }),
        )
    }
}
