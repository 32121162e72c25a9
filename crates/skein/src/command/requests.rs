//! `skein requests`.

use clap::Args;
use serde_json::json;

use crate::{context::Context, entry::local_time, failure::Failure, output::printable};

/// List the contact requests that wait for an answer, yours and theirs.
#[derive(Debug, Args)]
pub(crate) struct Requests {}

impl Requests {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let requests = context.connect().await?.contact_requests().await?;
        for request in &requests {
            let (name, greeting) = (request.profile.name.as_str(), request.greeting.as_str());
            let (direction, sentence) = if request.incoming {
                ("incoming", format!("{name} asks you"))
            } else {
                ("outgoing", format!("you ask {name}"))
            };
            let said = if greeting.is_empty() { "" } else { ": " };
            let at = local_time(request.at);
            context.output.line(
                &format!("[{at}] {sentence}{said}{}", printable(greeting)),
                &json!({
                    "account": request.profile.id.0,
                    "name": name,
                    "direction": direction,
                    "greeting": greeting,
                    "at_ms": request.at.0,
                }),
            )?;
        }
        if requests.is_empty() {
            context.output.remark("no requests");
        }
        Ok(())
    }
}
