//! `skein add`: asks someone to become contacts.

use clap::Args;
use serde_json::json;
use skein_client::{Note, Username};

use crate::{cli, context::Context, failure::Failure};

/// Ask someone to become contacts. If they have asked you, this accepts.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Whom.
    #[arg(value_parser = cli::username)]
    name: Username,
    /// A greeting.
    #[arg(short, long, value_name = "TEXT", default_value = "", value_parser = cli::note)]
    message: Note,
}

impl Add {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, person) = context.person(&self.name).await?;
        let conversation = client.request_contact(person.id, self.message).await?;
        let name = person.name.as_str();
        let (state, sentence) = match conversation {
            Some(_) => ("accepted", format!("{name} had asked already: you are contacts")),
            None => ("requested", format!("asked {name}")),
        };
        let conversation = conversation.map(|id| id.0);
        context.output.line(
            &sentence,
            &json!({
                "account": person.id.0,
                "name": name,
                "state": state,
                "conversation": conversation,
            }),
        )
    }
}
