//! Walks the session through the turns that the simulation would need luck to name.

use super::*;
use crate::{
    entry::{Body, ContactStep, ContactStepKind, Content},
    name::{Note, Text, Username},
    refusal::Code,
    sync::READS_IN_FLIGHT_MAX,
};

const ME: AccountId = AccountId(1);
const PERSONAL: LogId = LogId::Personal(ME);

fn session(drafts: u8) -> Session {
    let drafts = (1..=drafts).map(draft).collect();
    let start = Start { account: ME, cursors: Vec::new(), drafts, history_entries: 10, seed: 1 };
    Session::new(start).unwrap()
}

pub(super) fn live(drafts: u8, heads: &[(LogId, u64)]) -> Session {
    let mut session = session(drafts);
    session.connect();
    session.handle_dialed(Timestamp(0));
    session.handle_welcome(heads.iter().map(|(log, seq)| (*log, Seq(*seq))), Timestamp(0));
    session
}

pub(super) fn draft(number: u8) -> Draft {
    let content = Content::Text(Text::parse("x").unwrap());
    Draft { conversation: ConversationId(7), id: EntryId([number; 16]), content }
}

fn entry(seq: u64, body: Body) -> Entry {
    Entry { seq: Seq(seq), id: EntryId([seq as u8; 16]), author: ME, at: Timestamp(0), body }
}

pub(super) fn text(seq: u64) -> Entry {
    entry(seq, Body::Text(Text::parse("x").unwrap()))
}

pub(super) fn conversation(number: u64) -> LogId {
    LogId::Conversation(ConversationId(number))
}

/// The effects so far, in words short enough for a table.
pub(super) fn effects(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.poll_effect())
        .filter(|effect| *effect != Effect::StateChanged)
        .map(|effect| match effect {
            Effect::Dial { target } => format!("dial {target:?}"),
            Effect::SendHello { cursors } => format!("hello {}", cursors.len()),
            Effect::SendDraft(draft) => format!("send {}", draft.id.0[0]),
            Effect::ReadLog { log, after, .. } => format!("read {log} {after}"),
            Effect::Store { log, entry } => format!("store {log} {}", entry.seq),
            Effect::Acked { id, seq, .. } => format!("acked {} {seq}", id.0[0]),
            Effect::Rejected { id, refusal } => format!("rejected {} {}", id.0[0], refusal.code),
            Effect::Hangup => "hangup".to_owned(),
            Effect::Lost(_) => "lost".to_owned(),
            Effect::Stopped(_) => "stopped".to_owned(),
            Effect::Listen => "listen".to_owned(),
            Effect::Move => "move".to_owned(),
            Effect::Probe => "probe".to_owned(),
            Effect::DialBeside { to: Aside::Node(node) } => format!("dial beside {}", node.name),
            Effect::DialBeside { to } => format!("dial beside {to:?}").to_lowercase(),
            Effect::SendHelloBeside { cursors } => format!("hello beside {}", cursors.len()),
            Effect::Switch => "switch".to_owned(),
            Effect::HangupBeside => "hangup beside".to_owned(),
            Effect::StateChanged => unreachable!("filtered above"),
        })
        .collect()
}

/// What is found where nothing was sent and the round trip is short.
pub(super) fn signs(heard: bool) -> Signs {
    Signs { heard, asked: false, worked: false, round_trip: Duration::from_millis(100) }
}

#[test]
fn connects_reads_what_is_missing_and_sends_what_waits() {
    let mut session = live(2, &[(PERSONAL, 3), (conversation(7), 25)]);
    assert_eq!(
        effects(&mut session),
        ["dial Last", "hello 1", "send 1", "send 2", "read personal/1 0", "read conversation/7 15",]
    );
    let page = (16..=25).map(text).collect();
    session.handle_page(conversation(7), Seq(15), page, Seq(25), Timestamp(1));
    assert_eq!(effects(&mut session).len(), 10);
    session.handle_appended(
        ConversationId(7),
        Entry { id: EntryId([1; 16]), ..text(26) },
        Timestamp(2),
    );
    assert_eq!(effects(&mut session), ["acked 1 26", "store conversation/7 26"]);
    session.handle_refused(EntryId([2; 16]), Refusal::new(Code::NotContacts, "no"), Timestamp(3));
    assert_eq!(effects(&mut session), ["rejected 2 not_contacts"]);
    assert!(session.outbox().is_empty());
}

#[test]
fn what_a_close_means() {
    let message = || "because".to_owned();
    for (reason, expected) in [
        (CloseReason::Kicked { message: message() }, "stopped"),
        (CloseReason::Unauthorised { message: message() }, "stopped"),
        (CloseReason::Protocol { message: message() }, "stopped"),
        (CloseReason::Draining, "lost"),
        (CloseReason::Behind, "lost"),
        (CloseReason::Overloaded, "lost"),
        (CloseReason::Internal, "lost"),
        (CloseReason::TimedOut, "lost"),
        (CloseReason::Unavailable, "lost"),
        (CloseReason::Normal, "lost"),
        (CloseReason::Lost, "lost"),
    ] {
        let mut session = live(1, &[]);
        effects(&mut session);
        session.handle_closed(&reason, Timestamp(1));
        assert_eq!(effects(&mut session), [expected], "{reason:?}");
        // A stopped session does nothing any more, whatever it is told.
        session.connect();
        session.nudge(Timestamp(0));
        session.handle_timeout(Timestamp(1_000_000));
        session.handle_dialed(Timestamp(1_000_000));
        let dialed = !effects(&mut session).is_empty();
        assert_eq!(dialed, expected == "lost", "{reason:?}");
        assert_eq!(session.poll_timeout(Timestamp(0)).is_some(), expected == "lost");
    }
}

#[test]
fn the_backoff_grows_until_a_connection_was_steady() {
    let mut session = live(0, &[]);
    let mut now = Timestamp(0);
    for failures in 1..=5 {
        session.handle_closed(&CloseReason::Lost, now);
        assert_eq!(session.backoff.failures(), failures);
        now = session.poll_timeout(now).unwrap();
        session.handle_timeout(now);
        session.handle_dialed(now);
        session.handle_welcome([], now);
    }
    session.handle_closed(&CloseReason::Lost, now + STEADY_AFTER);
    assert_eq!(session.backoff.failures(), 1);
}

#[test]
fn gives_up_on_a_silent_server() {
    let mut session = session(1);
    session.connect();
    session.handle_dialed(Timestamp(0));
    effects(&mut session);
    assert_eq!(session.poll_timeout(Timestamp(0)), Some(Timestamp(15_000)));
    session.handle_timeout(Timestamp(15_000));
    assert_eq!(effects(&mut session), ["hangup", "lost"]);

    let mut session = live(1, &[]);
    effects(&mut session);
    session.handle_timeout(Timestamp(29_999));
    assert_eq!(effects(&mut session), ["listen"]);
    assert_eq!(session.poll_timeout(Timestamp(29_999)), Some(Timestamp(30_000)));
    session.handle_timeout(Timestamp(30_000));
    assert_eq!(effects(&mut session), ["hangup", "lost"]);
    // An idle session owes nothing and is owed nothing.
    let mut idle = live(0, &[]);
    effects(&mut idle);
    idle.handle_timeout(Timestamp(1_000_000));
    assert_eq!(effects(&mut idle), ["listen"]);
}

#[test]
fn follows_a_conversation_that_an_acceptance_names() {
    let mut session = live(0, &[(PERSONAL, 0)]);
    effects(&mut session);
    let step = ContactStep {
        kind: ContactStepKind::Accepted,
        peer: AccountId(2),
        peer_name: Username::parse("bob").unwrap(),
        by_me: false,
        note: Note::parse("").unwrap(),
        conversation: Some(ConversationId(9)),
    };
    session.handle_entry(PERSONAL, entry(1, Body::Contact(step)), Timestamp(1));
    assert_eq!(effects(&mut session), ["store personal/1 1", "read conversation/9 0"]);
    assert!(!session.is_caught_up());
    session.handle_page(conversation(9), Seq(0), vec![text(1)], Seq(1), Timestamp(2));
    assert_eq!(effects(&mut session), ["store conversation/9 1"]);
    assert!(session.is_caught_up());
}

#[test]
fn reads_a_few_logs_at_a_time() {
    let heads: Vec<_> = (1..=20).map(|number| (conversation(number), 1)).collect();
    let mut session = live(0, &heads);
    let reads = |session: &mut Session| {
        effects(session).iter().filter(|effect| effect.starts_with("read")).count()
    };
    assert_eq!(reads(&mut session), READS_IN_FLIGHT_MAX);
    session.handle_page(conversation(1), Seq(0), vec![text(1)], Seq(1), Timestamp(1));
    assert_eq!(reads(&mut session), 1);
    let busy = Refusal::limited("slower", Duration::from_secs(1));
    session.handle_page_refused(conversation(2), Seq(0), &busy, Timestamp(1));
    session.handle_page(conversation(3), Seq(0), vec![text(1)], Seq(1), Timestamp(1));
    assert_eq!(reads(&mut session), 0);
    session.handle_timeout(Timestamp(1_000));
    assert_eq!(reads(&mut session), 0);
    assert_eq!(session.poll_timeout(Timestamp(1_000)), Some(Timestamp(1_001)));
    session.handle_timeout(Timestamp(1_001));
    assert_eq!(reads(&mut session), 2);
    session.handle_page_refused(conversation(4), Seq(0), &Refusal::not_found("log"), Timestamp(2));
    assert_eq!(session.cursor(conversation(4)), None);
}

#[test]
fn a_nudge_cuts_a_wait_short() {
    let mut session = live(0, &[]);
    session.handle_closed(&CloseReason::Lost, Timestamp(0));
    effects(&mut session);
    session.nudge(Timestamp(0));
    assert_eq!(effects(&mut session), ["dial Last"]);
    session.disconnect();
    assert_eq!(effects(&mut session), ["hangup"]);
    assert_eq!(*session.link(), Link::Idle);
}
