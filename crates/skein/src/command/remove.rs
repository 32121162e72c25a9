//! `skein remove`.

use clap::Args;
use serde_json::json;
use skein_client::Username;

use crate::{cli, context::Context, failure::Failure};

/// Remove a contact. Your conversation stays readable.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Whom.
    #[arg(value_parser = cli::username)]
    name: Username,
}

impl Remove {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, person) = context.person(&self.name).await?;
        client.remove_contact(person.id).await?;
        let name = person.name.as_str();
        context.output.line(
            &format!("removed {name}"),
            &json!({ "account": person.id.0, "name": name, "state": "removed" }),
        )
    }
}
