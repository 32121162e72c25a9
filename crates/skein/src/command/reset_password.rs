//! `skein reset-password`: sets a new password with a mailed code.

use clap::Args;
use serde_json::json;
use skein_client::{Email, Password, Purpose};

use crate::{cli, context::Context, failure::Failure};

/// Set a new password: first without --code to have one mailed, then with it.
#[derive(Debug, Args)]
pub(crate) struct ResetPassword {
    /// The address that the account was registered with.
    #[arg(long, value_parser = cli::email)]
    email: Email,
    /// The code that the server has mailed.
    #[arg(long)]
    code: Option<String>,
    /// Read the new password from the first line of stdin.
    #[arg(long)]
    password_stdin: bool,
}

impl ResetPassword {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (server, email) = (context.server().await?, &self.email);
        let client = &context.client;
        let Some(code) = &self.code else {
            let lifetime = client.request_code(&server, Purpose::ResetPassword, email).await?;
            let (seconds, minutes) = (lifetime.as_secs(), lifetime.as_secs() / 60);
            let sentence = format!(
                "if {email} has an account, a code is on its way by mail, good for {minutes} \
                 minutes; then run: skein reset-password --email {email} --code CODE"
            );
            let object = json!({ "code_requested": true, "expires_in_seconds": seconds });
            return context.output.line(&sentence, &object);
        };
        let password = Password::parse(context.password(self.password_stdin, true)?)?;
        client.reset_password(&server, email, code, &password).await?;
        context.output.line(
            "the password is set; every login has ended, so log in again",
            &json!({ "password_set": true }),
        )
    }
}
