//! The steps between two people. All four have the same frame: recognise a retry, ask the policy,
//! change what the two are to each other, and write the step into both personal logs.

use rusqlite::{Connection, OptionalExtension, params};
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
    sqlite::{
        account::find_profile,
        column::{Id, Int, count, number},
        fault::Fault,
        log,
    },
};

/// `conversations.kind` of a direct conversation. Persisted: stable.
const KIND_DIRECT: i64 = 1;
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
}

impl Asked {
    /// Takes the step, or finds that it has been taken.
    pub(super) fn take(&self, db: &Connection, now: Timestamp) -> Result<Step, Fault> {
        // Before any right is checked: a first try that took effect stays valid.
        if self.was_taken(db)? {
            let conversation = conversation_of_contacts(db, self.by, self.peer)?;
            return Ok(Step { committed: Vec::new(), conversation });
        }
        let relation = relation(db, self.by, self.peer)?;
        match self.kind {
            ContactStepKind::Requested => policy::may_request(relation)?,
            ContactStepKind::Accepted | ContactStepKind::Declined => policy::may_answer(relation)?,
            ContactStepKind::Removed => policy::may_remove(relation)?,
        }
        let me = find_profile(db, self.by)?.ok_or_else(|| Refusal::not_found("account"))?;
        let them = find_profile(db, self.peer)?.ok_or_else(|| Refusal::not_found("account"))?;
        let step = match (self.kind, relation) {
            (ContactStepKind::Requested, Relation::AskedByThem) => {
                // Both have asked: that is an acceptance. The greeting answers nobody any more.
                self.accept(db, &me, &them, &no_note(), now)?
            }
            (ContactStepKind::Requested, _) => self.request(db, &me, &them, relation, now)?,
            (ContactStepKind::Accepted, _) => self.accept(db, &me, &them, &self.note, now)?,
            (ContactStepKind::Declined, _) => {
                forget_requests(db, self.by, self.peer)?;
                self.tell_both(db, &me, &them, ContactStepKind::Declined, &no_note(), now)?
            }
            (ContactStepKind::Removed, _) => self.remove(db, &me, &them, now)?,
        };
        db.prepare_cached("INSERT INTO contact_steps (actor, id, digest) VALUES (?1, ?2, ?3)")?
            .execute(params![Id(self.by.0), self.entry.0, self.digest()])?;
        Ok(step)
    }

    fn request(
        &self,
        db: &Connection,
        me: &Profile,
        them: &Profile,
        relation: Relation,
        now: Timestamp,
    ) -> Result<Step, Fault> {
        if relation == Relation::AskedThem {
            let sql = "UPDATE contact_requests SET greeting = ?3, at_ms = ?4 \
                       WHERE asked = ?1 AND asker = ?2 AND greeting <> ?3";
            let params = params![Id(them.id.0), Id(me.id.0), self.note.as_str(), Int(now.0)];
            if db.prepare_cached(sql)?.execute(params)? == 0 {
                // The same words again are no news for either log.
                return Ok(Step::default());
            }
        } else {
            contacts_have_room(db, me.id, "your contact list is full; remove someone first")?;
            requests_have_room(db, me.id, them.id)?;
            let sql = "INSERT INTO contact_requests (asked, asker, greeting, at_ms) \
                       VALUES (?1, ?2, ?3, ?4)";
            db.prepare_cached(sql)?.execute(params![
                Id(them.id.0),
                Id(me.id.0),
                self.note.as_str(),
                Int(now.0)
            ])?;
        }
        Ok(self.tell_both(db, me, them, ContactStepKind::Requested, &self.note, now)?)
    }

    fn accept(
        &self,
        db: &Connection,
        me: &Profile,
        them: &Profile,
        remark: &Note,
        now: Timestamp,
    ) -> Result<Step, Fault> {
        contacts_have_room(db, me.id, "your contact list is full; remove someone first")?;
        contacts_have_room(db, them.id, "their contact list is full")?;
        forget_requests(db, me.id, them.id)?;
        let conversation = wake_conversation(db, me.id, them.id, now)?;
        let sql = "INSERT INTO contacts (owner, peer, remark, conversation, since_ms) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut insert = db.prepare_cached(sql)?;
        for (owner, peer, remark) in [(me, them, remark.as_str()), (them, me, "")] {
            insert.execute(params![
                Id(owner.id.0),
                Id(peer.id.0),
                remark,
                Id(conversation.0),
                Int(now.0)
            ])?;
        }
        Ok(self.tell_both(db, me, them, ContactStepKind::Accepted, remark, now)?)
    }

    fn remove(
        &self,
        db: &Connection,
        me: &Profile,
        them: &Profile,
        now: Timestamp,
    ) -> Result<Step, Fault> {
        let sql = "DELETE FROM contacts \
                   WHERE (owner = ?1 AND peer = ?2) OR (owner = ?2 AND peer = ?1)";
        db.prepare_cached(sql)?.execute(params![Id(me.id.0), Id(them.id.0)])?;
        if let Some(conversation) = direct_conversation(db, me.id, them.id)? {
            set_member_states(db, conversation, log::MEMBER_DORMANT)?;
        }
        Ok(self.tell_both(db, me, them, ContactStepKind::Removed, &no_note(), now)?)
    }

    /// Writes the step into both personal logs, each from its owner's point of view. A remark is
    /// the business of the one who made it; a greeting is for both.
    fn tell_both(
        &self,
        db: &Connection,
        me: &Profile,
        them: &Profile,
        kind: ContactStepKind,
        note: &Note,
        now: Timestamp,
    ) -> rusqlite::Result<Step> {
        let conversation = direct_conversation(db, me.id, them.id)?;
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
            committed.push(log::push(db, log, id, me.id, now, body)?);
        }
        let conversation = conversation_of_contacts(db, me.id, them.id)?;
        Ok(Step { committed, conversation })
    }

    fn was_taken(&self, db: &Connection) -> Result<bool, Fault> {
        let sql = "SELECT digest FROM contact_steps WHERE actor = ?1 AND id = ?2";
        let first: Option<[u8; 32]> = db
            .prepare_cached(sql)?
            .query_row(params![Id(self.by.0), self.entry.0], |row| row.get(0))
            .optional()?;
        match first {
            None => Ok(false),
            Some(first) if first == self.digest() => Ok(true),
            Some(_) => {
                let message = "this entry id was used for another step; draw a new one";
                Err(Refusal::new(Code::EntryConflict, message).into())
            }
        }
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

fn forget_requests(db: &Connection, a: AccountId, b: AccountId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM contact_requests \
               WHERE (asked = ?1 AND asker = ?2) OR (asked = ?2 AND asker = ?1)";
    db.prepare_cached(sql)?.execute(params![Id(a.0), Id(b.0)])?;
    Ok(())
}

fn contacts_have_room(db: &Connection, owner: AccountId, full: &str) -> Result<(), Fault> {
    let contacts = db
        .prepare_cached("SELECT count(*) FROM contacts WHERE owner = ?1")?
        .query_row([Id(owner.0)], |row| number(row, 0))?;
    has_room(contacts, CONTACTS_MAX, full)
}

/// Requests are limited on both sides, so that either's list is bounded.
fn requests_have_room(db: &Connection, asker: AccountId, asked: AccountId) -> Result<(), Fault> {
    let incoming = db
        .prepare_cached("SELECT count(*) FROM contact_requests WHERE asked = ?1")?
        .query_row([Id(asked.0)], |row| number(row, 0))?;
    has_room(incoming, PENDING_REQUESTS_MAX, "too many requests wait for their answer already")?;
    let outgoing = db
        .prepare_cached("SELECT count(*) FROM contact_requests WHERE asker = ?1")?
        .query_row([Id(asker.0)], |row| number(row, 0))?;
    has_room(outgoing, PENDING_REQUESTS_MAX, "too many of your requests wait for an answer")
}

fn has_room(used: u64, max: usize, full: &str) -> Result<(), Fault> {
    if used < count(max).0 { Ok(()) } else { Err(Refusal::new(Code::TooMany, full).into()) }
}

fn direct_conversation(
    db: &Connection,
    a: AccountId,
    b: AccountId,
) -> rusqlite::Result<Option<ConversationId>> {
    let (low, high) = pair(a, b);
    db.prepare_cached("SELECT conversation FROM direct_conversations WHERE low = ?1 AND high = ?2")?
        .query_row(params![Id(low.0), Id(high.0)], |row| Ok(ConversationId(number(row, 0)?)))
        .optional()
}

/// The direct conversation of two who are becoming contacts: the one they had, or a new one.
fn wake_conversation(
    db: &Connection,
    a: AccountId,
    b: AccountId,
    now: Timestamp,
) -> rusqlite::Result<ConversationId> {
    if let Some(conversation) = direct_conversation(db, a, b)? {
        set_member_states(db, conversation, log::MEMBER_ACTIVE)?;
        return Ok(conversation);
    }
    let sql = "INSERT INTO conversations (kind, created_ms) VALUES (?1, ?2) RETURNING id";
    let conversation = db
        .prepare_cached(sql)?
        .query_row(params![KIND_DIRECT, Int(now.0)], |row| Ok(ConversationId(number(row, 0)?)))?;
    let (low, high) = pair(a, b);
    let sql = "INSERT INTO direct_conversations (low, high, conversation) VALUES (?1, ?2, ?3)";
    db.prepare_cached(sql)?.execute(params![Id(low.0), Id(high.0), Id(conversation.0)])?;
    let sql = "INSERT INTO members (conversation, account, state) VALUES (?1, ?2, ?3)";
    let mut insert = db.prepare_cached(sql)?;
    for account in [low, high] {
        insert.execute(params![Id(conversation.0), Id(account.0), log::MEMBER_ACTIVE])?;
    }
    Ok(conversation)
}

fn set_member_states(
    db: &Connection,
    conversation: ConversationId,
    state: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE members SET state = ?2 WHERE conversation = ?1")?
        .execute(params![Id(conversation.0), state])?;
    Ok(())
}
