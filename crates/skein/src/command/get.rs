//! `skein get`: fetches a file that a message shows, or one that is still being sent.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use serde_json::json;
use skein_client::{
    Attachment, Body, Client, ConversationId, LogId, Profile, Seq, Username, Variant,
};

use crate::{
    cli,
    context::{CONNECT_TIMEOUT, Context},
    entry::hex,
    failure::Failure,
    progress::Bar,
    transfer,
};

/// Fetch the file that a message shows, or one that is still being sent.
///
/// Of a file that is still coming the bytes are taken as they come, so that it can be looked at
/// meanwhile. The bytes are collected beside the file, in NAME.part, and get their name once they are complete
/// and verified. If this is interrupted, running it again continues.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// With whom the conversation is.
    #[arg(value_parser = cli::username)]
    who: Username,
    /// The message's number, as `log` shows it; or `coming`, for the file that they are sending now.
    #[arg(value_name = "SEQ|coming")]
    which: Which,
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

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// That of this message.
    Message(Seq),
    /// The one that the other side is sending.
    Coming,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("coming", _) => Ok(Self::Coming),
            (_, Ok(seq)) => Ok(Self::Message(Seq(seq))),
            (_, Err(_)) => Err("expected the number of a message, or `coming`".to_owned()),
        }
    }
}

impl Get {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, conversation, peer) = context.conversation(&self.who).await?;
        let attachment = match self.which {
            Which::Message(seq) => shown(client, conversation, seq).await?,
            Which::Coming if self.thumbnail => {
                let message = "there is no small version before the file is complete";
                return Err(Failure::Usage(message.to_owned()));
            }
            Which::Coming => coming(client, conversation, &peer).await?,
        };
        let attachment = &attachment;
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
        let fetched = match self.which {
            Which::Message(_) => {
                client.download(attachment, variant, &path, self.force, watcher).await
            }
            Which::Coming => client.follow(attachment, &path, self.force, watcher).await,
        };
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

/// The file that a message shows.
async fn shown(
    client: &Client,
    conversation: ConversationId,
    seq: Seq,
) -> Result<Attachment, Failure> {
    client.caught_up(CONNECT_TIMEOUT).await?;
    let entry = client.entry(LogId::Conversation(conversation), seq).await?;
    match entry.body {
        Body::Picture(picture) => Ok(picture.attachment),
        Body::File(attachment) => Ok(attachment),
        Body::Text(_) | Body::Contact(_) | Body::SessionEnded(_) => {
            Err(Failure::Other("no_file", format!("message {seq} has no file")))
        }
    }
}

/// The file that the other side is sending; of several, the one that got bytes last.
async fn coming(
    client: &Client,
    conversation: ConversationId,
    peer: &Profile,
) -> Result<Attachment, Failure> {
    let coming = client.coming(conversation).await?;
    let theirs = coming.into_iter().find(|one| one.uploader == peer.id);
    theirs.map(|one| one.attachment).ok_or_else(|| {
        let message = format!("{} is not sending a file now", peer.name);
        Failure::Other("nothing_coming", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_message_or_what_is_coming() {
        assert_eq!("3".parse(), Ok(Which::Message(Seq(3))));
        assert_eq!("coming".parse(), Ok(Which::Coming));
        assert!("soon".parse::<Which>().is_err());
    }
}
