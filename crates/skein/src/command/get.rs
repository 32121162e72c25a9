//! `skein get`: fetches a file that a message shows.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use skein_client::{Body, LogId, Seq, Username, Variant};

use crate::{
    cli,
    context::{CONNECT_TIMEOUT, Context},
    entry::hex,
    failure::Failure,
    progress::Bar,
    transfer,
};

/// Fetch the file that a message shows.
///
/// The bytes are collected beside the file, in NAME.part, and get their name once they are complete
/// and verified. If this is interrupted, running it again continues.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// With whom the conversation is.
    #[arg(value_parser = cli::username)]
    who: Username,
    /// The message's number, as `log` shows it.
    seq: u64,
    /// Where to put it [default: the name that the sender gave it, in this folder].
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Fetch the small version of a picture.
    #[arg(long)]
    thumbnail: bool,
    /// Queue it and return; it is fetched while `watch` or `transfers run` runs.
    #[arg(long)]
    background: bool,
    /// Replace a file that is there already.
    #[arg(long)]
    force: bool,
}

impl Get {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, conversation, _) = context.conversation(&self.who).await?;
        client.caught_up(CONNECT_TIMEOUT).await?;
        let entry = client.entry(LogId::Conversation(conversation), Seq(self.seq)).await?;
        let attachment = match &entry.body {
            Body::Picture(picture) => &picture.attachment,
            Body::File(attachment) => attachment,
            Body::Text(_) | Body::Contact(_) | Body::SessionEnded(_) => {
                let message = format!("message {} has no file", self.seq);
                return Err(Failure::Other("no_file", message));
            }
        };
        let (variant, suffix) = if self.thumbnail {
            (Variant::Thumbnail, ".thumbnail.jpg")
        } else {
            (Variant::Original, "")
        };
        let name = cli::local_name(&attachment.name, suffix);
        let path = match self.output {
            Some(path) if path.is_dir() => path.join(name),
            Some(path) => path,
            None => name,
        };
        if self.background {
            let id = client.queue_download(attachment, variant, &path, self.force).await?;
            let (sentence, object) = transfer::queued(id);
            return context.output.line(&sentence, &object);
        }
        let bar = Bar::new("fetching");
        let watched = bar.clone();
        let watcher = move |now| watched.update(now);
        let fetched = client.download(attachment, variant, &path, self.force, watcher).await;
        bar.clear();
        fetched?;
        let shown = path.display().to_string();
        let blake3 = (!self.thumbnail).then(|| hex(&attachment.hash));
        context.output.line(
            &format!("saved {shown}"),
            &json!({ "path": shown, "blake3": blake3, "resumed_from": bar.began_at() }),
        )
    }
}
