//! `skein contacts`.

use clap::Args;
use serde_json::json;

use crate::{context::Context, failure::Failure, output::printable};

/// List your contacts, and who is there now.
#[derive(Debug, Args)]
pub(crate) struct Contacts {}

impl Contacts {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let contacts = context.connect().await?.contacts().await?;
        for peer in &contacts {
            let contact = &peer.contact;
            let (name, remark) = (contact.profile.name.as_str(), contact.remark.as_str());
            let presence = if peer.online { "online" } else { "offline" };
            let noted =
                if remark.is_empty() { String::new() } else { format!(" ({})", printable(remark)) };
            context.output.line(
                &format!("{presence:7} {name}{noted}"),
                &json!({
                    "account": contact.profile.id.0,
                    "name": name,
                    "remark": remark,
                    "conversation": contact.conversation.0,
                    "online": peer.online,
                    "since_ms": contact.since.0,
                }),
            )?;
        }
        if contacts.is_empty() {
            context.output.remark("no contacts yet; ask someone with: skein add NAME");
        }
        Ok(())
    }
}
