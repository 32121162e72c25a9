//! Contacts in PostgreSQL: the trait and the lists; the steps are in [`step`].

mod step;

use async_trait::async_trait;
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
    Postgres,
    column::{count, get, id, number, profile, text},
    db::Db,
    fault::Fault,
};
use crate::{
    StoreError,
    contact::{Contacts, Step},
};

#[async_trait]
impl Contacts for Postgres {
    async fn request_contact(
        &self,
        from: AccountId,
        to: AccountId,
        greeting: Note,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let kind = ContactStepKind::Requested;
        let asked = &Asked { kind, by: from, peer: to, note: greeting, entry, now };
        self.write("request a contact", |db| async move { asked.take(&db).await }).await
    }

    async fn accept_contact(
        &self,
        by: AccountId,
        asker: AccountId,
        remark: Note,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let kind = ContactStepKind::Accepted;
        let asked = &Asked { kind, by, peer: asker, note: remark, entry, now };
        self.write("accept a contact", |db| async move { asked.take(&db).await }).await
    }

    async fn decline_contact(
        &self,
        by: AccountId,
        asker: AccountId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let kind = ContactStepKind::Declined;
        let asked = &Asked { kind, by, peer: asker, note: step::no_note(), entry, now };
        self.write("decline a contact", |db| async move { asked.take(&db).await }).await
    }

    async fn remove_contact(
        &self,
        by: AccountId,
        peer: AccountId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let kind = ContactStepKind::Removed;
        let asked = &Asked { kind, by, peer, note: step::no_note(), entry, now };
        self.write("remove a contact", |db| async move { asked.take(&db).await }).await
    }

    async fn relation(&self, account: AccountId, other: AccountId) -> Result<Relation, StoreError> {
        self.read("read a relation", |db| async move { relation(&db, account, other).await }).await
    }

    async fn contacts(&self, account: AccountId) -> Result<Vec<Contact>, StoreError> {
        self.read("list contacts", |db| async move {
            let sql = "SELECT a.id, a.name, c.remark, c.conversation, c.since_ms \
                       FROM contacts c JOIN accounts a ON a.id = c.peer \
                       WHERE c.owner = $1 ORDER BY a.name_key LIMIT $2";
            let rows = db.query(sql, &[&id(account.0), &count(CONTACTS_MAX)]).await?;
            let contact = |row| {
                Ok(Contact {
                    profile: profile(row, 0)?,
                    remark: text(row, 2, Note::parse)?,
                    conversation: ConversationId(number(row, 3)?),
                    since: Timestamp(number(row, 4)?),
                })
            };
            rows.iter().map(contact).collect()
        })
        .await
    }

    async fn contact_requests(
        &self,
        account: AccountId,
    ) -> Result<Vec<ContactRequest>, StoreError> {
        self.read("list contact requests", |db| async move {
            let sql = "SELECT a.id, a.name, r.incoming, r.greeting, r.at_ms FROM ( \
                           SELECT asker AS peer, true AS incoming, greeting, at_ms \
                           FROM contact_requests WHERE asked = $1 \
                           UNION ALL \
                           SELECT asked, false, greeting, at_ms \
                           FROM contact_requests WHERE asker = $1 \
                       ) r JOIN accounts a ON a.id = r.peer \
                       ORDER BY r.at_ms DESC, a.id LIMIT $2";
            let rows = db.query(sql, &[&id(account.0), &count(2 * PENDING_REQUESTS_MAX)]).await?;
            let request = |row| {
                Ok(ContactRequest {
                    profile: profile(row, 0)?,
                    incoming: get(row, 2)?,
                    greeting: text(row, 3, Note::parse)?,
                    at: Timestamp(number(row, 4)?),
                })
            };
            rows.iter().map(request).collect()
        })
        .await
    }
}

/// What `account` is to `other`, inside any transaction, at one moment.
async fn relation(db: &Db, account: AccountId, other: AccountId) -> Result<Relation, Fault> {
    if account == other {
        return Ok(Relation::Oneself);
    }
    let sql = "SELECT \
               EXISTS (SELECT 1 FROM contacts WHERE owner = $1 AND peer = $2), \
               EXISTS (SELECT 1 FROM contact_requests WHERE asked = $2 AND asker = $1), \
               EXISTS (SELECT 1 FROM contact_requests WHERE asked = $1 AND asker = $2)";
    let row = db.query_one(sql, &[&id(account.0), &id(other.0)]).await?;
    Ok(if get(&row, 0)? {
        Relation::Contact
    } else if get(&row, 1)? {
        Relation::AskedThem
    } else if get(&row, 2)? {
        Relation::AskedByThem
    } else {
        Relation::Stranger
    })
}

/// The direct conversation of two who are contacts.
async fn conversation_of_contacts(
    db: &Db,
    owner: AccountId,
    peer: AccountId,
) -> Result<Option<ConversationId>, Fault> {
    let sql = "SELECT conversation FROM contacts WHERE owner = $1 AND peer = $2";
    let found = db.query_opt(sql, &[&id(owner.0), &id(peer.0)]).await?;
    found.map(|row| Ok(ConversationId(number(&row, 0)?))).transpose()
}
