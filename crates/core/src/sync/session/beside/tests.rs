//! Walks the session through its moves: what it asks of its shell, turn by turn.

use super::*;
use crate::{
    entry::Entry,
    id::{AccountId, ConversationId, EntryId},
    port::directory::Trust,
    sync::session::tests::{conversation, draft, effects, live, text},
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
    session.handle_listened(false, Duration::ZERO, Timestamp(99_999));
    assert!(effects(&mut session).is_empty());
}

/// Listens when it is time to, always with the same result, until something else happens.
fn listen(session: &mut Session, from: u64, heard: bool) -> (u64, Vec<String>) {
    let mut now = Timestamp(from);
    loop {
        now = session.poll_timeout(now).unwrap().max(now);
        session.handle_timeout(now);
        let mut said = effects(session);
        if said == ["listen"] {
            session.handle_listened(heard, Duration::from_millis(100), now);
            said = effects(session);
        }
        if !said.is_empty() {
            return (now.0, said);
        }
    }
}

#[test]
fn looks_for_another_connection_when_a_server_that_owes_something_is_silent() {
    let mut session = live(1, &[]);
    effects(&mut session);
    assert_eq!(listen(&mut session, 0, false), (2_000, vec!["dial beside any".to_owned()]));
    // A sign of life: it is not needed.
    session.handle_listened(true, Duration::ZERO, Timestamp(2_100));
    assert_eq!(effects(&mut session), ["hangup beside"]);
    // One that was asked for goes on whatever is heard.
    session.handle_moving(node("b"), Timestamp(2_200));
    session.handle_listened(true, Duration::ZERO, Timestamp(2_300));
    assert_eq!(effects(&mut session), ["dial beside b"]);
}

#[test]
fn an_idle_session_notices_within_ten_seconds() {
    let mut session = live(0, &[]);
    effects(&mut session);
    // The last sign of life came just after the connection was made, and is noticed now.
    session.handle_timeout(Timestamp(2_500));
    session.handle_listened(true, Duration::ZERO, Timestamp(2_500));
    assert_eq!(effects(&mut session), ["listen"]);
    assert_eq!(listen(&mut session, 2_500, false), (10_000, vec!["dial beside any".to_owned()]));
}

#[test]
fn tries_again_after_a_while_and_not_at_once() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let mut tries = Vec::new();
    let mut now = 0;
    for _ in 0..6 {
        let (at, said) = listen(&mut session, now, false);
        assert_eq!(said, ["dial beside any"]);
        session.handle_beside_closed(&CloseReason::Lost, Timestamp(at));
        tries.push(at);
        now = at;
    }
    assert!(tries[5] - tries[0] > 3_000, "{tries:?}");
}

#[test]
fn leaves_a_node_that_answers_and_does_nothing() {
    let away = || Refusal::new(Code::Unavailable, "away");
    let mut session = live(1, &[(PERSONAL, 0)]);
    effects(&mut session);
    let useless_ms = u64::try_from(USELESS_AFTER.as_millis()).unwrap();
    let mut looks = Vec::new();
    for second in 0..60 {
        let now = Timestamp(second * 1_000);
        session.handle_timeout(now);
        session.handle_refused(EntryId([1; 16]), away(), now);
        if effects(&mut session).iter().any(|said| said.starts_with("dial beside")) {
            looks.push(now);
            session.handle_beside_closed(&CloseReason::Unavailable, now);
        }
    }
    assert!(looks[0] >= Timestamp(useless_ms));
    assert!((1..=2).contains(&looks.len()), "{looks:?}");
    // One that does something in between is not useless.
    session.handle_timeout(Timestamp(200_000));
    let appended = Entry { id: EntryId([1; 16]), ..text(1) };
    session.handle_appended(ConversationId(7), appended, Timestamp(200_000));
    session.enqueue(draft(2), Timestamp(200_000)).unwrap();
    session.handle_refused(EntryId([2; 16]), away(), Timestamp(200_000));
    assert!(!effects(&mut session).iter().any(|said| said.starts_with("dial beside")));
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
