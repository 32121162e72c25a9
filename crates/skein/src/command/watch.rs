//! `skein watch`: what happens, as it happens.

use clap::Args;
use serde_json::json;
use skein_client::{Error, Event, LogId, Status};

use crate::{
    context::Context,
    entry::{Names, file_object, file_sentence},
    failure::Failure,
    rejected, transfer,
};

/// Show what happens, as it happens, until Ctrl-C.
///
/// Begins with what has happened since this home was last connected. Carries out the queue of
/// transfers meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Watch {}

impl Watch {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        // Listening comes first, so that nothing is missed.
        let mut events = context.client.events().await?;
        let client = context.connect().await?;
        let names = Names::new(client).await?;
        rejected::show(context).await?;
        let transfers = client.run_transfers();
        tokio::pin!(transfers);
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        let mut carries_out = true;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                ended = &mut transfers, if carries_out => {
                    // That the session has ended, the events say.
                    carries_out = false;
                    if let Err(error @ Error::Home(_)) = ended {
                        return Err(error.into());
                    }
                    continue;
                }
                pressed = &mut interrupted => return pressed.map_err(Failure::Output),
            };
            match event {
                Some(event) => show(context, &names, event).await?,
                None => return Ok(()),
            }
        }
    }
}

async fn show(context: &Context, names: &Names<'_>, event: Event) -> Result<(), Failure> {
    let output = context.output;
    match event {
        Event::Entry { log, entry } => {
            let (sentence, mut object) = names.show(log, &entry).await?;
            object["event"] = "entry".into();
            let with = match log {
                LogId::Conversation(_) => object["with"].as_str().unwrap_or("?"),
                LogId::Personal(_) => "you",
            };
            output.line(&format!("{with} {sentence}"), &object)
        }
        Event::Presence { account, online } => {
            let name = names.of(account).await?;
            let presence = if online { "online" } else { "offline" };
            output.line(
                &format!("{name} is {presence}"),
                &json!({
                    "event": "presence",
                    "account": account.0,
                    "name": name,
                    "online": online,
                }),
            )
        }
        Event::Coming(coming) => {
            let name = names.of(coming.uploader).await?;
            let object = json!({
                "event": "coming",
                "conversation": coming.conversation.0,
                "account": coming.uploader.0,
                "name": name,
                "file": file_object(&coming.attachment),
            });
            let file = file_sentence(&coming.attachment);
            let advice = format!("get it as it comes with: skein get {name} coming");
            output.line(&format!("{name} is sending {file}; {advice}"), &object)
        }
        Event::Sent { id, conversation, seq } => output.line(
            &format!("sent #{seq}"),
            &json!({
                "event": "sent",
                "id": id.to_string(),
                "conversation": conversation.0,
                "seq": seq.0,
            }),
        ),
        Event::Rejected { .. } => rejected::show(context).await,
        Event::Transfer(one) => {
            let mut object = transfer::object(&one);
            object["event"] = "transfer".into();
            output.line(&transfer::sentence(&one), &object)
        }
        Event::Missed(count) => {
            let object = json!({ "event": "missed", "count": count });
            output.line("too much at once: some events are left out, but no messages", &object)?;
            rejected::show(context).await?;
            // What was dropped may have been the end.
            show_status(context, context.client.status())
        }
        Event::Status(status) => show_status(context, status),
    }
}

fn show_status(context: &Context, status: Status) -> Result<(), Failure> {
    let caught_up = status.is_caught_up();
    let (name, sentence) = match status {
        Status::Online { caught_up: true } => ("online", "up to date".to_owned()),
        Status::Online { caught_up: false } => ("online", "connected".to_owned()),
        Status::Slow { .. } => ("slow", "connected, but answers are slow".to_owned()),
        Status::Reconnecting { lost: true } => ("reconnecting", "connecting".to_owned()),
        Status::Reconnecting { lost: false } => {
            ("reconnecting", "the connection is silent; making another".to_owned())
        }
        Status::Offline { reason } => ("offline", format!("no connection: {reason}")),
        Status::Stopped(reason) => return Err(Error::Stopped(reason).into()),
        Status::Broken { reason } => return Err(Failure::Other("home", reason)),
    };
    context.output.status(name, caught_up, &sentence)
}
