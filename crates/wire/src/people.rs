//! Profiles, contacts, requests and conversations on the wire.

use skein_core::{
    account::Profile,
    contact::{Contact, ContactRequest, Conversation},
    id::{AccountId, ConversationId, Seq},
    name::{Note, Username},
    time::Timestamp,
};

use crate::{Malformed, pb};

impl From<Profile> for pb::Profile {
    fn from(profile: Profile) -> Self {
        Self { account: profile.id.0, name: profile.name.as_str().to_owned() }
    }
}

impl TryFrom<pb::Profile> for Profile {
    type Error = Malformed;

    fn try_from(profile: pb::Profile) -> Result<Self, Malformed> {
        Ok(Self {
            id: AccountId(profile.account),
            name: Username::parse(profile.name).map_err(Malformed::text("profile.name"))?,
        })
    }
}

impl From<Conversation> for pb::Conversation {
    fn from(conversation: Conversation) -> Self {
        Self {
            id: conversation.id.0,
            peer: Some(conversation.peer.into()),
            head: conversation.head.0,
        }
    }
}

impl TryFrom<pb::Conversation> for Conversation {
    type Error = Malformed;

    fn try_from(conversation: pb::Conversation) -> Result<Self, Malformed> {
        Ok(Self {
            id: ConversationId(conversation.id),
            peer: required(conversation.peer, "conversation.peer")?,
            head: Seq(conversation.head),
        })
    }
}

/// A contact as a list shows it, with whether the contact has a session now.
#[must_use]
pub fn contact(contact: Contact, online: bool) -> pb::Contact {
    pb::Contact {
        profile: Some(contact.profile.into()),
        remark: contact.remark.as_str().to_owned(),
        conversation: contact.conversation.0,
        since_ms: contact.since.0,
        online,
    }
}

impl TryFrom<pb::Contact> for Contact {
    type Error = Malformed;

    fn try_from(contact: pb::Contact) -> Result<Self, Malformed> {
        Ok(Self {
            profile: required(contact.profile, "contact.profile")?,
            remark: Note::parse(contact.remark).map_err(Malformed::text("contact.remark"))?,
            conversation: ConversationId(contact.conversation),
            since: Timestamp(contact.since_ms),
        })
    }
}

impl From<ContactRequest> for pb::ContactRequest {
    fn from(request: ContactRequest) -> Self {
        Self {
            profile: Some(request.profile.into()),
            incoming: request.incoming,
            greeting: request.greeting.as_str().to_owned(),
            at_ms: request.at.0,
        }
    }
}

impl TryFrom<pb::ContactRequest> for ContactRequest {
    type Error = Malformed;

    fn try_from(request: pb::ContactRequest) -> Result<Self, Malformed> {
        Ok(Self {
            profile: required(request.profile, "request.profile")?,
            incoming: request.incoming,
            greeting: Note::parse(request.greeting).map_err(Malformed::text("request.greeting"))?,
            at: Timestamp(request.at_ms),
        })
    }
}

fn required(profile: Option<pb::Profile>, field: &'static str) -> Result<Profile, Malformed> {
    profile.ok_or_else(|| Malformed::missing(field))?.try_into()
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use skein_core::limit::{
        CONTACTS_MAX, CURSORS_MAX, NAME_CHARS_MAX, NOTE_BYTES_MAX, PENDING_REQUESTS_MAX,
    };

    use super::*;
    use crate::frame::SERVER_FRAME_BYTES_MAX;

    #[test]
    fn the_longest_lists_fit_a_frame_of_a_server() {
        // Letters of four bytes, and numbers that no service will reach.
        let name = Username::parse("𠀀".repeat(NAME_CHARS_MAX)).expect("a name");
        let note = Note::parse("x".repeat(NOTE_BYTES_MAX)).expect("a note");
        let (id, head, at) = (ConversationId(1 << 48), Seq(1 << 48), Timestamp(1 << 48));
        let profile = Profile { id: AccountId(1 << 48), name };
        let one =
            Contact { profile: profile.clone(), remark: note.clone(), conversation: id, since: at };
        let contacts = pb::Contacts { contacts: vec![contact(one, true); CONTACTS_MAX] };
        let request =
            ContactRequest { profile: profile.clone(), incoming: true, greeting: note, at };
        let requests = pb::ContactRequests { requests: vec![request.into(); PENDING_REQUESTS_MAX] };
        let conversation = Conversation { id, peer: profile, head };
        let welcome = pb::Welcome {
            account: 1 << 48,
            name: "𠀀".repeat(NAME_CHARS_MAX),
            heads: vec![pb::Cursor { log: id.0, seq: head.0 }; CURSORS_MAX],
            conversations: vec![conversation.into(); CONTACTS_MAX],
        };
        // The reply around a list takes some bytes, too.
        let room = SERVER_FRAME_BYTES_MAX - 64;
        for bytes in [contacts.encoded_len(), requests.encoded_len(), welcome.encoded_len()] {
            assert!(bytes <= room, "{bytes}");
        }
    }
}
