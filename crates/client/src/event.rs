//! What a client tells whoever listens.

use std::collections::{HashMap, VecDeque};

use skein_core::{
    coming::Coming,
    entry::Entry,
    id::{AccountId, BlobId, ConversationId, EntryId, LogId, Seq},
    refusal::Refusal,
    sync::StopReason,
};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Error, Transfer, home::Home};

/// Events that wait for a listener. One that falls further behind reads entries from the home, and
/// is told that it missed the other events.
pub(crate) const EVENTS_WAITING_MAX: usize = 1024;

/// Coming files that a listener remembers it was told of. One that is forgotten may be told again.
const COMING_TOLD_MAX: usize = 64;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An entry is in a log: each once, in order, and only after it was kept here.
    Entry {
        /// Which log.
        log: LogId,
        /// What.
        entry: Entry,
    },
    /// A contact came or went.
    Presence {
        /// Who.
        account: AccountId,
        /// Whether they have a session now.
        online: bool,
    },
    /// Somebody is sending a file to a conversation of this account. What there is of it can be had
    /// before its message comes: [`Client::download`](crate::Client::download) takes the attachment
    /// as it is received. Each is told once as a rule; it may be missed, but not what
    /// [`Client::coming`](crate::Client::coming) lists.
    Coming(Coming),
    /// A message that was sent from this home is in its log.
    Sent {
        /// Which.
        id: EntryId,
        /// Where.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
    },
    /// A message that was sent from this home will never be in its log.
    /// [`Client::rejected`](crate::Client::rejected) has it until it is forgotten.
    Rejected {
        /// Which.
        id: EntryId,
        /// Why.
        refusal: Refusal,
    },
    /// A queued transfer that this process is at has got on, or is in another state.
    Transfer(Transfer),
    /// The connection is in another state.
    Status(Status),
    /// The listener was too slow: this many events were dropped. Entries among them still come; of
    /// all else, [`Client::status`](crate::Client::status) says how it is now.
    Missed(u64),
}

/// How well the client is connected. Whatever it is, what is to be sent is kept, and goes out as
/// soon as it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Events come in, messages go out.
    Online {
        /// Whether everything that is known to exist is here.
        caught_up: bool,
    },
    /// As online, but answers are late.
    Slow {
        /// Whether everything that is known to exist is here.
        caught_up: bool,
    },
    /// The connection is gone or has fallen silent. Another is being made.
    Reconnecting {
        /// Whether it is gone. One that is silent may yet speak again.
        lost: bool,
    },
    /// There is no connection that can be heard: not asked for, or the last attempt to make one has
    /// failed. In the latter case others follow by themselves.
    Offline {
        /// One sentence for people.
        reason: String,
    },
    /// The server has ended the session for good.
    Stopped(StopReason),
    /// The data in the home cannot be used any more.
    Broken {
        /// One sentence for people.
        reason: String,
    },
}

impl Status {
    /// Nobody has asked for a connection.
    pub(crate) fn not_asked() -> Self {
        Self::Offline { reason: "not asked to connect".to_owned() }
    }

    /// Whether there is a session, if only one whose connection is silent just now.
    #[must_use]
    pub const fn has_session(&self) -> bool {
        matches!(self, Self::Online { .. } | Self::Slow { .. } | Self::Reconnecting { lost: false })
    }

    /// Whether there is a session, and everything that is known to exist is here.
    #[must_use]
    pub const fn is_caught_up(&self) -> bool {
        matches!(self, Self::Online { caught_up: true } | Self::Slow { caught_up: true })
    }
}

/// A listener, from [`Client::events`](crate::Client::events).
///
/// It hears of each entry once and in the order of its log, however slow it is: what it could not
/// take in from the channel it reads from the home.
#[derive(Debug)]
pub struct Events {
    channel: broadcast::Receiver<Event>,
    home: Home,
    account: Option<AccountId>,
    /// The last entry of each log that was heard of, or was here before.
    heard: HashMap<LogId, Seq>,
    /// Coming files that were told: the server may tell each again when its sender reconnects.
    coming: VecDeque<BlobId>,
    /// What to say before the channel is listened to again.
    backlog: VecDeque<Event>,
    /// Events were dropped: the home has entries that were not heard of.
    behind: bool,
}

impl Events {
    /// Listens from now on. `channel` must have been made after the cursors were read.
    pub(crate) fn new(
        channel: broadcast::Receiver<Event>,
        home: Home,
        account: Option<AccountId>,
        cursors: Vec<(LogId, Seq)>,
    ) -> Self {
        let heard = cursors.into_iter().collect();
        let (coming, backlog) = (VecDeque::new(), VecDeque::new());
        Self { channel, home, account, heard, coming, backlog, behind: false }
    }

    /// The next event; `None` once the client is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.backlog.pop_front() {
                return Some(event);
            }
            if self.behind {
                self.behind = self.read_on().await;
                continue;
            }
            match self.channel.recv().await {
                Ok(Event::Entry { log, entry }) => {
                    let heard = self.heard.get(&log).copied();
                    if heard.is_some_and(|heard| entry.seq <= heard) {
                        continue;
                    }
                    if heard.is_some_and(|heard| entry.seq > heard.next()) {
                        // Another process has stored what lies between.
                        self.behind = true;
                        continue;
                    }
                    self.heard.insert(log, entry.seq);
                    return Some(Event::Entry { log, entry });
                }
                Ok(Event::Coming(coming)) => {
                    let blob = coming.attachment.blob;
                    if self.coming.contains(&blob) {
                        continue;
                    }
                    self.coming.truncate(COMING_TOLD_MAX - 1);
                    self.coming.push_front(blob);
                    return Some(Event::Coming(coming));
                }
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(count)) => {
                    self.behind = true;
                    return Some(Event::Missed(count));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads a page of what the home has and was not heard of. Answers whether there may be more.
    async fn read_on(&mut self) -> bool {
        let Some(account) = self.account else { return false };
        let read = async {
            for (log, cursor) in self.home.cursors(account).await? {
                let heard = self.heard.get(&log).copied().unwrap_or(Seq::ZERO);
                if heard < cursor {
                    return Ok((log, self.home.entries_after(log, heard).await?));
                }
            }
            Ok::<_, Error>((LogId::Personal(account), Vec::new()))
        };
        match read.await {
            Ok((log, entries)) => {
                let Some(last) = entries.last() else { return false };
                self.heard.insert(log, last.seq);
                self.backlog.extend(entries.into_iter().map(|entry| Event::Entry { log, entry }));
                true
            }
            Err(error) => {
                tracing::warn!("events are missing, because the home cannot be read: {error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use skein_core::{
        entry::{Attachment, Body},
        id::EntryId,
        name::{FileName, MediaType, Text},
        time::Timestamp,
    };

    use super::*;
    use crate::home::Change;

    const ME: AccountId = AccountId(1);
    const LOG: LogId = LogId::Conversation(ConversationId(1));

    fn entry(seq: u64) -> Entry {
        let body = Body::Text(Text::parse("x").unwrap());
        Entry { seq: Seq(seq), id: EntryId([0; 16]), author: ME, at: Timestamp(0), body }
    }

    async fn store(home: &Home, seqs: std::ops::RangeInclusive<u64>) {
        let changes = seqs.map(|seq| Change::Entry(LOG, entry(seq))).collect();
        home.apply(changes).await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_listener_hears_of_each_entry_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        store(&home, 1..=3).await;
        let (sender, channel) = broadcast::channel(4);
        let cursors = home.cursors(ME).await.unwrap();
        let mut events = Events::new(channel, home.clone(), Some(ME), cursors);
        // More than the channel holds, and more than one page of the home.
        store(&home, 4..=600).await;
        for seq in 4..=600 {
            sender.send(Event::Entry { log: LOG, entry: entry(seq) }).unwrap();
        }
        let mut seqs = Vec::new();
        let mut missed = 0;
        while seqs.len() < 597 {
            match events.next().await.unwrap() {
                Event::Entry { entry, .. } => seqs.push(entry.seq.0),
                Event::Missed(count) => missed += count,
                event => panic!("{event:?}"),
            }
        }
        assert_eq!(seqs, (4..=600).collect::<Vec<_>>());
        assert!(missed > 0);
        // Nothing is said twice, and another process's entries are not left out.
        store(&home, 601..=602).await;
        sender.send(Event::Entry { log: LOG, entry: entry(602) }).unwrap();
        drop(sender);
        let mut rest = Vec::new();
        while let Some(Event::Entry { entry, .. }) = events.next().await {
            rest.push(entry.seq.0);
        }
        assert_eq!(rest, [601, 602]);
    }

    #[tokio::test]
    async fn a_coming_file_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let (sender, channel) = broadcast::channel(EVENTS_WAITING_MAX);
        let mut events = Events::new(channel, home, Some(ME), Vec::new());
        let tell = |number: usize| {
            let attachment = Attachment {
                blob: BlobId((number as u128).to_be_bytes()),
                name: FileName::parse("film.mp4").unwrap(),
                size: 1,
                media_type: MediaType::parse("video/mp4").unwrap(),
                hash: [0; 32],
            };
            let coming = Coming { conversation: ConversationId(1), uploader: ME, attachment };
            sender.send(Event::Coming(coming.clone())).unwrap();
            coming
        };
        let all: Vec<_> =
            (0..2 * COMING_TOLD_MAX).map(|number| (tell(number), tell(number)).0).collect();
        // The last ones are remembered, and no more.
        tell(2 * COMING_TOLD_MAX - 1);
        tell(COMING_TOLD_MAX);
        drop(sender);
        let mut told = Vec::new();
        while let Some(Event::Coming(coming)) = events.next().await {
            told.push(coming);
        }
        assert_eq!(told, all);
        assert_eq!(events.coming.len(), COMING_TOLD_MAX);
    }
}
