//! Contacts in SQLite: the trait and the lists; the steps are in [`step`].

mod step;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use skein_core::{
    contact::{Contact, ContactRequest, Relation},
    entry::ContactStepKind,
    id::{AccountId, ConversationId, EntryId},
    limit::{CONTACTS_MAX, PENDING_REQUESTS_MAX},
    name::Note,
    time::Timestamp,
};

use self::step::Asked;
use super::{
    Sqlite,
    column::{Id, count, number, profile, text},
};
use crate::{
    StoreError,
    contact::{Contacts, Step},
};

#[async_trait]
impl Contacts for Sqlite {
    async fn request_contact(
        &self,
        from: AccountId,
        to: AccountId,
        greeting: Note,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let asked =
            Asked { kind: ContactStepKind::Requested, by: from, peer: to, note: greeting, entry };
        self.write("request a contact", move |db| asked.take(db, now)).await
    }

    async fn accept_contact(
        &self,
        by: AccountId,
        asker: AccountId,
        remark: Note,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let asked = Asked { kind: ContactStepKind::Accepted, by, peer: asker, note: remark, entry };
        self.write("accept a contact", move |db| asked.take(db, now)).await
    }

    async fn decline_contact(
        &self,
        by: AccountId,
        asker: AccountId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let note = step::no_note();
        let asked = Asked { kind: ContactStepKind::Declined, by, peer: asker, note, entry };
        self.write("decline a contact", move |db| asked.take(db, now)).await
    }

    async fn remove_contact(
        &self,
        by: AccountId,
        peer: AccountId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let note = step::no_note();
        let asked = Asked { kind: ContactStepKind::Removed, by, peer, note, entry };
        self.write("remove a contact", move |db| asked.take(db, now)).await
    }

    async fn relation(&self, account: AccountId, other: AccountId) -> Result<Relation, StoreError> {
        self.read("read a relation", move |db| Ok(relation(db, account, other)?)).await
    }

    async fn contacts(&self, account: AccountId) -> Result<Vec<Contact>, StoreError> {
        self.read("list contacts", move |db| {
            let sql = "SELECT a.id, a.name, c.remark, c.conversation, c.since_ms \
                       FROM contacts c JOIN accounts a ON a.id = c.peer \
                       WHERE c.owner = ?1 ORDER BY a.name_key LIMIT ?2";
            let mut statement = db.prepare_cached(sql)?;
            let params = params![Id(account.0), count(CONTACTS_MAX)];
            let found = statement.query_map(params, |row| {
                Ok(Contact {
                    profile: profile(row, 0)?,
                    remark: text(row, 2, Note::parse)?,
                    conversation: ConversationId(number(row, 3)?),
                    since: Timestamp(number(row, 4)?),
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn contact_requests(
        &self,
        account: AccountId,
    ) -> Result<Vec<ContactRequest>, StoreError> {
        self.read("list contact requests", move |db| {
            let sql = "SELECT a.id, a.name, r.asked = ?1, r.greeting, r.at_ms \
                       FROM contact_requests r \
                       JOIN accounts a ON a.id = iif(r.asked = ?1, r.asker, r.asked) \
                       WHERE r.asked = ?1 OR r.asker = ?1 ORDER BY r.at_ms DESC, a.id LIMIT ?2";
            let mut statement = db.prepare_cached(sql)?;
            let params = params![Id(account.0), count(2 * PENDING_REQUESTS_MAX)];
            let found = statement.query_map(params, |row| {
                Ok(ContactRequest {
                    profile: profile(row, 0)?,
                    incoming: row.get(2)?,
                    greeting: text(row, 3, Note::parse)?,
                    at: Timestamp(number(row, 4)?),
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// What `account` is to `other`, inside any transaction.
fn relation(db: &Connection, account: AccountId, other: AccountId) -> rusqlite::Result<Relation> {
    if account == other {
        return Ok(Relation::Oneself);
    }
    if conversation_of_contacts(db, account, other)?.is_some() {
        return Ok(Relation::Contact);
    }
    let sql = "SELECT 1 FROM contact_requests WHERE asked = ?1 AND asker = ?2";
    let mut waits = db.prepare_cached(sql)?;
    if waits.exists(params![Id(other.0), Id(account.0)])? {
        Ok(Relation::AskedThem)
    } else if waits.exists(params![Id(account.0), Id(other.0)])? {
        Ok(Relation::AskedByThem)
    } else {
        Ok(Relation::Stranger)
    }
}

/// The direct conversation of two who are contacts.
fn conversation_of_contacts(
    db: &Connection,
    owner: AccountId,
    peer: AccountId,
) -> rusqlite::Result<Option<ConversationId>> {
    db.prepare_cached("SELECT conversation FROM contacts WHERE owner = ?1 AND peer = ?2")?
        .query_row(params![Id(owner.0), Id(peer.0)], |row| Ok(ConversationId(number(row, 0)?)))
        .optional()
}
