//! `skein decline`.

use clap::Args;
use serde_json::json;
use skein_client::Username;

use crate::{cli, context::Context, failure::Failure};

/// Decline someone's contact request.
#[derive(Debug, Args)]
pub(crate) struct Decline {
    /// Whose.
    #[arg(value_parser = cli::username)]
    name: Username,
}

impl Decline {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, person) = context.person(&self.name).await?;
        client.decline_contact(person.id).await?;
        let name = person.name.as_str();
        context.output.line(
            &format!("declined {name}"),
            &json!({ "account": person.id.0, "name": name, "state": "declined" }),
        )
    }
}
