//! `skein log`: what was said.

use std::time::Duration;

use clap::{Args, value_parser};
use skein_client::{Error, LogId, Seq, Username};

use crate::{cli, context::Context, entry::Names, failure::Failure, output};

/// How long to wait for news before what is here has to do.
const NEWS_TIMEOUT: Duration = Duration::from_secs(6);

/// Show what was said, the oldest first.
///
/// Without a connection, it shows what is here, and says so.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// With whom.
    #[arg(value_parser = cli::username)]
    who: Username,
    /// How many entries.
    #[arg(
        short = 'n',
        value_name = "N",
        default_value_t = 20,
        value_parser = value_parser!(u32).range(1..=100_000)
    )]
    count: u32,
    /// Those before this number.
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
}

impl Log {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, conversation, _) = context.conversation(&self.who).await?;
        match client.caught_up(NEWS_TIMEOUT).await {
            Err(Error::Unreachable(reason)) => {
                output::complain(&format!("offline ({reason}): this is what is here"));
            }
            result => result?,
        }
        let log = LogId::Conversation(conversation);
        let entries = client.log(log, self.before.map(Seq), self.count as usize).await?;
        let names = Names::new(client).await?;
        for entry in &entries {
            let (sentence, object) = names.show(log, entry).await?;
            context.output.line(&sentence, &object)?;
        }
        if entries.is_empty() {
            context.output.remark("nothing was said");
        }
        Ok(())
    }
}
