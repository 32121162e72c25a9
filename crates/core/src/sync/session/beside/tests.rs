//! Walks the session through its moves: what it asks of its shell, turn by turn.

use super::*;
use crate::{
    entry::Entry,
    id::{AccountId, ConversationId, EntryId},
    port::directory::Trust,
    sync::session::tests::{conversation, draft, effects, live, signs, text},
};

const PERSONAL: LogId = LogId::Personal(AccountId(1));

fn node(name: &str) -> ChatNode {
    let trust = Trust::Authority { server_name: name.into() };
    ChatNode { name: name.into(), address: format!("{name}:1"), trust }
}

/// A live session with so many drafts in flight, which was told to move.
fn moving(drafts: u8) -> Session {
    let mut session = live(drafts, &[(PERSONAL, 0)]);
    effects(&mut session);
    session.handle_moving(node("b"), Timestamp(10));
    assert_eq!(effects(&mut session), ["dial beside b"]);
    session
}

#[test]
fn moves_without_a_moment_offline_and_sends_again_what_has_no_answer() {
    let mut session = moving(3);
    // The first connection goes on as if nothing were.
    session.enqueue(draft(4), Timestamp(11)).unwrap();
    let appended = Entry { id: EntryId([1; 16]), ..text(1) };
    session.handle_appended(ConversationId(7), appended, Timestamp(12));
    // The conversation is new to this device: its past is read.
    let said = effects(&mut session);
    assert_eq!(said, ["send 4", "acked 1 1", "store conversation/7 1"]);
    session.handle_moving(node("c"), Timestamp(13));
    session.handle_beside_dialed(Timestamp(14));
    assert_eq!(effects(&mut session), ["hello beside 2"]);
    assert!(matches!(session.link(), Link::Live { .. }));

    session.handle_beside_welcome([(conversation(7), Seq(2))], Timestamp(15));
    let said = effects(&mut session);
    assert_eq!(said, ["switch", "send 2", "send 3", "send 4", "read conversation/7 1"]);
    assert_eq!(*session.link(), Link::Live { since: Timestamp(15) });
    // What comes twice is stored once.
    session.handle_entry(conversation(7), text(2), Timestamp(16));
    session.handle_entry(conversation(7), text(2), Timestamp(17));
    assert_eq!(effects(&mut session), ["store conversation/7 2"]);
}

#[test]
fn stays_where_it_is_if_the_named_node_does_not_take_it() {
    let mut session = moving(1);
    session.handle_beside_closed(&CloseReason::Lost, Timestamp(20));
    assert!(effects(&mut session).is_empty());
    assert!(matches!(session.link(), Link::Live { .. }));
    session.handle_closed(&CloseReason::Draining, Timestamp(30));
    assert_eq!(effects(&mut session), ["lost"]);
    let due = session.poll_timeout(Timestamp(30)).unwrap();
    session.handle_timeout(due);
    assert_eq!(effects(&mut session), ["dial Named"]);
    // It never waits for a node that neither answers nor refuses.
    let mut session = moving(0);
    session.handle_timeout(Timestamp(10) + WELCOME_TIMEOUT);
    assert_eq!(effects(&mut session), ["hangup beside", "listen"]);
}

#[test]
fn the_second_connection_takes_over_from_one_that_ends() {
    let mut session = moving(1);
    session.handle_closed(&CloseReason::Draining, Timestamp(20));
    assert_eq!(effects(&mut session), ["switch"]);
    assert_eq!(*session.link(), Link::Connecting);
    session.handle_dialed(Timestamp(21));
    session.handle_welcome([], Timestamp(22));
    assert_eq!(effects(&mut session), ["hello 1", "send 1"]);

    let mut session = moving(1);
    session.handle_beside_dialed(Timestamp(20));
    session.handle_closed(&CloseReason::Lost, Timestamp(21));
    assert_eq!(effects(&mut session), ["hello beside 1", "switch"]);
    assert_eq!(*session.link(), Link::AwaitingWelcome { since: Timestamp(20) });
    session.handle_welcome([], Timestamp(22));
    assert_eq!(effects(&mut session), ["send 1"]);
}

#[test]
fn what_ends_the_session_ends_both() {
    let message = || "because".to_owned();
    let mut session = moving(0);
    session.handle_closed(&CloseReason::Kicked { message: message() }, Timestamp(20));
    assert_eq!(effects(&mut session), ["hangup beside", "stopped"]);
    let mut session = moving(0);
    session.handle_beside_closed(&CloseReason::Unauthorised { message: message() }, Timestamp(20));
    assert_eq!(effects(&mut session), ["hangup", "stopped"]);
    let mut session = moving(0);
    session.disconnect();
    assert_eq!(effects(&mut session), ["hangup beside", "hangup"]);
    // Late answers find nobody.
    session.handle_beside_dialed(Timestamp(21));
    session.handle_beside_welcome([], Timestamp(21));
    session.handle_beside_closed(&CloseReason::Lost, Timestamp(21));
    session.handle_listened(signs(false), Timestamp(99_999));
    assert!(effects(&mut session).is_empty());
}

#[test]
fn asks_for_another_node_where_the_hello_is_not_answered() {
    let mut session = live(0, &[(PERSONAL, 0)]);
    session.handle_closed(&CloseReason::Lost, Timestamp(0));
    let due = session.poll_timeout(Timestamp(0)).unwrap();
    session.handle_timeout(due);
    assert_eq!(effects(&mut session).last().unwrap(), "dial Last");
    session.handle_dialed(due);
    let due = session.poll_timeout(due).unwrap();
    session.handle_timeout(due);
    let due = session.poll_timeout(due).unwrap();
    session.handle_timeout(due);
    assert_eq!(effects(&mut session).last().unwrap(), "dial Other");
    session.handle_dialed(due);
    session.handle_welcome([(PERSONAL, Seq(0))], due);
    session.handle_closed(&CloseReason::Lost, due);
    let due = session.poll_timeout(due).unwrap();
    session.handle_timeout(due);
    assert_eq!(effects(&mut session).last().unwrap(), "dial Last");
}
