//! What is known of a batch before anything is decided, read under the locks of its logs.

use std::collections::{BTreeSet, HashMap, HashSet};

use skein_core::{
    entry::Entry,
    id::{AccountId, BlobId, ConversationId, EntryId},
    policy::Membership,
    port::resource::BlobInfo,
};

use crate::postgres::{
    blob::{info, info_columns},
    column::{bytes, get, id, number},
    db::Db,
    fault::Fault,
    log::{appender::Job, entry, membership},
};

/// Locks the logs in their order, so that no two batches wait for each other, at whatever node.
macro_rules! lock {
    () => {
        "SELECT log, head FROM logs WHERE kind = 2 AND log = ANY ($1::bigint[]) \
         ORDER BY log FOR NO KEY UPDATE"
    };
}
/// Waits for a lock, with others that do, as long as the session allows.
const LOCK: &str = lock!();
/// Fails at once if another transaction holds a lock.
const LOCK_NOW: &str = concat!(lock!(), " NOWAIT");
/// The entries that these authors have made of these ids.
const FIRST_TRIES: &str = "SELECT d.author, d.id, d.digest, e.seq, e.id, e.author, e.at_ms, e.body \
                           FROM unnest($1::bigint[], $2::bytea[]) AS asked (author, id) \
                           JOIN drafts d ON d.author = asked.author AND d.id = asked.id \
                           JOIN entries e \
                             ON e.kind = 2 AND e.log = d.conversation AND e.seq = d.seq";
const MEMBERS: &str = "SELECT m.conversation, m.account, m.state \
                       FROM unnest($1::bigint[], $2::bigint[]) AS asked (conversation, account) \
                       JOIN members m \
                         ON m.conversation = asked.conversation AND m.account = asked.account";
/// Locks the blobs too: a blob that an entry is about to refer to must not be collected.
const BLOBS: &str = concat!(
    "SELECT ",
    info_columns!(),
    " FROM blobs WHERE id = ANY ($1::bytea[]) ORDER BY id FOR NO KEY UPDATE"
);
const SHARED: &str = "SELECT asked.account, asked.blob \
                      FROM unnest($1::bigint[], $2::bytea[]) AS asked (account, blob) \
                      WHERE EXISTS (SELECT 1 FROM blob_refs r JOIN members m \
                                    ON m.conversation = r.conversation \
                                    AND m.account = asked.account \
                                    WHERE r.blob = asked.blob)";

/// The facts of one batch.
pub(super) struct Facts {
    /// The last `seq` of each log.
    pub(super) heads: HashMap<ConversationId, u64>,
    /// Digest and entry of drafts that were appended before.
    pub(super) first_tries: HashMap<(AccountId, EntryId), ([u8; 32], Entry)>,
    pub(super) members: HashMap<(ConversationId, AccountId), Membership>,
    /// Complete blobs among those that are named.
    pub(super) blobs: HashMap<BlobId, BlobInfo>,
    /// Who is a member of a conversation that refers to which blob.
    pub(super) shared: HashSet<(AccountId, BlobId)>,
}

impl Facts {
    /// Begins the transaction, locks what it will change, and reads. Unless it `waits`, it fails at
    /// once if another transaction holds a lock.
    pub(super) async fn read(db: &Db, jobs: &[Job], waits: bool) -> Result<Self, Fault> {
        let logs: BTreeSet<i64> = jobs.iter().map(|job| id(job.draft.conversation.0)).collect();
        let logs: Vec<i64> = logs.into_iter().collect();
        let authors: Vec<i64> = jobs.iter().map(|job| id(job.author.0)).collect();
        let ids: Vec<&[u8]> = jobs.iter().map(|job| job.draft.id.0.as_slice()).collect();
        let members: BTreeSet<(i64, i64)> =
            jobs.iter().map(|job| (id(job.draft.conversation.0), id(job.author.0))).collect();
        let (conversations, accounts): (Vec<i64>, Vec<i64>) = members.into_iter().unzip();

        let lock = db.prepare(if waits { LOCK } else { LOCK_NOW }).await?;
        let first_tries = db.prepare(FIRST_TRIES).await?;
        let members = db.prepare(MEMBERS).await?;
        // Each statement sees what was committed when it began: the later ones, what those have
        // done who held the locks before.
        let client = db.client();
        let (begun, locked, first_tries, members) = tokio::join!(
            biased;
            client.batch_execute("BEGIN"),
            async { client.query(&lock, &[&logs]).await },
            async { client.query(&first_tries, &[&authors, &ids]).await },
            async { client.query(&members, &[&conversations, &accounts]).await },
        );
        begun?;
        let mut facts = Self {
            heads: HashMap::new(),
            first_tries: HashMap::new(),
            members: HashMap::new(),
            blobs: HashMap::new(),
            shared: HashSet::new(),
        };
        for row in locked? {
            facts.heads.insert(ConversationId(number(&row, 0)?), number(&row, 1)?);
        }
        for row in first_tries? {
            let key = (AccountId(number(&row, 0)?), EntryId(bytes(&row, 1)?));
            facts.first_tries.insert(key, (bytes(&row, 2)?, entry(&row, 3)?));
        }
        for row in members? {
            let key = (ConversationId(number(&row, 0)?), AccountId(number(&row, 1)?));
            facts.members.insert(key, membership(get(&row, 2)?)?);
        }
        facts.read_blobs(db, jobs).await?;
        Ok(facts)
    }

    async fn read_blobs(&mut self, db: &Db, jobs: &[Job]) -> Result<(), Fault> {
        let named: BTreeSet<(i64, BlobId)> = jobs
            .iter()
            .filter_map(|job| Some((id(job.author.0), job.draft.content.blob()?)))
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let blobs: BTreeSet<BlobId> = named.iter().map(|(_, blob)| *blob).collect();
        let blobs: Vec<&[u8]> = blobs.iter().map(|blob| blob.0.as_slice()).collect();
        let (accounts, of_accounts): (Vec<i64>, Vec<&[u8]>) =
            named.iter().map(|(account, blob)| (*account, blob.0.as_slice())).unzip();
        let (find, shared) = (db.prepare(BLOBS).await?, db.prepare(SHARED).await?);
        let client = db.client();
        let (found, shared) = tokio::join!(
            biased;
            async { client.query(&find, &[&blobs]).await },
            async { client.query(&shared, &[&accounts, &of_accounts]).await },
        );
        for row in found? {
            let info = info(&row)?;
            self.blobs.insert(info.id, info);
        }
        for row in shared? {
            self.shared.insert((AccountId(number(&row, 0)?), BlobId(bytes(&row, 1)?)));
        }
        Ok(())
    }
}
