//! The steps between two people. All four have the same frame: lock both personal logs, so that
//! nobody else changes what the two are to each other; recognise a retry; ask the policy; change it;
//! and write the step into both logs.

use skein_core::{
    account::Profile,
    contact::{Relation, pair},
    entry::{Body, ContactStep, ContactStepKind},
    id::{AccountId, ConversationId, EntryId, LogId},
    limit::{CONTACTS_MAX, PENDING_REQUESTS_MAX},
    name::Note,
    policy,
    refusal::{Code, Refusal},
    time::Timestamp,
};

use super::{conversation_of_contacts, relation};
use crate::{
    contact::Step,
    postgres::{
        account::find_profile,
        column::{bytes, count, id, int, number},
        db::Db,
        fault::Fault,
        log,
    },
};

/// `conversations.kind` of a direct conversation. Persisted: stable.
const KIND_DIRECT: i16 = 1;
/// Keeps digests of steps apart from anything else that is hashed. Persisted: stable.
const DIGEST_CONTEXT: &str = "skein 2026 store: digest of a contact step";

/// A step that someone asks for.
pub(super) struct Asked {
    pub(super) kind: ContactStepKind,
    pub(super) by: AccountId,
    pub(super) peer: AccountId,
    /// The greeting of a request, the remark of an acceptance, otherwise empty.
    pub(super) note: Note,
    pub(super) entry: EntryId,
    pub(super) now: Timestamp,
}

/// The two that a step is between.
struct Two {
    me: Profile,
    them: Profile,
}

impl Asked {
    /// Takes the step, or finds that it has been taken.
    pub(super) async fn take(&self, db: &Db) -> Result<Step, Fault> {
        let both = [LogId::Personal(self.by), LogId::Personal(self.peer)];
        log::lock(db, &both).await?;
        // Before any right is checked: a first try that took effect stays valid.
        if self.was_taken(db).await? {
            if db.again() {
                return Err(Fault::TookEffect);
            }
            let conversation = conversation_of_contacts(db, self.by, self.peer).await?;
            return Ok(Step { committed: Vec::new(), conversation });
        }
        let relation = relation(db, self.by, self.peer).await?;
        match self.kind {
            ContactStepKind::Requested => policy::may_request(relation)?,
            ContactStepKind::Accepted | ContactStepKind::Declined => policy::may_answer(relation)?,
            ContactStepKind::Removed => policy::may_remove(relation)?,
        }
        let no_account = || Refusal::not_found("account");
        let two = Two {
            me: find_profile(db, self.by).await?.ok_or_else(no_account)?,
            them: find_profile(db, self.peer).await?.ok_or_else(no_account)?,
        };
        let step = match (self.kind, relation) {
            (ContactStepKind::Requested, Relation::AskedByThem) => {
                // Both have asked: that is an acceptance. The greeting answers nobody any more.
                self.accept(db, &two, &no_note()).await?
            }
            (ContactStepKind::Requested, _) => self.request(db, &two, relation).await?,
            (ContactStepKind::Accepted, _) => self.accept(db, &two, &self.note).await?,
            (ContactStepKind::Declined, _) => {
                forget_requests(db, self.by, self.peer).await?;
                self.tell_both(db, &two, ContactStepKind::Declined, &no_note()).await?
            }
            (ContactStepKind::Removed, _) => self.remove(db, &two).await?,
        };
        let sql = "INSERT INTO contact_steps (actor, id, digest) VALUES ($1, $2, $3)";
        let (entry, digest) = (self.entry.0.as_slice(), self.digest());
        db.execute(sql, &[&id(self.by.0), &entry, &digest.as_slice()]).await?;
        Ok(step)
    }

    async fn request(&self, db: &Db, two: &Two, relation: Relation) -> Result<Step, Fault> {
        let (asked, asker) = (id(two.them.id.0), id(two.me.id.0));
        let (greeting, now) = (self.note.as_str(), int(self.now.0)?);
        if relation == Relation::AskedThem {
            let sql = "UPDATE contact_requests SET greeting = $3, at_ms = $4 \
                       WHERE asked = $1 AND asker = $2 AND greeting <> $3";
            if db.execute(sql, &[&asked, &asker, &greeting, &now]).await? == 0 {
                // The same words again are no news for either log.
                return Ok(Step::default());
            }
        } else {
            contacts_have_room(db, two.me.id, "your contact list is full; remove someone first")
                .await?;
            requests_have_room(db, two).await?;
            let sql = "INSERT INTO contact_requests (asked, asker, greeting, at_ms) \
                       VALUES ($1, $2, $3, $4)";
            db.execute(sql, &[&asked, &asker, &greeting, &now]).await?;
        }
        self.tell_both(db, two, ContactStepKind::Requested, &self.note).await
    }

    async fn accept(&self, db: &Db, two: &Two, remark: &Note) -> Result<Step, Fault> {
        let Two { me, them } = two;
        contacts_have_room(db, me.id, "your contact list is full; remove someone first").await?;
        contacts_have_room(db, them.id, "their contact list is full").await?;
        forget_requests(db, me.id, them.id).await?;
        let conversation = wake_conversation(db, me.id, them.id, self.now).await?;
        let sql = "INSERT INTO contacts (owner, peer, remark, conversation, since_ms) \
                   VALUES ($1, $2, $3, $5, $6), ($2, $1, $4, $5, $6)";
        let (mine, theirs) = (remark.as_str(), "");
        let (conversation, now) = (id(conversation.0), int(self.now.0)?);
        db.execute(sql, &[&id(me.id.0), &id(them.id.0), &mine, &theirs, &conversation, &now])
            .await?;
        self.tell_both(db, two, ContactStepKind::Accepted, remark).await
    }

    async fn remove(&self, db: &Db, two: &Two) -> Result<Step, Fault> {
        let sql = "DELETE FROM contacts \
                   WHERE (owner = $1 AND peer = $2) OR (owner = $2 AND peer = $1)";
        db.execute(sql, &[&id(two.me.id.0), &id(two.them.id.0)]).await?;
        if let Some(conversation) = direct_conversation(db, two.me.id, two.them.id).await? {
            set_member_states(db, conversation, log::MEMBER_DORMANT).await?;
        }
        self.tell_both(db, two, ContactStepKind::Removed, &no_note()).await
    }

    /// Writes the step into both personal logs, each from its owner's point of view. A remark is
    /// the business of the one who made it; a greeting is for both.
    async fn tell_both(
        &self,
        db: &Db,
        two: &Two,
        kind: ContactStepKind,
        note: &Note,
    ) -> Result<Step, Fault> {
        let Two { me, them } = two;
        let conversation = direct_conversation(db, me.id, them.id).await?;
        let note_for_them =
            if kind == ContactStepKind::Requested { note.clone() } else { no_note() };
        let mut committed = Vec::with_capacity(2);
        for (owner, peer, by_me, note) in
            [(me, them, true, note.clone()), (them, me, false, note_for_them)]
        {
            let log = LogId::Personal(owner.id);
            let body = Body::Contact(ContactStep {
                kind,
                peer: peer.id,
                peer_name: peer.name.clone(),
                by_me,
                note,
                conversation,
            });
            let id = log::derived_id(self.entry, log, 0);
            committed.push(log::push(db, log, id, me.id, self.now, body).await?);
        }
        let conversation = conversation_of_contacts(db, me.id, them.id).await?;
        Ok(Step { committed, conversation })
    }

    async fn was_taken(&self, db: &Db) -> Result<bool, Fault> {
        let sql = "SELECT digest FROM contact_steps WHERE actor = $1 AND id = $2";
        let first = db.query_opt(sql, &[&id(self.by.0), &self.entry.0.as_slice()]).await?;
        let Some(row) = first else { return Ok(false) };
        if bytes::<32>(&row, 0)? == self.digest() {
            return Ok(true);
        }
        let message = "this entry id was used for another step; draw a new one";
        Err(Refusal::new(Code::EntryConflict, message).into())
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
        hasher.update(&(self.kind as u32).to_le_bytes());
        hasher.update(&self.peer.0.to_le_bytes());
        hasher.update(self.note.as_str().as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// The note of a step that has none.
pub(super) fn no_note() -> Note {
    Note::parse("").expect("an empty note is within every limit")
}

async fn forget_requests(db: &Db, a: AccountId, b: AccountId) -> Result<(), Fault> {
    let sql = "DELETE FROM contact_requests \
               WHERE (asked = $1 AND asker = $2) OR (asked = $2 AND asker = $1)";
    db.execute(sql, &[&id(a.0), &id(b.0)]).await.map(drop)
}

async fn contacts_have_room(db: &Db, owner: AccountId, full: &str) -> Result<(), Fault> {
    let sql = "SELECT count(*) FROM contacts WHERE owner = $1";
    has_room(db, sql, owner, CONTACTS_MAX, full).await
}

/// Requests are limited on both sides, so that either's list is bounded.
async fn requests_have_room(db: &Db, two: &Two) -> Result<(), Fault> {
    let sql = "SELECT count(*) FROM contact_requests WHERE asked = $1";
    let full = "too many requests wait for their answer already";
    has_room(db, sql, two.them.id, PENDING_REQUESTS_MAX, full).await?;
    let sql = "SELECT count(*) FROM contact_requests WHERE asker = $1";
    let full = "too many of your requests wait for an answer";
    has_room(db, sql, two.me.id, PENDING_REQUESTS_MAX, full).await
}

async fn has_room(
    db: &Db,
    sql: &str,
    owner: AccountId,
    max: usize,
    full: &str,
) -> Result<(), Fault> {
    let used: i64 = db.query_one(sql, &[&id(owner.0)]).await?.try_get(0)?;
    if used < count(max) { Ok(()) } else { Err(Refusal::new(Code::TooMany, full).into()) }
}

async fn direct_conversation(
    db: &Db,
    a: AccountId,
    b: AccountId,
) -> Result<Option<ConversationId>, Fault> {
    let (low, high) = pair(a, b);
    let sql = "SELECT conversation FROM direct_conversations WHERE low = $1 AND high = $2";
    let found = db.query_opt(sql, &[&id(low.0), &id(high.0)]).await?;
    found.map(|row| Ok(ConversationId(number(&row, 0)?))).transpose()
}

/// The direct conversation of two who are becoming contacts: the one they had, or a new one.
async fn wake_conversation(
    db: &Db,
    a: AccountId,
    b: AccountId,
    now: Timestamp,
) -> Result<ConversationId, Fault> {
    if let Some(conversation) = direct_conversation(db, a, b).await? {
        set_member_states(db, conversation, log::MEMBER_ACTIVE).await?;
        return Ok(conversation);
    }
    let sql = "INSERT INTO conversations (kind, created_ms) VALUES ($1, $2) RETURNING id";
    let row = db.query_one(sql, &[&KIND_DIRECT, &int(now.0)?]).await?;
    let conversation = ConversationId(number(&row, 0)?);
    log::make(db, LogId::Conversation(conversation)).await?;
    let (low, high) = pair(a, b);
    let (low, high, number) = (id(low.0), id(high.0), id(conversation.0));
    let sql = "INSERT INTO direct_conversations (low, high, conversation) VALUES ($1, $2, $3)";
    db.execute(sql, &[&low, &high, &number]).await?;
    let sql = "INSERT INTO members (conversation, account, state) \
               VALUES ($1, $2, $4), ($1, $3, $4)";
    db.execute(sql, &[&number, &low, &high, &log::MEMBER_ACTIVE]).await?;
    Ok(conversation)
}

/// Whoever appends reads the states under the same lock.
async fn set_member_states(db: &Db, conversation: ConversationId, state: i16) -> Result<(), Fault> {
    log::lock(db, &[LogId::Conversation(conversation)]).await?;
    let sql = "UPDATE members SET state = $2 WHERE conversation = $1";
    db.execute(sql, &[&id(conversation.0), &state]).await.map(drop)
}
