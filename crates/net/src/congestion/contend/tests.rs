//! A contest's rules one by one, on round trips made up for the purpose.

use super::*;

const BUSY: Seen =
    Seen { now: 0.0, rtt: 0.1, wait: 0.05, tolerated: 0.005, rate: 1_000.0, is_loss_a_sign: false };

/// A round trip at a time in which packets waited for so long on a path of 50 ms.
fn seen(now: f64, wait: f64) -> Seen {
    Seen { now, rtt: 0.05 + wait, wait, ..BUSY }
}

/// A contest that began with 100 packets at the time 0, and looks only when it is told to.
fn contest(rivalry: &mut Rivalry) -> Contest {
    let (mut contest, window) = rivalry.enter(0.0, 100.0, None);
    assert_eq!(window, 100.0);
    contest.look_at = f64::INFINITY;
    contest
}

#[test]
fn the_window_grows_with_what_is_acknowledged_and_not_by_leaps() {
    let mut rivalry = Rivalry::new();
    let mut contest = contest(&mut rivalry);
    assert_eq!(contest.on_ack(2.0, 100.0), 100.0);
    // One packet a round trip, as Reno, is the least.
    assert_eq!(contest.step(&mut rivalry, &seen(0.1, 0.05), 100.0), Move::Go(100.0));
    let mut window = 100.0;
    for _ in 0..50 {
        let next = contest.on_ack(2.0, window);
        assert!(next > window && next < window + 0.1, "{next} after {window}");
        window = next;
    }
    assert!((100.9..101.1).contains(&window), "{window}");
}

#[test]
fn a_contest_ends_when_the_queue_is_empty() {
    let mut rivalry = Rivalry::new();
    let mut contest = contest(&mut rivalry);
    assert_eq!(contest.step(&mut rivalry, &seen(1.0, 0.05), 100.0), Move::Go(100.0));
    assert_eq!(contest.step(&mut rivalry, &seen(1.5, 0.002), 101.0), Move::Over(101.0));
    assert_eq!((rivalry.left_at, rivalry.left_window), (1.5, 101.0));
}

#[test]
fn an_empty_queue_after_an_overflow_ends_no_contest() {
    let mut rivalry = Rivalry::new();
    let mut contest = contest(&mut rivalry);
    contest.on_rtt(0.1);
    assert_eq!(contest.on_loss((1.0, 0.9), 0.1, 0.05, 100.0), Some(80.0));
    // Whoever is there has lost as well.
    assert_eq!(contest.step(&mut rivalry, &seen(1.1, 0.001), 80.0), Move::Go(80.0));
    assert_eq!(contest.step(&mut rivalry, &seen(1.6, 0.001), 80.0), Move::Over(80.0));
}

#[test]
fn a_deep_look_gives_the_queue_back_and_takes_it_again() {
    let mut rivalry = Rivalry::new();
    let (mut contest, window) = rivalry.enter(0.0, 100.0, None);
    // Half of the window waits, and half of the rest goes too.
    let looking = [2.1, 2.2, 2.3, 2.4].map(|now| {
        contest.step(&mut rivalry, &seen(now, if now < 2.2 { 0.05 } else { 0.03 }), window)
    });
    assert_eq!(looking[0], Move::Go(25.0));
    assert_eq!(contest.on_ack(2.0, 25.0), 25.0);
    assert_eq!(contest.step(&mut rivalry, &seen(2.5, 0.03), 25.0), Move::Go(100.0));
    assert!(contest.look.is_none() && contest.look_at == 4.5, "{contest:?}");
}

#[test]
fn a_deep_look_at_a_queue_that_empties_leaves_our_share_of_the_path() {
    // (how long packets waited before and after, whether the contest is over)
    for (before, after, is_over) in [
        (0.05, 0.001, true),
        (0.05, 0.004, false),
        // Who is but a small part of the queue sees little of it: the path looks longer to him.
        (0.004, 0.001, false),
    ] {
        let mut rivalry = Rivalry::new();
        let mut contest = contest(&mut rivalry);
        contest.look_at = 2.0;
        let Move::Go(window) = contest.step(&mut rivalry, &seen(2.1, before), 100.0) else {
            panic!("over early")
        };
        let content = 100.0 * (1.0 - before / (0.05 + before));
        assert_eq!(window, DEEP_PART * content);
        let next = contest.step(&mut rivalry, &seen(2.2, after), window);
        let expected = if is_over { Move::Over(content) } else { Move::Go(window) };
        assert_eq!(next, expected, "{after} of {before}");
    }
}

#[test]
fn a_later_look_tells_our_queue_from_that_of_others() {
    for (after, is_over) in [(0.026, true), (0.040, false)] {
        let mut rivalry = Rivalry::new();
        let (mut contest, window) = rivalry.enter(0.0, 100.0, None);
        rivalry.looks = 1;
        let mut step = |now, wait, window| contest.step(&mut rivalry, &seen(now, wait), window);
        // Half the queue of 50 ms, of which half of the window is.
        assert_eq!(step(2.1, 0.05, window), Move::Go(75.0));
        assert_eq!(step(2.2, 0.05, 75.0), Move::Go(75.0));
        let expected = if is_over { Move::Over(50.0) } else { Move::Go(100.0) };
        assert_eq!(step(2.3, after, 75.0), expected, "{after}");
    }
}

#[test]
fn a_dip_is_joined_unless_it_is_ours_or_comes_from_an_overflow() {
    // (waits of two rounds, the longest so far, when we reduced, whether it is joined)
    for (waits, longest, reduced_at, is_look) in [
        ([0.05, 0.03], 0.1, -9.0, true),
        ([0.05, 0.03], 0.1, 5.0, false),
        ([0.05, 0.04], 0.1, -9.0, false),
        // The queue was at its fullest: somebody lost.
        ([0.05, 0.03], 0.05, -9.0, false),
        // But no loss takes this much away.
        ([0.10, 0.04], 0.1, -9.0, true),
    ] {
        let mut rivalry = Rivalry::new();
        let mut contest = contest(&mut rivalry);
        contest.on_rtt(0.05 + longest);
        contest.reduced_at = reduced_at;
        for (now, wait) in [5.1, 5.2].into_iter().zip(waits) {
            assert!(contest.look.is_none());
            contest.step(&mut rivalry, &seen(now, wait), 100.0);
        }
        assert_eq!(contest.look.is_some(), is_look, "{waits:?} of {longest}");
        if is_look {
            contest.look = None;
            contest.step(&mut rivalry, &seen(6.0, 0.05), 100.0);
            contest.step(&mut rivalry, &seen(6.1, 0.02), 100.0);
            assert!(contest.look.is_none(), "joined again at once");
        }
    }
}

#[test]
fn a_contest_that_goes_on_keeps_its_window_and_looks_less_often() {
    let mut rivalry = Rivalry::new();
    let mut first = contest(&mut rivalry);
    assert_eq!(first.step(&mut rivalry, &seen(1.5, 0.0), 102.0), Move::Over(102.0));
    for (look_after, look_at) in [(4.0, 7.0), (8.0, 7.0), (8.0, 7.0)] {
        let (contest, window) = rivalry.enter(3.0, 20.0, Some(20.0));
        assert_eq!((window, rivalry.look_after, contest.look_at), (102.0, look_after, look_at));
        assert!(contest.ramp.is_none());
    }
    rivalry.left_at = -100.0;
    let (contest, window) = rivalry.enter(3.0, 20.0, Some(10.0));
    assert_eq!((window, contest.look_at), (20.0, 5.0));
    assert!(contest.ramp.is_some());
}

#[test]
fn who_is_not_heard_begins_with_a_ramp_that_an_overflow_ends() {
    let mut rivalry = Rivalry::new();
    let (mut contest, mut window) = rivalry.enter(0.0, 20.0, Some(10.0));
    let (mut windows, mut sent) = (Vec::new(), 10.0);
    for round in 1..7 {
        let now = 0.1 * f64::from(round);
        // The rate follows the window of the round before.
        let here = Seen { rate: 10.0 * sent, ..seen(now, 0.05) };
        sent = window;
        assert_eq!(contest.step(&mut rivalry, &here, window), Move::Go(window));
        window = contest.on_ack(window, window);
        windows.push(window);
    }
    assert_eq!(windows[..3], [20.0, 30.0, 45.0]);
    contest.on_rtt(0.1);
    let reduced = contest.on_loss((0.7, 0.65), 0.1, 0.05, 100.0).unwrap();
    contest.step(&mut rivalry, &seen(0.8, 0.05), reduced);
    assert!(contest.on_ack(reduced, reduced) < 1.1 * reduced);
}

#[test]
fn an_overflow_counts_once_and_not_during_a_look() {
    let mut rivalry = Rivalry::new();
    let mut contest = contest(&mut rivalry);
    contest.on_rtt(0.1);
    assert_eq!(contest.on_loss((1.0, 0.9), 0.06, 0.05, 100.0), None);
    assert_eq!(contest.on_loss((1.0, 0.9), 0.1, 0.05, 100.0), Some(80.0));
    assert_eq!(contest.on_loss((1.1, 0.95), 0.1, 0.05, 80.0), None);
    // A full queue is one, even though the round trip of the empty path is not seen for long.
    assert_eq!(contest.on_loss((1.3, 1.2), 0.097, 0.085, 80.0), Some(64.0));
    contest.look = Some(Look { rounds: 2, is_deep: true, window: 64.0, wait: 0.05, content: 32.0 });
    assert_eq!(contest.on_loss((2.0, 1.9), 0.1, 0.05, 64.0), None);
}
