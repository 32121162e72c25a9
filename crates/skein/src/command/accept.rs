//! `skein accept`.

use clap::Args;
use serde_json::json;
use skein_client::{Note, Username};

use crate::{cli, context::Context, failure::Failure};

/// Accept someone's contact request.
#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// Whose.
    #[arg(value_parser = cli::username)]
    name: Username,
    /// What you want to remember about them; only you see it.
    #[arg(long, default_value = "", value_parser = cli::note)]
    remark: Note,
}

impl Accept {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, person) = context.person(&self.name).await?;
        let conversation = client.accept_contact(person.id, self.remark).await?;
        let (name, conversation) = (person.name.as_str(), conversation.map(|id| id.0));
        context.output.line(
            &format!("you and {name} are contacts; write with: skein send {name} TEXT"),
            &json!({
                "account": person.id.0,
                "name": name,
                "state": "accepted",
                "conversation": conversation,
            }),
        )
    }
}
