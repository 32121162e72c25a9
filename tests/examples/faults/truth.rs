//! What the store has, read from the database itself, not through the service.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;
use skein_client::{AccountId, ConversationId, EntryId, LogId, Seq};
use skein_wire::pb::{self, body::Kind};
use tokio_postgres::{Client, NoTls, Row};

use crate::{Failure, listen::HeardEntry};

/// A connection to the database beside the service's.
pub(crate) struct Store {
    url: String,
}

/// The logs as they are stored.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Entries by log, in order.
    pub(crate) logs: BTreeMap<LogId, Vec<HeardEntry>>,
    /// What is wrong with the store by itself.
    pub(crate) wrong: Vec<String>,
}

impl Store {
    /// The database at this URL.
    pub(crate) const fn new(url: String) -> Self {
        Self { url }
    }

    /// The heads of all logs.
    pub(crate) async fn heads(&self) -> Result<HashMap<LogId, Seq>, Failure> {
        let client = self.connect().await?;
        let rows = client.query("SELECT kind, log, head FROM logs", &[]).await?;
        Ok(rows.iter().map(|row| (log(row), number(row, "head"))).collect())
    }

    /// All logs.
    pub(crate) async fn read(&self) -> Result<Truth, Failure> {
        let mut client = self.connect().await?;
        // Heads and entries as of one moment.
        let snapshot = client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await?;
        let heads = snapshot.query("SELECT kind, log, head FROM logs", &[]).await?;
        let entries = "SELECT kind, log, seq, id, body FROM entries ORDER BY kind, log, seq";
        let entries = snapshot.query(entries, &[]).await?;
        let drafts = "SELECT count(*) FROM drafts d LEFT JOIN entries e \
                      ON e.kind = 2 AND e.log = d.conversation AND e.seq = d.seq AND e.id = d.id \
                      WHERE e.id IS NULL";
        let orphans: i64 = snapshot.query_one(drafts, &[]).await?.get(0);
        let mut truth = Truth::default();
        for row in &entries {
            let bytes: &[u8] = row.get("body");
            let id: &[u8] = row.get("id");
            let entry = HeardEntry {
                seq: number(row, "seq"),
                id: EntryId(id.try_into()?),
                words: words(pb::Body::decode(bytes)?),
            };
            truth.logs.entry(log(row)).or_default().push(entry);
        }
        if orphans > 0 {
            truth.wrong.push(format!("{orphans} drafts name entries that are not there"));
        }
        let heads = heads.iter().map(|row| (log(row), number(row, "head"))).collect();
        truth.inspect(&heads);
        Ok(truth)
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        // It ends with its client; what went wrong is what the client's calls answer.
        tokio::spawn(async move { connection.await.ok() });
        Ok(client)
    }
}

impl Truth {
    /// Whether each log is dense from 1 up to its head, and no conversation has an id twice.
    fn inspect(&mut self, heads: &HashMap<LogId, Seq>) {
        for (log, entries) in &self.logs {
            let dense = entries.iter().enumerate().all(|(at, entry)| entry.seq.0 == at as u64 + 1);
            if !dense {
                self.wrong.push(format!("{log} has gaps in the store"));
            }
            let ids: HashSet<_> = entries.iter().map(|entry| entry.id).collect();
            if ids.len() != entries.len() {
                self.wrong.push(format!("{log} has an entry twice in the store"));
            }
            let head = heads.get(log).copied().unwrap_or(Seq::ZERO);
            if head.0 != entries.len() as u64 {
                self.wrong.push(format!("{log} has {} entries and head {head}", entries.len()));
            }
        }
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> usize {
        self.logs.values().map(Vec::len).sum()
    }
}

fn log(row: &Row) -> LogId {
    let (kind, number): (i16, i64) = (row.get("kind"), row.get("log"));
    let number = number.unsigned_abs();
    match kind {
        1 => LogId::Personal(AccountId(number)),
        _ => LogId::Conversation(ConversationId(number)),
    }
}

fn number(row: &Row, column: &str) -> Seq {
    Seq(row.get::<_, i64>(column).unsigned_abs())
}

fn words(body: pb::Body) -> String {
    let name = |file: Option<pb::Attachment>| file.map(|file| file.name).unwrap_or_default();
    match body.kind {
        Some(Kind::Text(text)) => text.text,
        Some(Kind::Picture(picture)) => name(picture.attachment),
        Some(Kind::File(file)) => file.name,
        _ => String::new(),
    }
}
