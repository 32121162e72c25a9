//! The clients: accounts, devices and conversations, made before the load begins.

use std::{path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use skein_client::{
    Client, ConversationId, DeviceName, Event, Events, LogId, Note, Seq, Text, Username,
};
use skein_testkit::{cli::PASSWORD, gate::Gate};

use crate::{Failure, plan::Plan};

/// Registrations and logins at a time: each costs the gate a password hash.
const AT_A_TIME: usize = 8;
/// How long a client may take for its first connection, and to read what is there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A client and where it writes.
pub(crate) struct Person {
    /// Its place among all clients.
    pub(crate) number: usize,
    /// Its place among all accounts.
    pub(crate) account: usize,
    /// The SDK.
    pub(crate) client: Client,
    /// The direct conversation of its account.
    pub(crate) conversation: ConversationId,
    /// The last entry of that which its home has before anybody listens: of all that come after it,
    /// this client must hear.
    pub(crate) has: Seq,
}

/// Makes all accounts, logs every client in, and makes neighbours contacts. Nobody is connected
/// afterwards, so that whoever listens first misses nothing.
pub(crate) async fn invite(
    plan: &Plan,
    http: &str,
    homes: &Path,
) -> Result<Vec<Arc<Person>>, Failure> {
    let gate = Gate::new(http);
    let names: Vec<_> = (0..plan.accounts).map(|number| format!("person{number}")).collect();
    stream::iter(&names).for_each_concurrent(AT_A_TIME, |name| gate.register(name)).await;

    let devices = (0..plan.accounts * plan.devices).map(|number| {
        let (account, device) = (number / plan.devices, number % plan.devices);
        let (name, folder) = (&names[account], homes.join(number.to_string()));
        async move {
            let client = Client::open(&folder)?;
            let device = DeviceName::parse(format!("device {device}"))?;
            client.log_in(http, &Username::parse(name)?, PASSWORD, &device).await?;
            Ok::<_, Failure>((number, account, client))
        }
    });
    let clients: Vec<_> = stream::iter(devices).buffered(AT_A_TIME).try_collect().await?;

    // The first device of each pair of neighbours makes the conversation.
    let pairs = (0..plan.accounts / 2).map(|pair| {
        let (a, b) = (2 * pair, 2 * pair + 1);
        let (left, right) = (&clients[a * plan.devices].2, &clients[b * plan.devices].2);
        befriend(left, &names[a], right, &names[b])
    });
    let conversations: Vec<_> = stream::iter(pairs).buffered(AT_A_TIME).try_collect().await?;

    let person = |(number, account, client): (usize, usize, Client)| {
        let (conversation, head) = conversations[account / 2];
        // Nobody but the first device of an account was ever connected.
        let has = if number % plan.devices == 0 { head } else { Seq::ZERO };
        Arc::new(Person { number, account, client, conversation, has })
    };
    Ok(clients.into_iter().map(person).collect())
}

/// Makes the two contacts. Answers their conversation, and its last entry, which both have.
async fn befriend(
    left: &Client,
    left_name: &str,
    right: &Client,
    right_name: &str,
) -> Result<(ConversationId, Seq), Failure> {
    let mut listening = Vec::new();
    for client in [left, right] {
        listening.push(client.events().await?);
        client.connect().await?;
        client.live(PATIENCE).await?;
    }
    let other = left.person(&Username::parse(right_name)?).await?.id;
    left.request_contact(other, Note::parse("hello")?).await?;
    let other = right.person(&Username::parse(left_name)?).await?.id;
    right.accept_contact(other, Note::parse("")?).await?;
    let (conversation, _) = left.conversation_with(&Username::parse(right_name)?).await?;
    // So that no conversation is empty when the others first ask for its head.
    let text = Text::parse("the beginning")?;
    let head = left.send_text(conversation, text).await?.acknowledged().await?;
    for mut events in listening {
        tokio::time::timeout(PATIENCE, hears(&mut events, conversation, head)).await??;
    }
    for client in [left, right] {
        client.close().await;
    }
    Ok((conversation, head))
}

/// Waits until a client has an entry.
async fn hears(events: &mut Events, conversation: ConversationId, seq: Seq) -> Result<(), Failure> {
    let wanted = LogId::Conversation(conversation);
    loop {
        match events.next().await.ok_or("a client has ended")? {
            Event::Entry { log, entry } if log == wanted && entry.seq == seq => return Ok(()),
            _ => {}
        }
    }
}
