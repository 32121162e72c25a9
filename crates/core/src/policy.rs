//! Who may do what. The one place where it is decided (invariant 7): callers gather the facts from
//! the session and the store, never from a field that the client wrote, and ask here.

use crate::{
    contact::Relation,
    refusal::{Code, Refusal},
};

/// What an account is to a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// A member who may speak: in a direct conversation, the two are contacts.
    Active,
    /// A member of a direct conversation whose two sides are contacts no longer.
    Dormant,
    /// Not a member.
    Outsider,
}

/// What an account is to a completed blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobStanding {
    /// The account uploaded it.
    pub uploader: bool,
    /// The account is a member of a conversation with an entry that refers to it.
    pub shared_with: bool,
}

/// May the account append to the conversation?
///
/// # Errors
/// [`Code::NotContacts`] to a dormant member; [`Code::NotFound`] to an outsider, who must not learn
/// that the conversation exists.
pub fn may_append(membership: Membership) -> Result<(), Refusal> {
    match membership {
        Membership::Active => Ok(()),
        Membership::Dormant => Err(Refusal::new(
            Code::NotContacts,
            "you are not contacts any more; send a contact request first",
        )),
        Membership::Outsider => Err(Refusal::not_found("conversation")),
    }
}

/// May the account read the conversation's log? Members may, also when it is dormant.
///
/// # Errors
/// [`Code::NotFound`] to an outsider.
pub fn may_read(membership: Membership) -> Result<(), Refusal> {
    match membership {
        Membership::Active | Membership::Dormant => Ok(()),
        Membership::Outsider => Err(Refusal::not_found("conversation")),
    }
}

/// May the account read the blob, or refer to it in a message? Its uploader may, and members of a
/// conversation that refers to it.
///
/// # Errors
/// [`Code::NotFound`] to anyone else.
pub fn may_read_blob(standing: BlobStanding) -> Result<(), Refusal> {
    if standing.uploader || standing.shared_with { Ok(()) } else { Err(Refusal::not_found("file")) }
}

/// May the account know of a file that is being sent to the conversation, and take its bytes before
/// the message that shows it is there? Whoever could get that message may.
///
/// # Errors
/// [`Code::NotFound`] to anyone else: nothing is coming where nothing can be written any more.
pub fn may_follow(membership: Membership) -> Result<(), Refusal> {
    match membership {
        Membership::Active => Ok(()),
        Membership::Dormant | Membership::Outsider => Err(Refusal::not_found("file")),
    }
}

/// May the account ask another to become contacts? Asking again while a request waits is a retry.
///
/// # Errors
/// [`Code::Invalid`] for oneself, [`Code::AlreadyContacts`] for a contact.
pub fn may_request(relation: Relation) -> Result<(), Refusal> {
    match relation {
        Relation::Stranger | Relation::AskedThem | Relation::AskedByThem => Ok(()),
        Relation::Oneself => {
            Err(Refusal::new(Code::Invalid, "you cannot be a contact of yourself"))
        }
        Relation::Contact => Err(Refusal::new(Code::AlreadyContacts, "you are contacts already")),
    }
}

/// May the account answer the other's request?
///
/// # Errors
/// [`Code::AlreadyContacts`] for a contact, [`Code::NotFound`] if the other has not asked.
pub fn may_answer(relation: Relation) -> Result<(), Refusal> {
    match relation {
        Relation::AskedByThem => Ok(()),
        Relation::Contact => Err(Refusal::new(Code::AlreadyContacts, "you are contacts already")),
        Relation::Oneself | Relation::AskedThem | Relation::Stranger => {
            Err(Refusal::not_found("contact request"))
        }
    }
}

/// May the account remove the other from its contacts?
///
/// # Errors
/// [`Code::NotContacts`] unless they are contacts.
pub fn may_remove(relation: Relation) -> Result<(), Refusal> {
    match relation {
        Relation::Contact => Ok(()),
        Relation::Oneself | Relation::AskedThem | Relation::AskedByThem | Relation::Stranger => {
            Err(Refusal::new(Code::NotContacts, "you are not contacts"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_what() {
        use Membership::{Active, Dormant, Outsider};
        use Relation::{AskedByThem, AskedThem, Contact, Oneself, Stranger};

        let code = |result: Result<(), Refusal>| result.err().map(|refusal| refusal.code);
        for (membership, append, read, follow) in [
            (Active, None, None, None),
            (Dormant, Some(Code::NotContacts), None, Some(Code::NotFound)),
            (Outsider, Some(Code::NotFound), Some(Code::NotFound), Some(Code::NotFound)),
        ] {
            assert_eq!(code(may_append(membership)), append);
            assert_eq!(code(may_read(membership)), read);
            assert_eq!(code(may_follow(membership)), follow);
        }
        for (relation, request, answer, remove) in [
            (Oneself, Some(Code::Invalid), Some(Code::NotFound), Some(Code::NotContacts)),
            (Contact, Some(Code::AlreadyContacts), Some(Code::AlreadyContacts), None),
            (AskedThem, None, Some(Code::NotFound), Some(Code::NotContacts)),
            (AskedByThem, None, None, Some(Code::NotContacts)),
            (Stranger, None, Some(Code::NotFound), Some(Code::NotContacts)),
        ] {
            assert_eq!(code(may_request(relation)), request);
            assert_eq!(code(may_answer(relation)), answer);
            assert_eq!(code(may_remove(relation)), remove);
        }
        for (uploader, shared_with) in [(true, false), (false, true), (true, true)] {
            assert_eq!(code(may_read_blob(BlobStanding { uploader, shared_with })), None);
        }
        let stranger = BlobStanding { uploader: false, shared_with: false };
        assert_eq!(code(may_read_blob(stranger)), Some(Code::NotFound));
    }
}
