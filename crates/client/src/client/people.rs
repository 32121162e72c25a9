//! People: finding them, and becoming and ceasing to be contacts.

use skein_core::{
    account::Profile,
    contact::{Contact, ContactRequest},
    id::{AccountId, ConversationId, EntryId},
    name::{Note, Username},
};
use skein_wire::pb::{self, reply, request};

use super::{Client, bad_answer};
use crate::Error;

/// A contact, and whether they are there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub contact: Contact,
    /// Whether they have a session.
    pub online: bool,
}

impl Client {
    /// People whose name begins like this, without regard to case.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn find(&self, prefix: &str) -> Result<Vec<Profile>, Error> {
        let find = pb::FindAccounts { prefix: prefix.to_owned() };
        match self.ask(request::Kind::FindAccounts(find)).await? {
            reply::Kind::Accounts(found) => all(found.accounts),
            _ => Err(bad_answer("people")),
        }
    }

    /// The person of exactly this name, without regard to case.
    ///
    /// # Errors
    /// [`Error::NoSuchPerson`]; or if the server cannot be reached or refuses.
    pub async fn person(&self, name: &Username) -> Result<Profile, Error> {
        let found = self.find(name.as_str()).await?.into_iter();
        let mut exact = found.filter(|profile| profile.name.key() == name.key());
        exact.next().ok_or_else(|| Error::NoSuchPerson(name.to_string()))
    }

    /// Someone whose name has come up here before, without asking the server.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn known_person(&self, account: AccountId) -> Result<Option<Profile>, Error> {
        self.home.person(account).await
    }

    /// Asks someone to become contacts. If they have asked before, this accepts: then there is a
    /// conversation.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses: `already_contacts`, `too_many` and others.
    pub async fn request_contact(
        &self,
        account: AccountId,
        greeting: Note,
    ) -> Result<Option<ConversationId>, Error> {
        self.step(request::Kind::RequestContact(pb::RequestContact {
            account: account.0,
            greeting: greeting.as_str().to_owned(),
            id: fresh_id(),
        }))
        .await
    }

    /// Accepts someone's request, and keeps a remark about them.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses: `not_found` if they have not asked.
    pub async fn accept_contact(
        &self,
        account: AccountId,
        remark: Note,
    ) -> Result<Option<ConversationId>, Error> {
        self.step(request::Kind::AcceptContact(pb::AcceptContact {
            account: account.0,
            remark: remark.as_str().to_owned(),
            id: fresh_id(),
        }))
        .await
    }

    /// Declines someone's request.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses: `not_found` if they have not asked.
    pub async fn decline_contact(&self, account: AccountId) -> Result<(), Error> {
        let answer = pb::AnswerContact { account: account.0, id: fresh_id() };
        self.step(request::Kind::DeclineContact(answer)).await.map(drop)
    }

    /// Removes a contact. The conversation stays readable, and takes no more messages.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses: `not_contacts`.
    pub async fn remove_contact(&self, account: AccountId) -> Result<(), Error> {
        let answer = pb::AnswerContact { account: account.0, id: fresh_id() };
        self.step(request::Kind::RemoveContact(answer)).await.map(drop)
    }

    /// The account's contacts, by name.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn contacts(&self) -> Result<Vec<Peer>, Error> {
        let listed = self.ask(request::Kind::ListContacts(pb::ListContacts {})).await?;
        let reply::Kind::Contacts(listed) = listed else { return Err(bad_answer("contacts")) };
        let peer = |contact: pb::Contact| {
            let online = contact.online;
            let contact = contact.try_into().map_err(malformed)?;
            Ok(Peer { contact, online })
        };
        listed.contacts.into_iter().map(peer).collect()
    }

    /// The requests that wait for an answer, of either side, newest first.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn contact_requests(&self) -> Result<Vec<ContactRequest>, Error> {
        match self.ask(request::Kind::ListRequests(pb::ListRequests {})).await? {
            reply::Kind::Requests(listed) => all(listed.requests),
            _ => Err(bad_answer("contact requests")),
        }
    }

    /// The conversation with someone, from what is here; if need be the server is asked.
    ///
    /// # Errors
    /// [`Error::NoConversation`]; or if it is not known here and the server cannot be reached.
    pub async fn conversation_with(
        &self,
        name: &Username,
    ) -> Result<(ConversationId, Profile), Error> {
        if let Some(known) = self.home.conversation_with(name).await? {
            return Ok(known);
        }
        let listed = self.ask(request::Kind::ListConversations(pb::ListConversations {})).await?;
        let reply::Kind::Conversations(listed) = listed else {
            return Err(bad_answer("conversations"));
        };
        self.home.know(all(listed.conversations)?).await?;
        let known = self.home.conversation_with(name).await?;
        known.ok_or_else(|| Error::NoConversation(name.to_string()))
    }

    /// The other side of a conversation, if it has come up here before.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn peer_of(&self, conversation: ConversationId) -> Result<Option<Profile>, Error> {
        self.home.peer_of(conversation).await
    }

    async fn step(&self, kind: request::Kind) -> Result<Option<ConversationId>, Error> {
        match self.ask(kind).await? {
            reply::Kind::Step(done) => {
                Ok((done.conversation != 0).then_some(ConversationId(done.conversation)))
            }
            _ => Err(bad_answer("a step")),
        }
    }
}

/// A retry of the request carries the same id, so that it is one step.
fn fresh_id() -> bytes::Bytes {
    EntryId(rand::random()).0.to_vec().into()
}

fn all<M, T>(messages: Vec<M>) -> Result<Vec<T>, Error>
where
    T: TryFrom<M, Error = skein_wire::Malformed>,
{
    messages.into_iter().map(|message| message.try_into().map_err(malformed)).collect()
}

pub(super) fn malformed(malformed: skein_wire::Malformed) -> Error {
    Error::BadAnswer(malformed.to_string())
}
