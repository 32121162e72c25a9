//! `skein logout`.

use clap::Args;
use serde_json::json;

use crate::{context::Context, failure::Failure};

/// Log out. What the home keeps stays there for the next login.
#[derive(Debug, Args)]
pub(crate) struct Logout {}

impl Logout {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        context.client.log_out().await?;
        context.output.line("logged out", &json!({ "logged_out": true }))
    }
}
