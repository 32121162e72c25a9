//! How an entry of a log is shown.

use jiff::{Timestamp as Instant, tz::TimeZone};
use serde_json::{Value, json};
use skein_client::{
    AccountId, Attachment, Body, Client, ContactStep, ContactStepKind, Entry, LogId, Profile,
    Timestamp,
};

use crate::{
    failure::Failure,
    output::{printable, printable_lines},
};

/// Who says what in a log: names for numbers.
pub(crate) struct Names<'a> {
    client: &'a Client,
    me: Profile,
}

impl<'a> Names<'a> {
    pub(crate) async fn new(client: &'a Client) -> Result<Self, Failure> {
        let me = client.account().await?.ok_or(skein_client::Error::NotLoggedIn)?;
        Ok(Self { client, me })
    }

    /// The name of an account, or its number if the name has never come up.
    pub(crate) async fn of(&self, account: AccountId) -> Result<String, Failure> {
        if account == self.me.id {
            return Ok(self.me.name.to_string());
        }
        let known = self.client.known_person(account).await?;
        Ok(known.map_or_else(|| format!("account {account}"), |person| person.name.to_string()))
    }

    /// An entry as a line for people and as an object for programs.
    pub(crate) async fn show(&self, log: LogId, entry: &Entry) -> Result<(String, Value), Failure> {
        let author = self.of(entry.author).await?;
        let with = match log {
            LogId::Personal(_) => None,
            LogId::Conversation(conversation) => {
                self.client.peer_of(conversation).await?.map(|peer| peer.name.to_string())
            }
        };
        let sentence = sentence(entry, &author);
        Ok((sentence, object(log, entry, &author, with.as_deref())))
    }
}

/// The steps between two people, by their stable names.
pub(crate) const fn step_name(kind: ContactStepKind) -> &'static str {
    match kind {
        ContactStepKind::Requested => "requested",
        ContactStepKind::Accepted => "accepted",
        ContactStepKind::Declined => "declined",
        ContactStepKind::Removed => "removed",
    }
}

fn sentence(entry: &Entry, author: &str) -> String {
    let said = match &entry.body {
        Body::Text(text) => format!("{author}: {}", printable_lines(text.as_str())),
        Body::Picture(picture) => {
            let (width, height) = (picture.width, picture.height);
            format!("{author}: [picture {} {width}x{height}]", file_sentence(&picture.attachment))
        }
        Body::File(attachment) => format!("{author}: [file {}]", file_sentence(attachment)),
        Body::Contact(step) => contact_sentence(step),
        Body::SessionEnded(ended) => {
            format!("the session on {} was ended by a login on {}", ended.device, ended.by)
        }
    };
    format!("[{} {}] {said}", entry.seq, local_time(entry.at))
}

pub(crate) fn file_sentence(attachment: &Attachment) -> String {
    let size = indicatif::HumanBytes(attachment.size);
    format!("{} ({size})", printable(attachment.name.as_str()))
}

fn contact_sentence(step: &ContactStep) -> String {
    let (peer, note) = (&step.peer_name, printable(step.note.as_str()));
    let said = match (step.kind, step.by_me) {
        (ContactStepKind::Requested, true) => format!("you asked {peer} to be a contact"),
        (ContactStepKind::Requested, false) => {
            format!("{peer} wants to be a contact; answer with: skein accept {peer}")
        }
        (ContactStepKind::Accepted, true) => format!("you accepted {peer}"),
        (ContactStepKind::Accepted, false) => format!("{peer} accepted you"),
        (ContactStepKind::Declined, true) => format!("you declined {peer}"),
        (ContactStepKind::Declined, false) => format!("{peer} declined"),
        (ContactStepKind::Removed, true) => format!("you removed {peer}"),
        (ContactStepKind::Removed, false) => format!("{peer} removed you"),
    };
    if note.is_empty() { said } else { format!("{said} ({note})") }
}

fn object(log: LogId, entry: &Entry, author: &str, with: Option<&str>) -> Value {
    let kind = match log {
        LogId::Personal(_) => "personal",
        LogId::Conversation(_) => "conversation",
    };
    let mut object = json!({
        "log": kind,
        "seq": entry.seq.0,
        "id": entry.id.to_string(),
        "author": entry.author.0,
        "author_name": author,
        "at_ms": entry.at.0,
    });
    if let LogId::Conversation(conversation) = log {
        object["conversation"] = conversation.0.into();
        object["with"] = with.into();
    }
    match &entry.body {
        Body::Text(text) => {
            object["kind"] = "text".into();
            object["text"] = text.as_str().into();
        }
        Body::Picture(picture) => {
            object["kind"] = "picture".into();
            object["file"] = file_object(&picture.attachment);
            object["file"]["width"] = picture.width.into();
            object["file"]["height"] = picture.height.into();
        }
        Body::File(attachment) => {
            object["kind"] = "file".into();
            object["file"] = file_object(attachment);
        }
        Body::Contact(step) => {
            object["kind"] = "contact".into();
            object["contact"] = json!({
                "step": step_name(step.kind),
                "account": step.peer.0,
                "name": step.peer_name.as_str(),
                "by_me": step.by_me,
                "note": step.note.as_str(),
                "conversation": step.conversation.map(|id| id.0),
            });
        }
        Body::SessionEnded(ended) => {
            object["kind"] = "session_ended".into();
            object["session_ended"] =
                json!({ "device": ended.device.as_str(), "by": ended.by.as_str() });
        }
    }
    object
}

pub(crate) fn file_object(attachment: &Attachment) -> Value {
    json!({
        "blob": attachment.blob.to_string(),
        "name": attachment.name.as_str(),
        "size": attachment.size,
        "media_type": attachment.media_type.as_str(),
        "blake3": hex(&attachment.hash),
    })
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A point in time as the clock on the wall shows it.
pub(crate) fn local_time(at: Timestamp) -> String {
    let instant = i64::try_from(at.0).ok().and_then(|ms| Instant::from_millisecond(ms).ok());
    instant.map_or_else(String::new, |instant| {
        instant.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
    })
}

#[cfg(test)]
mod tests {
    use skein_client::{
        BlobId, ConversationId, EntryId, FileName, MediaType, Note, Picture, Seq, Text, Username,
    };

    use super::*;

    fn entry(body: Body) -> Entry {
        let (id, author) = (EntryId([1; 16]), AccountId(2));
        Entry { seq: Seq(3), id, author, at: Timestamp(0), body }
    }

    #[test]
    fn a_text_cannot_pretend_to_be_another_line() {
        let text = Text::parse("hi\n[4 2026-01-01 00:00] alice: me too\u{1b}[2J").expect("a text");
        let shown = sentence(&entry(Body::Text(text)), "bob");
        assert!(shown.contains("bob: hi\n    [4"), "{shown}");
        assert!(shown.ends_with("me too\\u{1b}[2J"), "{shown}");
    }

    #[test]
    fn objects_have_stable_fields() {
        let attachment = Attachment {
            blob: BlobId([7; 16]),
            name: FileName::parse("a.jpg").expect("a name"),
            size: 5,
            media_type: MediaType::parse("image/jpeg").expect("a type"),
            hash: [0xab; 32],
        };
        let body = Body::Picture(Picture { attachment, width: 640, height: 480 });
        let log = LogId::Conversation(ConversationId(9));
        let shown = object(log, &entry(body), "bob", Some("bob"));
        let expected = json!({
            "log": "conversation", "conversation": 9, "with": "bob", "seq": 3,
            "id": "01".repeat(16), "author": 2, "author_name": "bob", "at_ms": 0,
            "kind": "picture",
            "file": {
                "blob": "07".repeat(16), "name": "a.jpg", "size": 5,
                "media_type": "image/jpeg", "blake3": "ab".repeat(32),
                "width": 640, "height": 480,
            },
        });
        assert_eq!(shown, expected);

        let step = ContactStep {
            kind: ContactStepKind::Requested,
            peer: AccountId(2),
            peer_name: Username::parse("bob").expect("a name"),
            by_me: false,
            note: Note::parse("hello").expect("a note"),
            conversation: None,
        };
        let shown = object(LogId::Personal(AccountId(1)), &entry(Body::Contact(step)), "bob", None);
        assert_eq!(shown["log"], "personal");
        assert_eq!(shown["contact"]["step"], "requested");
        assert_eq!(shown.get("conversation"), None);
    }
}
