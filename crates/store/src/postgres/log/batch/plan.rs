//! What a batch will write, and what its jobs will be answered.

use std::collections::BTreeMap;

use skein_core::{
    entry::{Draft, Entry},
    id::{ConversationId, Seq},
    policy::{self, Membership},
    refusal::Refusal,
};

use super::facts::Facts;
use crate::{
    log::Appended,
    postgres::{
        column::{id, int},
        db::{Db, Params},
        fault::Fault,
        log::{KIND_CONVERSATION, appender::Job, draft},
    },
};

/// The kind is a column and not a number in the text, because the planner would begin with all logs
/// of that kind as long as it believes that there are few.
const SET_HEADS: &str = "UPDATE logs SET head = new.head \
                         FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) \
                         AS new (kind, log, head) \
                         WHERE logs.kind = new.kind AND logs.log = new.log";
const INSERT_ENTRIES: &str = "INSERT INTO entries (kind, log, seq, id, author, at_ms, body) \
                              SELECT 2, new.* FROM unnest($1::bigint[], $2::bigint[], \
                              $3::bytea[], $4::bigint[], $5::bigint[], $6::bytea[]) AS new";
const INSERT_DRAFTS: &str = "INSERT INTO drafts (author, id, digest, conversation, seq) \
                             SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], \
                             $4::bigint[], $5::bigint[])";
const INSERT_REFS: &str = "INSERT INTO blob_refs (blob, conversation, seq) \
                           SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[])";
const COUNT_REFS: &str = "UPDATE blobs SET refs = refs + new.count \
                          FROM (SELECT blob, count(*) AS count FROM unnest($1::bytea[]) \
                                AS added (blob) GROUP BY blob) AS new \
                          WHERE blobs.id = new.blob";

/// An entry to be written.
struct Row {
    log: i64,
    seq: i64,
    id: [u8; 16],
    author: i64,
    at_ms: i64,
    body: Vec<u8>,
    digest: [u8; 32],
    blob: Option<[u8; 16]>,
}

/// What a batch will do.
pub(super) struct Plan {
    /// One a job, in the order of the jobs.
    pub(super) answers: Vec<Result<Appended, Refusal>>,
    /// Places of the jobs that are written now.
    pub(super) fresh: Vec<usize>,
    rows: Vec<Row>,
    heads: BTreeMap<i64, i64>,
}

impl Plan {
    /// Decides about each job, as if the ones before it had been appended.
    pub(super) fn make(mut facts: Facts, jobs: &[Job]) -> Result<Self, Fault> {
        let mut plan = Self {
            answers: Vec::with_capacity(jobs.len()),
            fresh: Vec::new(),
            rows: Vec::new(),
            heads: BTreeMap::new(),
        };
        for (place, job) in jobs.iter().enumerate() {
            let answer = match plan.decide(&mut facts, job) {
                Ok((appended, is_fresh)) => {
                    plan.fresh.extend(is_fresh.then_some(place));
                    Ok(appended)
                }
                Err(Fault::Refused(refusal)) => Err(refusal),
                Err(fault) => return Err(fault),
            };
            plan.answers.push(answer);
        }
        Ok(plan)
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it all and commits. Each statement is sent without waiting for the one before; if one
    /// fails, the server takes `COMMIT` for `ROLLBACK`.
    pub(super) async fn write(&self, db: &Db) -> Result<(), Fault> {
        let rows = &self.rows;
        let (logs, heads): (Vec<i64>, Vec<i64>) = self.heads.iter().unzip();
        let kinds = vec![KIND_CONVERSATION; logs.len()];
        let column = |of: fn(&Row) -> i64| rows.iter().map(of).collect::<Vec<i64>>();
        let (log, seq) = (column(|row| row.log), column(|row| row.seq));
        let (author, at) = (column(|row| row.author), column(|row| row.at_ms));
        let ids: Vec<&[u8]> = rows.iter().map(|row| row.id.as_slice()).collect();
        let bodies: Vec<&[u8]> = rows.iter().map(|row| row.body.as_slice()).collect();
        let drafts = Drafts::of(rows);

        let set_heads = db.prepare(SET_HEADS).await?;
        let insert_entries = db.prepare(INSERT_ENTRIES).await?;
        let insert_drafts = db.prepare(INSERT_DRAFTS).await?;
        let refs = Refs::of(rows);
        if !refs.blobs.is_empty() {
            // So that the statements below are sent in their order.
            db.prepare(INSERT_REFS).await?;
            db.prepare(COUNT_REFS).await?;
        }
        let client = db.client();
        let head_columns: Params<'_> = &[&kinds, &logs, &heads];
        let set = client.execute(&set_heads, head_columns);
        let entry_columns: Params<'_> = &[&log, &seq, &ids, &author, &at, &bodies];
        let entries = client.execute(&insert_entries, entry_columns);
        let Drafts { authors, ids, digests, logs, seqs } = &drafts;
        let draft_columns: Params<'_> = &[authors, ids, digests, logs, seqs];
        let drafts = client.execute(&insert_drafts, draft_columns);
        let refs = refs.write(db);
        let commit = client.batch_execute("COMMIT");
        let (set, entries, drafts, refs, committed) =
            tokio::join!(biased; set, entries, drafts, refs, commit);
        // In the order in which they were sent: the first error is the cause, and what was sent
        // after it only says that the transaction has failed already.
        set?;
        entries?;
        drafts?;
        refs?;
        Ok(committed?)
    }

    /// The answer to a job, and whether it is to be written.
    fn decide(&mut self, facts: &mut Facts, job: &Job) -> Result<(Appended, bool), Fault> {
        let Job { author, draft, digest, now, uncertain, .. } = job;
        let key = (*author, draft.id);
        // Before any right is checked: a first try that took effect stays valid, whatever has been
        // decided since.
        if let Some((first_digest, entry)) = facts.first_tries.get(&key) {
            if first_digest != digest {
                return Err(draft::conflict().into());
            }
            // If that first try was this job's own, its caller has nothing to publish from yet.
            return Ok((Appended { entry: entry.clone(), repeated: !uncertain }, false));
        }
        let membership = facts.members.get(&(draft.conversation, *author));
        policy::may_append(membership.copied().unwrap_or(Membership::Outsider))?;
        let blob = draft.content.blob().and_then(|blob| {
            facts.blobs.get(&blob).map(|info| (info, facts.shared.contains(&(*author, blob))))
        });
        let body = draft::body(*author, &draft.content, blob)?;
        let seq = self.next_seq(facts, draft.conversation)?;
        let entry = Entry { seq: Seq(seq), id: draft.id, author: *author, at: *now, body };
        self.add(draft, *digest, &entry)?;
        facts.first_tries.insert(key, (*digest, entry.clone()));
        Ok((Appended { entry, repeated: false }, true))
    }

    fn next_seq(&mut self, facts: &mut Facts, log: ConversationId) -> Result<u64, Fault> {
        let head = facts.heads.get_mut(&log);
        let head = head.ok_or_else(|| Fault::unreadable(format!("{log} has no row in logs")))?;
        *head += 1;
        self.heads.insert(id(log.0), int(*head)?);
        Ok(*head)
    }

    fn add(&mut self, draft: &Draft, digest: [u8; 32], entry: &Entry) -> Result<(), Fault> {
        self.rows.push(Row {
            log: id(draft.conversation.0),
            seq: int(entry.seq.0)?,
            id: entry.id.0,
            author: id(entry.author.0),
            at_ms: int(entry.at.0)?,
            body: skein_wire::body::encode(&entry.body),
            digest,
            blob: draft.content.blob().map(|blob| blob.0),
        });
        Ok(())
    }
}

/// The columns of `drafts`, in the order of their key, in which every batch of every node inserts
/// them: the same id in two batches makes one wait, and never both.
struct Drafts<'a> {
    authors: Vec<i64>,
    ids: Vec<&'a [u8]>,
    digests: Vec<&'a [u8]>,
    logs: Vec<i64>,
    seqs: Vec<i64>,
}

impl<'a> Drafts<'a> {
    fn of(rows: &'a [Row]) -> Self {
        let mut sorted: Vec<&Row> = rows.iter().collect();
        sorted.sort_unstable_by_key(|row| (row.author, row.id));
        Self {
            authors: sorted.iter().map(|row| row.author).collect(),
            ids: sorted.iter().map(|row| row.id.as_slice()).collect(),
            digests: sorted.iter().map(|row| row.digest.as_slice()).collect(),
            logs: sorted.iter().map(|row| row.log).collect(),
            seqs: sorted.iter().map(|row| row.seq).collect(),
        }
    }
}

/// The columns of `blob_refs`.
struct Refs<'a> {
    blobs: Vec<&'a [u8]>,
    logs: Vec<i64>,
    seqs: Vec<i64>,
}

impl<'a> Refs<'a> {
    fn of(rows: &'a [Row]) -> Self {
        let with_blob = || rows.iter().filter(|row| row.blob.is_some());
        Self {
            blobs: rows
                .iter()
                .filter_map(|row| row.blob.as_ref().map(<[u8; 16]>::as_slice))
                .collect(),
            logs: with_blob().map(|row| row.log).collect(),
            seqs: with_blob().map(|row| row.seq).collect(),
        }
    }

    async fn write(&self, db: &Db) -> Result<(), Fault> {
        if self.blobs.is_empty() {
            return Ok(());
        }
        let (insert, count) = (db.prepare(INSERT_REFS).await?, db.prepare(COUNT_REFS).await?);
        let client = db.client();
        let (inserted, counted) = tokio::join!(
            biased;
            async { client.execute(&insert, &[&self.blobs, &self.logs, &self.seqs]).await },
            async { client.execute(&count, &[&self.blobs]).await },
        );
        inserted?;
        counted?;
        Ok(())
    }
}
