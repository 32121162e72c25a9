//! The model server: logs, group commit, sessions. It does what the specification says a chat node
//! and its store do, in as few lines as that takes; or deliberately not, as a [`Mutant`].

use std::collections::BTreeMap;

use skein_core::{
    entry::{Body, ContactStep, ContactStepKind, Content, Draft, Entry},
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    name::{Note, Username},
    time::Timestamp,
};

use crate::{
    client::{ClientId, DELAYS_MS, Request, ToClient},
    random::Random,
};

/// A way in which a server may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    AcksBeforeCommit,
    ForgetsIds,
    LosesHintsForGood,
}

pub(crate) type ConnId = u64;

/// Entries in one page: small, so that pages follow one another.
const PAGE: usize = 7;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) mutant: Mutant,
    /// What survives a crash.
    pub(crate) logs: BTreeMap<LogId, Vec<Entry>>,
    pub(crate) members: BTreeMap<ConversationId, [AccountId; 2]>,
    first_results: BTreeMap<(AccountId, EntryId), (ConversationId, Seq)>,
    /// Appends that the next commit takes.
    batch: Vec<Pending>,
    pub(crate) sessions: BTreeMap<ConnId, Session>,
    pub(crate) repeated: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) account: AccountId,
    pub(crate) client: ClientId,
    /// The hello has been answered: events flow.
    live: bool,
    /// Events were dropped since the heads were last compared.
    behind: bool,
}

#[derive(Debug)]
struct Pending {
    conn: ConnId,
    author: AccountId,
    draft: Draft,
}

/// What the server sends. Hints may get lost on the bus before they reach a session; replies not.
pub(crate) struct Outgoing {
    pub(crate) conn: ConnId,
    pub(crate) message: ToClient,
}

impl Server {
    pub(crate) fn new(mutant: Mutant) -> Self {
        Self {
            mutant,
            logs: BTreeMap::new(),
            members: BTreeMap::new(),
            first_results: BTreeMap::new(),
            batch: Vec::new(),
            sessions: BTreeMap::new(),
            repeated: 0,
        }
    }

    pub(crate) fn accept(&mut self, conn: ConnId, account: AccountId, client: ClientId) {
        self.sessions.insert(conn, Session { account, client, live: false, behind: false });
    }

    /// Everything in memory is gone. Answers how many appends never were committed.
    pub(crate) fn crash(&mut self) -> usize {
        self.sessions.clear();
        std::mem::take(&mut self.batch).len()
    }

    pub(crate) fn has_batch(&self) -> bool {
        !self.batch.is_empty()
    }

    pub(crate) fn head(&self, log: LogId) -> Seq {
        Seq(self.logs.get(&log).map_or(0, Vec::len) as u64)
    }

    /// All logs of an account, with their heads.
    pub(crate) fn heads(&self, account: AccountId) -> Vec<(LogId, Seq)> {
        let conversations = self
            .members
            .iter()
            .filter(|(_, members)| members.contains(&account))
            .map(|(conversation, _)| LogId::Conversation(*conversation));
        std::iter::once(LogId::Personal(account))
            .chain(conversations)
            .map(|log| (log, self.head(log)))
            .collect()
    }

    /// Takes what a client sent, and answers what can be answered at once.
    pub(crate) fn handle(
        &mut self,
        conn: ConnId,
        request: Request,
        random: &mut Random,
        faults: bool,
        now: Timestamp,
    ) -> Vec<Outgoing> {
        let Some(session) = self.sessions.get_mut(&conn) else { return Vec::new() };
        let account = session.account;
        let message = match request {
            Request::Hello => {
                session.live = true;
                ToClient::Welcome(self.heads(account))
            }
            Request::Append(draft) if faults && random.one_in(25) => {
                let after_ms = random.within(0..2_000);
                ToClient::Busy { id: draft.id, after_ms }
            }
            Request::Append(draft) => return self.append(conn, draft, now),
            Request::Read { log, after, .. } if faults && random.one_in(40) => {
                ToClient::ReadBusy { log, after }
            }
            Request::Read { log, after, limit } => {
                let entries = self.logs.get(&log).map_or(&[][..], Vec::as_slice);
                let from = entries.len().min(after.0 as usize);
                let page = entries[from..].iter().take(limit.min(PAGE)).cloned().collect();
                ToClient::Page { log, after, entries: page, head: Seq(entries.len() as u64) }
            }
        };
        vec![Outgoing { conn, message }]
    }

    fn append(&mut self, conn: ConnId, draft: Draft, now: Timestamp) -> Vec<Outgoing> {
        let author = self.sessions[&conn].account;
        let is_member =
            self.members.get(&draft.conversation).is_some_and(|members| members.contains(&author));
        if !is_member {
            let message = ToClient::Never { id: draft.id };
            return vec![Outgoing { conn, message }];
        }
        let early = (self.mutant == Mutant::AcksBeforeCommit).then(|| {
            let seq = self.head(LogId::Conversation(draft.conversation)).next();
            let entry = entry_of(&draft, seq, author, now);
            let message = ToClient::Appended { conversation: draft.conversation, entry };
            Outgoing { conn, message }
        });
        self.batch.push(Pending { conn, author, draft });
        early.into_iter().collect()
    }

    /// Makes the batch durable, and only then answers it (invariant 1).
    pub(crate) fn commit(&mut self, now: Timestamp) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        for Pending { conn, author, draft } in std::mem::take(&mut self.batch) {
            let key = (author, draft.id);
            let log = LogId::Conversation(draft.conversation);
            let first = self.first_results.get(&key).copied();
            let entry = match first.filter(|_| self.mutant != Mutant::ForgetsIds) {
                Some((_, seq)) => {
                    self.repeated += 1;
                    self.logs[&log][seq.0 as usize - 1].clone()
                }
                None => {
                    let entry = entry_of(&draft, self.head(log).next(), author, now);
                    self.first_results.insert(key, (draft.conversation, entry.seq));
                    self.logs.entry(log).or_default().push(entry.clone());
                    outgoing.extend(self.hints(log, &entry));
                    entry
                }
            };
            if self.mutant != Mutant::AcksBeforeCommit {
                let message = ToClient::Appended { conversation: draft.conversation, entry };
                outgoing.push(Outgoing { conn, message });
            }
        }
        outgoing
    }

    /// Two accounts become contacts: an entry in the personal log of each, and a conversation.
    pub(crate) fn befriend(
        &mut self,
        pair: [AccountId; 2],
        random: &mut Random,
        now: Timestamp,
    ) -> (ConversationId, Vec<Outgoing>) {
        let conversation = ConversationId(self.members.len() as u64 + 1);
        self.members.insert(conversation, pair);
        let mut outgoing = Vec::new();
        for (owner, peer) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let log = LogId::Personal(owner);
            let step = ContactStep {
                kind: ContactStepKind::Accepted,
                peer,
                peer_name: Username::parse(format!("account{peer}")).expect("letters and digits"),
                by_me: owner == pair[0],
                note: Note::parse("").expect("may be empty"),
                conversation: Some(conversation),
            };
            let (seq, id) = (self.head(log).next(), EntryId(random.bytes()));
            let entry = Entry { seq, id, author: pair[0], at: now, body: Body::Contact(step) };
            self.logs.entry(log).or_default().push(entry.clone());
            outgoing.extend(self.hints(log, &entry));
        }
        (conversation, outgoing)
    }

    fn hints(&self, log: LogId, entry: &Entry) -> Vec<Outgoing> {
        let concerns = |account: AccountId| match log {
            LogId::Personal(owner) => owner == account,
            LogId::Conversation(id) => self.members[&id].contains(&account),
        };
        self.sessions
            .iter()
            .filter(|(_, session)| session.live && concerns(session.account))
            .map(|(conn, _)| {
                let message = ToClient::Event { log, entry: entry.clone() };
                Outgoing { conn: *conn, message }
            })
            .collect()
    }

    /// A hint to this session got lost; the next comparison of heads makes up for it (invariant 4).
    pub(crate) fn lose_hint(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.behind = self.mutant != Mutant::LosesHintsForGood;
        }
    }

    /// Compares heads with the store, as a node does when its bus is back.
    pub(crate) fn compare_heads(&mut self) -> Vec<Outgoing> {
        let mut behind = Vec::new();
        for (conn, session) in &mut self.sessions {
            if std::mem::take(&mut session.behind) {
                behind.push(*conn);
            }
        }
        let told = |conn: ConnId| {
            let message = ToClient::Behind(self.heads(self.sessions[&conn].account));
            Outgoing { conn, message }
        };
        behind.into_iter().map(told).collect()
    }

    /// How long until the batch is committed: a synced write takes its time.
    pub(crate) fn commit_delay(random: &mut Random) -> u64 {
        random.within(1..DELAYS_MS.end / 4)
    }
}

fn entry_of(draft: &Draft, seq: Seq, author: AccountId, at: Timestamp) -> Entry {
    let Content::Text(text) = &draft.content else { unreachable!("the simulation sends text") };
    Entry { seq, id: draft.id, author, at, body: Body::Text(text.clone()) }
}
