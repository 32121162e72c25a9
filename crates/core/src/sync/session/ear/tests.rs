//! Walks the ear through silence, slowness and signs of life, in virtual time.

use super::*;
use crate::{
    entry::Entry,
    id::{AccountId, ConversationId, EntryId, LogId, Seq},
    sync::{
        CloseReason,
        session::tests::{conversation, draft, effects, live, signs, text},
    },
};

const PERSONAL: LogId = LogId::Personal(AccountId(1));
const TRIP: Duration = Duration::from_millis(100);
const NOTHING: Signs = Signs { heard: false, asked: false, worked: false, round_trip: TRIP };
/// A keep-alive or a probe, and no answer.
const ASKED: Signs = Signs { asked: true, ..NOTHING };
/// A stream has moved.
const SENT: Signs = Signs { worked: true, ..ASKED };
const HEARD: Signs = Signs { heard: true, ..NOTHING };
const ONLINE: Standing = Standing::Online { caught_up: true };

/// Lets time pass, with what each look finds. Answers when what was asked for, but looks.
fn pass(
    session: &mut Session,
    until: u64,
    now: &mut u64,
    find: impl Fn(u64) -> Signs,
) -> Vec<(u64, String)> {
    let mut said = Vec::new();
    while let Some(due) = session.poll_timeout(Timestamp(*now)) {
        if due.0.max(*now) > until {
            break;
        }
        assert!(due.0 > *now || *now == 0 || due.0 >= 1, "time stands still at {now}");
        *now = due.0.max(*now);
        session.handle_timeout(Timestamp(*now));
        for effect in effects(session) {
            if effect == "listen" {
                session.handle_listened(find(*now), Timestamp(*now));
                said.extend(effects(session).into_iter().map(|effect| (*now, effect)));
            } else {
                said.push((*now, effect));
            }
        }
    }
    *now = until;
    said
}

fn first(said: &[(u64, String)], what: &str) -> Option<u64> {
    said.iter().find(|(_, effect)| effect == what).map(|(at, _)| *at)
}

/// A live session that owes and is owed nothing, and what it has said is forgotten.
fn idle() -> Session {
    let mut session = live(0, &[]);
    effects(&mut session);
    session
}

#[test]
fn knows_of_silence_within_three_round_trips_and_a_second_while_something_is_sent() {
    // A request without an answer, and an upload, which only its packets tell of.
    let asked = live(1, &[]);
    let uploading = idle();
    for (name, mut session, last_heard) in
        [("asked", asked, 0), ("uploading", uploading, 0), ("later", idle(), 20_000)]
    {
        effects(&mut session);
        let mut now = 0;
        let sent = if name == "asked" { NOTHING } else { SENT };
        let limit = last_heard + if name == "uploading" { 2_300 } else { 1_300 };
        let said = pass(&mut session, limit, &mut now, |at| {
            if at <= last_heard { Signs { heard: true, ..sent } } else { sent }
        });
        let at = first(&said, "dial beside first").expect("it is noticed in time");
        assert!(first(&said, "probe").unwrap() < at, "{name}: asked first");
        assert_eq!(session.standing(), Standing::Reconnecting { lost: false }, "{name}");
    }
}

#[test]
fn knows_of_silence_as_soon_while_something_is_only_fetched() {
    let mut session = idle();
    let (mut now, fetched_until) = (0, 20_000);
    let fetched = Signs { worked: true, ..HEARD };
    let said = pass(&mut session, fetched_until, &mut now, |_| fetched);
    assert_eq!(said, []);
    let said = pass(&mut session, fetched_until + 1_300, &mut now, |_| NOTHING);
    let at = first(&said, "dial beside first").expect("it is noticed in time");
    assert!(first(&said, "probe").unwrap() < at, "asked first");
    // One that has ended is asked after once, and is then idle.
    let mut session = idle();
    now = 0;
    pass(&mut session, 5_000, &mut now, |_| fetched);
    let find = |at| if at < 5_600 { NOTHING } else { HEARD };
    let said = pass(&mut session, 12_000, &mut now, find);
    assert!(matches!(&said[..], [(at, what)] if *at < 5_600 && what == "probe"), "{said:?}");
}

#[test]
fn a_server_that_acknowledges_and_does_not_answer_is_slow_and_not_gone() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let mut now = 0;
    assert_eq!(pass(&mut session, 1_000, &mut now, |_| HEARD), []);
    assert_eq!(session.standing(), Standing::Online { caught_up: true });
    assert_eq!(pass(&mut session, 1_500, &mut now, |_| HEARD), []);
    assert_eq!(session.standing(), Standing::Slow { caught_up: true });
    let appended = Entry { id: EntryId([1; 16]), ..text(1) };
    session.handle_appended(ConversationId(7), appended, Timestamp(1_500));
    assert!(matches!(session.standing(), Standing::Online { .. }));
}

#[test]
fn a_busy_server_is_asked_for_a_sign_before_it_is_taken_for_gone() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let mut now = 0;
    // Nothing comes by itself, but each probe is acknowledged.
    let probes = std::cell::Cell::new(0);
    let said = pass(&mut session, 5_000, &mut now, |at| {
        let heard = at >= probes.get() + 500;
        if heard {
            probes.set(at);
        }
        Signs { heard, ..NOTHING }
    });
    assert!(said.len() > 2 && said.iter().all(|(_, effect)| effect == "probe"), "{said:?}");
}

#[test]
fn a_sign_of_life_makes_the_second_connection_needless_unless_it_is_wanted() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let mut now = 0;
    let said = pass(&mut session, 1_100, &mut now, |_| NOTHING);
    assert_eq!(first(&said, "dial beside first"), Some(1_050));
    session.handle_listened(HEARD, Timestamp(1_100));
    assert_eq!(effects(&mut session), ["hangup beside"]);
    assert_eq!(session.standing(), ONLINE);
}

/// When a silent path was probed, and for how long the connection was kept.
fn probes(session: &mut Session, until: u64) -> Vec<u64> {
    // What asks for a sign of life shows among what was sent.
    let said = pass(session, until, &mut 0, |_| ASKED);
    said.iter().filter(|(_, what)| what == "probe").map(|(at, _)| *at).collect()
}

#[test]
fn probes_a_silent_path_four_times_a_round_trip_while_something_waits_and_for_two_minutes() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let probes = probes(&mut session, 300_000);
    let gap = |pair: &[u64]| (pair[0], pair[1] - pair[0]);
    let gaps: Vec<_> = probes.windows(2).skip(1).map(gap).collect();
    let often = |at| at < 120_000;
    assert!(gaps.iter().all(|(at, gap)| !often(*at) || *gap == 25), "{gaps:?}");
    assert!(gaps.iter().all(|(at, gap)| often(*at) || *gap == 1_000), "{gaps:?}");
    // Nobody has to have answered meanwhile: the connection is still there.
    assert!(matches!(session.link(), Link::Live { .. }));
}

#[test]
fn a_stream_that_tries_to_move_waits_as_a_request_does() {
    let mut session = idle();
    let said = pass(&mut session, 10_000, &mut 0, |at| if at <= 1_000 { SENT } else { ASKED });
    let probes = said.iter().filter(|(_, what)| what == "probe").count();
    assert!(probes > 100, "{probes}");
}

#[test]
fn a_download_that_was_under_way_waits_and_one_that_is_over_does_not() {
    for (until, waits) in [(4_000, true), (2_000, false)] {
        let mut session = idle();
        let said = pass(&mut session, 15_000, &mut 0, |at| match at {
            0..=4_000 => Signs { worked: at <= until, ..HEARD },
            _ => ASKED,
        });
        let probes = said.iter().filter(|(_, what)| what == "probe").count();
        assert_eq!(probes > 150, waits, "{until}: {probes}");
    }
}

#[test]
fn probes_a_silent_path_seldom_while_nothing_waits() {
    let probes = probes(&mut idle(), 60_000);
    assert!(probes.len() < 160, "{probes:?}");
    let gap = probes.windows(2).skip(1).map(|pair| pair[1] - pair[0]).max();
    assert_eq!(gap, Some(1_000));
}

#[test]
fn a_path_that_falls_silent_gets_another_socket_once() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let mut now = 0;
    let said = pass(&mut session, 20_000, &mut now, |_| NOTHING);
    let moves: Vec<_> = said.iter().filter(|(_, effect)| effect == "move").collect();
    assert_eq!(moves.len(), 1, "{moves:?}");
    assert_eq!(Some(moves[0].0), first(&said, "dial beside first"));
}

#[test]
fn what_was_asked_for_in_a_silence_may_still_be_answered_for_as_long() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let mut now = 0;
    pass(&mut session, 60_000, &mut now, |_| NOTHING);
    session.handle_beside_closed(&CloseReason::Lost, Timestamp(now));
    assert_eq!(session.standing(), Standing::Offline, "the last attempt has failed");
    session.handle_listened(HEARD, Timestamp(now));
    assert_eq!(session.standing(), ONLINE);
    let reply_ms = u64::try_from(crate::sync::REPLY_TIMEOUT.as_millis()).unwrap();
    pass(&mut session, 60_000 + reply_ms - 1, &mut now, |_| HEARD);
    assert!(matches!(session.link(), Link::Live { .. }));
    pass(&mut session, 60_000 + reply_ms, &mut now, |_| HEARD);
    assert!(matches!(session.link(), Link::Waiting { .. }), "it answers nothing");
}

#[test]
fn an_idle_session_notices_within_ten_seconds() {
    let mut session = idle();
    let mut now = 0;
    let said = pass(&mut session, 20_000, &mut now, |at| signs(at <= 2_000));
    assert_eq!(first(&said, "dial beside first"), Some(9_500));
    assert_eq!(session.standing(), Standing::Reconnecting { lost: false });
}

#[test]
fn an_idle_session_asks_for_nothing_and_looks_once_a_second() {
    let mut session = idle();
    let mut now = 0;
    let (looks, kept_alive) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let said = pass(&mut session, 60_000, &mut now, |at| {
        looks.set(looks.get() + 1);
        // Keep-alives and their acknowledgements.
        let alive = at >= kept_alive.get() + 5_000;
        kept_alive.set(if alive { at } else { kept_alive.get() });
        Signs { heard: alive, asked: alive, ..NOTHING }
    });
    assert_eq!(said, []);
    assert!(looks.get() <= 120, "{}", looks.get());
    assert_eq!(session.standing(), ONLINE);
}

#[test]
fn tries_again_after_a_while_and_not_at_once() {
    let mut session = live(1, &[]);
    effects(&mut session);
    let (mut tries, mut now) = (Vec::new(), 0);
    while tries.len() < 6 {
        let until = now + 10;
        let said = pass(&mut session, until, &mut now, |_| NOTHING);
        if first(&said, "dial beside first").is_some() {
            session.handle_beside_closed(&CloseReason::Lost, Timestamp(now));
            tries.push(now);
        }
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
        if effects(&mut session).iter().any(|said| said == "dial beside other") {
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
fn says_how_it_stands() {
    let mut session = live(0, &[(conversation(7), 1)]);
    assert_eq!(session.standing(), Standing::Online { caught_up: false });
    session.handle_page(conversation(7), Seq(0), vec![text(1)], Seq(1), Timestamp(0));
    assert_eq!(session.standing(), ONLINE);
    session.handle_closed(&CloseReason::Lost, Timestamp(10));
    assert_eq!(session.standing(), Standing::Reconnecting { lost: true });
    session.handle_timeout(Timestamp(1_000));
    assert_eq!(session.standing(), Standing::Reconnecting { lost: true });
    session.handle_closed(&CloseReason::Lost, Timestamp(2_000));
    assert_eq!(session.standing(), Standing::Offline);
    // It stays so while others follow, until there is new hope.
    session.handle_timeout(Timestamp(10_000));
    assert_eq!(*session.link(), Link::Connecting);
    assert_eq!(session.standing(), Standing::Offline);
    session.handle_network_changed(Timestamp(10_001));
    assert_eq!(session.standing(), Standing::Reconnecting { lost: true });
    session.disconnect();
    assert_eq!(session.standing(), Standing::Idle);
}
