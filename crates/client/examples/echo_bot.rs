//! A bot that makes friends with everyone who asks, and answers each text with the same text.
//!
//! Register an account for it, then start it with a home of its own:
//!
//! ```text
//! skein --home bot register echo --email echo@example.org
//! cargo run -p skein-client --example echo_bot -- bot
//! ```
//!
//! It may be stopped and started: what was written to it meanwhile is answered then, because
//! entries arrive once and in order, and an answer is in the durable outbox before the next entry
//! is read. A bot that must answer even when it is killed between the two keeps its own place in
//! the log, and reads on from there with `Client::log`.

use std::{env, path::PathBuf};

use skein_client::{
    Body, Client, ContactStep, ContactStepKind, Entry, Error, Event, LogId, Note, Status, Text,
};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let home = env::args_os().nth(1).map_or_else(|| PathBuf::from("bot"), PathBuf::from);
    let client = Client::open(&home)?;
    let me = client.account().await?.ok_or(Error::NotLoggedIn)?;
    println!("{} answers", me.name);

    // Listen first, then connect: so nothing that happens in between is missed.
    let mut events = client.events().await?;
    client.connect().await?;
    while let Some(event) = events.next().await {
        match event {
            Event::Entry { log, entry } if entry.author != me.id => {
                answer(&client, log, entry).await?;
            }
            // Kicked, or the login has ended: a bot that fights back helps nobody.
            Event::Status(Status::Stopped(reason)) => return Err(Error::Stopped(reason)),
            _ => {}
        }
    }
    Ok(())
}

async fn answer(client: &Client, log: LogId, entry: Entry) -> Result<(), Error> {
    match (log, entry.body) {
        (LogId::Conversation(conversation), Body::Text(text)) => {
            let echo = Text::parse(text.as_str())?;
            // Kept when this returns; it arrives by itself, so there is nothing to wait for.
            client.send_text(conversation, echo).await?;
        }
        (
            LogId::Personal(_),
            Body::Contact(ContactStep { kind: ContactStepKind::Requested, peer, .. }),
        ) => match client.accept_contact(peer, Note::parse("")?).await {
            // Answered before, by an earlier life of this bot.
            Ok(_) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        },
        _ => {}
    }
    Ok(())
}
