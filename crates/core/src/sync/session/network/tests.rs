//! Walks a session through changes of network: what moves, what is proved, what is raced.

use std::time::Duration;

use super::*;
use crate::{
    entry::Entry,
    id::{ConversationId, EntryId},
    sync::{
        CloseReason, Standing,
        session::tests::{draft, effects, live, signs, text},
    },
};

/// A live session whose round trip is known to be 100 ms.
fn session(drafts: u8) -> Session {
    let mut session = live(drafts, &[]);
    session.handle_listened(signs(true), Timestamp(0));
    effects(&mut session);
    session
}

#[test]
fn a_path_that_answers_is_used_and_nothing_else_happens() {
    let mut session = session(1);
    session.handle_network_changed(Timestamp(1_000));
    assert_eq!(effects(&mut session), ["move"]);
    session.handle_timeout(Timestamp(1_200));
    assert_eq!(effects(&mut session), ["listen"]);
    session.handle_listened(signs(true), Timestamp(1_200));
    session.handle_timeout(Timestamp(1_400));
    assert_eq!(effects(&mut session), ["listen"]);
    assert!(matches!(session.standing(), Standing::Online { .. }));
}

#[test]
fn a_path_that_does_not_answer_is_raced_and_the_first_that_works_wins() {
    for the_old_one_wins in [true, false] {
        let mut session = session(0);
        session.enqueue(draft(1), Timestamp(1_000)).unwrap();
        session.handle_network_changed(Timestamp(1_000));
        session.handle_timeout(Timestamp(1_200));
        session.handle_listened(signs(false), Timestamp(1_200));
        effects(&mut session);
        // Three round trips and a tenth of a second after the change.
        assert_eq!(session.poll_timeout(Timestamp(1_200)), Some(Timestamp(1_400)));
        session.handle_timeout(Timestamp(1_400));
        session.handle_listened(signs(false), Timestamp(1_400));
        assert_eq!(effects(&mut session), ["listen", "probe", "dial beside first"]);
        assert_eq!(session.standing(), Standing::Reconnecting { lost: false });
        session.handle_beside_dialed(Timestamp(1_450));
        assert_eq!(effects(&mut session), ["hello beside 1"]);
        if the_old_one_wins {
            session.handle_listened(signs(true), Timestamp(1_460));
            assert_eq!(effects(&mut session), ["hangup beside"]);
            let appended = Entry { id: EntryId([1; 16]), ..text(1) };
            session.handle_appended(ConversationId(7), appended, Timestamp(1_470));
            assert_eq!(effects(&mut session), ["acked 1 1", "store conversation/7 1"]);
        } else {
            session.handle_beside_welcome([], Timestamp(1_460));
            assert_eq!(effects(&mut session), ["switch", "send 1"]);
        }
        assert!(matches!(session.standing(), Standing::Online { .. }));
    }
}

#[test]
fn an_interface_that_comes_and_goes_moves_the_session_twice_a_second_at_most() {
    let mut session = session(0);
    let mut moves = Vec::new();
    for now in (1_000..4_000).step_by(10) {
        let now = Timestamp(now);
        session.handle_network_changed(now);
        session.handle_timeout(now);
        if effects(&mut session).contains(&"move".to_owned()) {
            moves.push(now);
        }
        session.handle_listened(signs(true), now);
    }
    assert_eq!(moves.len(), 6, "{moves:?}");
    assert_eq!(moves[0], Timestamp(1_000), "the first at once");
    // What changed last counts, though nothing follows.
    assert_eq!(session.move_due(), Some(Timestamp(4_000)));
    session.handle_timeout(Timestamp(4_000));
    assert!(effects(&mut session).contains(&"move".to_owned()));
    assert_eq!(session.move_due(), None);
}

#[test]
fn where_the_address_of_the_server_is_out_of_reach_another_is_tried_at_once() {
    let mut session = session(0);
    session.handle_stranded(Timestamp(1_000));
    assert_eq!(effects(&mut session), ["dial beside first"]);
    assert_eq!(session.standing(), Standing::Reconnecting { lost: false });
    assert!(session.speaks_early());
    // A way comes back, and the connection is as it was.
    session.handle_listened(signs(true), Timestamp(1_100));
    assert_eq!(effects(&mut session), ["hangup beside"]);
    assert!(matches!(session.standing(), Standing::Online { .. }));
    // One that comes and goes is no reason to dial each time.
    session.handle_stranded(Timestamp(1_200));
    assert!(effects(&mut session).is_empty());
    session.handle_stranded(Timestamp(1_500));
    assert_eq!(effects(&mut session), ["dial beside first"]);
    session.handle_beside_dialed(Timestamp(1_550));
    session.handle_beside_welcome([], Timestamp(1_600));
    assert_eq!(effects(&mut session), ["hello beside 1", "switch"]);
    // Without a connection there is nothing to leave.
    session.handle_closed(&CloseReason::Lost, Timestamp(2_000));
    effects(&mut session);
    session.handle_stranded(Timestamp(3_000));
    assert!(effects(&mut session).is_empty());
}

#[test]
fn whoever_looks_does_not_wait_for_the_next_attempt_beside_a_silent_path() {
    let mut session = session(0);
    session.handle_stranded(Timestamp(1_000));
    session.handle_beside_closed(&CloseReason::Lost, Timestamp(1_100));
    assert_eq!(session.standing(), Standing::Offline);
    // What is left of the tickets is for another network, or for when somebody asks.
    assert!(!session.speaks_early());
    effects(&mut session);
    session.nudge(Timestamp(1_110));
    assert_eq!(effects(&mut session), ["dial beside first"]);
    assert!(session.speaks_early());
    session.nudge(Timestamp(1_120));
    assert!(effects(&mut session).is_empty(), "it is being made");
}

#[test]
fn whatever_is_being_made_is_made_over_the_new_network() {
    let mut session = session(0);
    session.handle_closed(&CloseReason::Lost, Timestamp(1_000));
    assert_eq!(effects(&mut session), ["lost"]);
    // It does not sit out the wait.
    session.handle_network_changed(Timestamp(1_000));
    assert_eq!(effects(&mut session), ["move", "dial Last"]);
    session.handle_network_changed(Timestamp(2_000));
    assert_eq!(effects(&mut session), ["move", "dial Last"]);
    session.handle_dialed(Timestamp(2_100));
    session.handle_network_changed(Timestamp(3_000));
    assert_eq!(effects(&mut session), ["hello 1", "move", "dial Last"]);
    // A second connection that is on its way begins anew as well.
    session.handle_dialed(Timestamp(3_100));
    session.handle_welcome([], Timestamp(3_200));
    session.dial_beside(crate::sync::Aside::First, false, Timestamp(3_300));
    effects(&mut session);
    session.handle_network_changed(Timestamp(4_000));
    assert_eq!(effects(&mut session), ["move", "hangup beside", "dial beside first"]);
    session.disconnect();
    effects(&mut session);
    session.handle_network_changed(Timestamp(9_000));
    session.handle_timeout(Timestamp(9_000) + Duration::from_secs(1));
    assert!(effects(&mut session).is_empty());
}
