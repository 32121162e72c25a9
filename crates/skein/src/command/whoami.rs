//! `skein whoami`.

use clap::Args;
use serde_json::json;

use crate::{context::Context, failure::Failure};

/// Ask the server who is logged in here.
#[derive(Debug, Args)]
pub(crate) struct Whoami {}

impl Whoami {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (account, device) = context.client.who_am_i().await?;
        let server = context.server().await?;
        let (id, name) = (account.id.0, account.name.as_str());
        context.output.line(
            &format!("{name} at {server}"),
            &json!({
                "account": id,
                "name": name,
                "device_name": device.as_str(),
                "server": server,
            }),
        )
    }
}
