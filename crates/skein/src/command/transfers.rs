//! `skein transfers`: the files that are sent and fetched in the background.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use skein_client::{Error, Event, TransferId};

use crate::{context::Context, failure::Failure, output, transfer};

/// How long to wait for a connection to tell the server of a cancelled upload.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// Show the files that are sent and fetched in the background, or do something about them.
///
/// They are queued by `send --file` and `get` with `--background`, and stay queued over restarts.
/// They move while `watch` or `transfers run` runs, in one of them at a time.
#[derive(Debug, Args)]
pub(crate) struct Transfers {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let a transfer rest until it is resumed.
    Pause(One),
    /// Let a paused transfer go on, or try a failed one again.
    Resume(One),
    /// Give a transfer up; the server throws away what it has of it.
    Cancel(One),
    /// Take a transfer that is over off the list.
    Dismiss(One),
    /// Carry the queue out until nothing is left that goes on by itself.
    Run,
}

#[derive(Debug, Args)]
struct One {
    /// Its number, as `transfers` shows it.
    id: u64,
}

impl Transfers {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = &context.client;
        match self.what {
            None => list(context).await,
            Some(What::Pause(One { id })) => {
                client.pause_transfer(TransferId(id)).await?;
                show(context, id).await
            }
            Some(What::Resume(One { id })) => {
                client.resume_transfer(TransferId(id)).await?;
                show(context, id).await
            }
            Some(What::Cancel(One { id })) => {
                client.cancel_transfer(TransferId(id)).await?;
                settle(context).await?;
                show(context, id).await
            }
            Some(What::Dismiss(One { id })) => {
                client.dismiss_transfer(TransferId(id)).await?;
                let object = json!({ "transfer": id, "dismissed": true });
                context.output.line(&format!("transfer {id} is off the list"), &object)
            }
            Some(What::Run) => run(context).await,
        }
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let all = context.client.transfers().await?;
    for one in &all {
        context.output.line(&transfer::sentence(one), &transfer::object(one))?;
    }
    if all.is_empty() {
        context.output.remark("nothing is queued");
    }
    Ok(())
}

async fn show(context: &Context, id: u64) -> Result<(), Failure> {
    let all = context.client.transfers().await?;
    match all.iter().find(|one| one.id == TransferId(id)) {
        Some(one) => context.output.line(&transfer::sentence(one), &transfer::object(one)),
        // Another process has done with it meanwhile.
        None => Err(Error::NoSuchTransfer(TransferId(id)).into()),
    }
}

/// Tells the server, if it can be reached now.
async fn settle(context: &Context) -> Result<(), Failure> {
    context.connect().await?;
    if let Err(error) = context.client.settle_cancelled(TELL_TIMEOUT).await {
        output::complain(&format!("the server will be told later ({error})"));
    }
    Ok(())
}

/// Each transfer is shown when its state has changed; how it gets on in between, `watch` shows.
async fn run(context: &Context) -> Result<(), Failure> {
    let mut events = context.client.events().await?;
    let client = context.connect().await?;
    let finished = client.finish_transfers();
    tokio::pin!(finished);
    let mut told = std::collections::HashMap::new();
    let mut tell = |event: Event| match event {
        Event::Transfer(one) if told.insert(one.id, one.state) != Some(one.state) => {
            context.output.line(&transfer::sentence(&one), &transfer::object(&one))
        }
        _ => Ok(()),
    };
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => tell(event)?,
            done = &mut finished => {
                done?;
                break;
            }
        }
    }
    // What was said with the last step.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
        tell(event)?;
    }
    Ok(())
}
