//! `skein send`: writes to someone, or sends them a file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use skein_client::{Client, Code, ConversationId, Delivery, EntryId, Error, Seq, Status, Username};

use crate::{cli, context::Context, failure::Failure, progress::Bar, transfer};

/// Write to someone, or send them a file.
///
/// The message is kept before anything is sent: if the server cannot be reached in time, it goes
/// out with the next command that connects. A file that was interrupted continues when the same
/// command is run again.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// To whom.
    #[arg(value_parser = cli::username)]
    who: Username,
    /// What to say.
    #[arg(required_unless_present = "file", conflicts_with = "file", num_args = 1..)]
    text: Vec<String>,
    /// A file to send; shown as a picture if it is one.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Queue the file and return; it is sent while `watch` or `transfers run` runs.
    #[arg(long, requires = "file", conflicts_with = "text")]
    background: bool,
    /// Seconds to wait for the server to have the message.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

impl Send {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let text = match self.file {
            None => Some(cli::text(&self.text)?),
            Some(_) => None,
        };
        let (client, conversation, _) = context.conversation(&self.who).await?;
        if let (Some(path), true) = (&self.file, self.background) {
            let id = client.queue_file(conversation, path).await?;
            let (sentence, mut object) = transfer::queued(id);
            object["conversation"] = conversation.0.into();
            return context.output.line(&sentence, &object);
        }
        let patience = Duration::from_secs(self.timeout);
        let (id, seq, mut object) = match (text, self.file) {
            (Some(text), _) => {
                let delivery = client.send_text(conversation, text).await?;
                (delivery.id(), acknowledged(client, delivery, patience).await?, json!({}))
            }
            (None, Some(path)) => send_file(client, conversation, &path, patience).await?,
            (None, None) => return Err(Failure::Usage("there is nothing to send".to_owned())),
        };
        object["id"] = id.to_string().into();
        object["conversation"] = conversation.0.into();
        object["seq"] = seq.0.into();
        context.output.line(&format!("sent #{seq}"), &object)
    }
}

async fn send_file(
    client: &Client,
    conversation: ConversationId,
    path: &Path,
    patience: Duration,
) -> Result<(EntryId, Seq, Value), Failure> {
    let mut may_repeat = true;
    loop {
        let bar = Bar::new("sending");
        let watched = bar.clone();
        let sent = client.send_file(conversation, path, move |now| watched.update(now)).await;
        bar.clear();
        let delivery = sent?;
        let id = delivery.id();
        match acknowledged(client, delivery, patience).await {
            Ok(seq) => {
                return Ok((
                    id,
                    seq,
                    json!({ "resumed_from": bar.began_at(), "resent": bar.resent() }),
                ));
            }
            // The message has waited here for so long that the server has thrown the file away.
            Err(Failure::Error(Error::Refused(refusal)))
                if refusal.code == Code::NotFound && may_repeat =>
            {
                may_repeat = false;
            }
            Err(failure) => return Err(failure),
        }
    }
}

async fn acknowledged(
    client: &Client,
    delivery: Delivery,
    patience: Duration,
) -> Result<Seq, Failure> {
    let id = delivery.id();
    let why = match tokio::time::timeout(patience, delivery.acknowledged()).await {
        Ok(Ok(seq)) => return Ok(seq),
        Ok(Err(Error::NotConnected)) => "the client has disconnected".to_owned(),
        Ok(Err(error)) => {
            if matches!(error, Error::Refused(_)) {
                // The failure says so already.
                client.forget_rejected(vec![id]).await?;
            }
            return Err(error.into());
        }
        Err(_) => match client.status() {
            Status::Offline { reason } => reason,
            Status::Reconnecting { .. } => "the server does not answer".to_owned(),
            _ => "the server has not answered in time".to_owned(),
        },
    };
    let kept = "the message is kept and goes out with the next command that connects";
    Err(Failure::Other("not_sent_yet", format!("not sent yet: {why}; {kept}")))
}
