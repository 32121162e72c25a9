//! The link as tables, in virtual time: nothing here depends on the machine.

use std::time::Duration;

use super::*;
use crate::network::{Burst, Queue, Rate, Reordering};

const SEED: u64 = 4;
/// Packets of the statistical tests. The bounds below are some five standard deviations wide, and
/// as the seed is fixed they hold always or never.
const MANY: u32 = 100_000;
/// Bytes of a full packet: at 12 Mbit/s it takes a millisecond.
const PACKET: usize = 1500;
const TWELVE_MBIT: u64 = 12_000_000;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn link(conditions: Conditions) -> Link {
    Link::new(conditions, SEED)
}

fn limited(bits_per_second: u64, queue: Queue) -> Link {
    link(Conditions { rate: Some(Rate { bits_per_second, queue }), ..Conditions::default() })
}

/// The fates of so many packets, one each `interval`.
fn fates(link: &mut Link, count: u32, interval: Duration) -> Vec<Option<Duration>> {
    (0..count).map(|number| link.offer(interval * number, PACKET).arrival()).collect()
}

#[test]
fn a_wire_does_nothing_and_a_delay_delays() {
    let mut wire = link(Conditions::default());
    assert_eq!(wire.offer(ms(5), PACKET), Verdict::Arrives { at: ms(5), again: None });
    let mut far = link(Conditions::delayed(ms(40)));
    assert_eq!(far.offer(ms(5), PACKET), Verdict::Arrives { at: ms(45), again: None });
}

#[test]
fn loss_and_duplication_are_as_likely_as_told() {
    for probability in [0.0, 0.01, 0.02, 0.3, 1.0] {
        let mut lossy = link(Conditions::default().with_loss(probability));
        fates(&mut lossy, MANY, ms(1));
        let lost = lossy.counts().lost_to(Loss::Random) as f64 / f64::from(MANY);
        assert!((lost - probability).abs() < 0.008, "{lost} of {probability}");

        let mut twice = link(Conditions { duplication: probability, ..Conditions::default() });
        fates(&mut twice, MANY, ms(1));
        let copies = twice.counts().duplicated as f64 / f64::from(MANY);
        assert!((copies - probability).abs() < 0.008, "{copies} of {probability}");
    }
}

#[test]
fn bursts_have_the_stated_share_and_length() {
    for (share, length) in [(0.02, 5.0), (0.1, 10.0), (0.3, 3.0)] {
        let burst = Some(Burst::of(share, length));
        let mut link = link(Conditions { burst, ..Conditions::default() });
        let fates = fates(&mut link, MANY, ms(1));
        let lost = fates.iter().filter(|fate| fate.is_none()).count() as f64;
        let begun = fates.windows(2).filter(|two| two[0].is_some() && two[1].is_none()).count();
        let mean = lost / begun as f64;
        assert!((mean / length - 1.0).abs() < 0.1, "bursts of {mean}, not {length}");
        let lost = lost / f64::from(MANY);
        assert!((lost / share - 1.0).abs() < 0.15, "{lost}, not {share}");
        assert_eq!(link.counts().lost_to(Loss::Burst), link.counts().lost());
    }
}

#[test]
fn a_rate_spaces_packets() {
    let mut link = limited(TWELVE_MBIT, Queue::Time(ms(100)));
    let all = fates(&mut link, 10, Duration::ZERO);
    let expected: Vec<_> = (1..=10).map(|number| Some(ms(number))).collect();
    assert_eq!(all, expected);
    assert_eq!(link.backlog(ms(4)), ms(6));
    assert_eq!(link.counts().queue_bytes_max, 10 * PACKET as u64);
    // A queue that has run empty gives nothing away.
    assert_eq!(link.offer(ms(50), PACKET).arrival(), Some(ms(51)));
}

#[test]
fn the_depth_of_the_queue_bounds_the_delay() {
    for queue in [Queue::Time(ms(20)), Queue::Bytes(20 * PACKET as u64)] {
        let mut link = limited(TWELVE_MBIT, queue);
        // Twice what the link takes, for a second.
        let interval = Duration::from_micros(500);
        let fates = fates(&mut link, 2000, interval);
        let waits = fates.iter().enumerate().filter_map(|(number, at)| {
            at.map(|at| at - interval * u32::try_from(number).expect("few"))
        });
        assert_eq!(waits.max(), Some(ms(20)), "{queue:?}");
        let counts = link.counts();
        assert_eq!(counts.queue_bytes_max, 20 * PACKET as u64);
        // What the link sent in the second, and what was in the queue at its end.
        assert!((1018..=1020).contains(&counts.delivered.datagrams), "{counts}");
        assert_eq!(counts.lost_to(Loss::Queue), 2000 - counts.delivered.datagrams);
    }
}

#[test]
fn a_queue_that_is_too_short_still_takes_one() {
    let mut link = limited(TWELVE_MBIT, Queue::Bytes(10));
    assert_eq!(link.offer(ms(0), PACKET).arrival(), Some(ms(1)));
    assert_eq!(link.offer(ms(0), PACKET), Verdict::Lost(Loss::Queue));
    assert_eq!(link.offer(ms(1), PACKET).arrival(), Some(ms(2)));
}

#[test]
fn what_is_lost_on_the_air_has_used_the_air() {
    let conditions = Conditions::default().with_rate(TWELVE_MBIT, ms(100));
    let mut link = link(conditions.with_loss(1.0));
    assert_eq!(link.offer(ms(0), PACKET), Verdict::Lost(Loss::Random));
    assert_eq!(link.backlog(ms(0)), ms(1));
    link.set(conditions);
    assert_eq!(link.offer(ms(0), PACKET).arrival(), Some(ms(2)));
}

#[test]
fn jitter_varies_within_bounds_and_keeps_the_order() {
    let mut link = link(Conditions { jitter: ms(20), ..Conditions::delayed(ms(30)) });
    let fates = fates(&mut link, MANY, Duration::from_micros(100));
    let mut last = Duration::ZERO;
    let mut delays = Vec::new();
    for (number, at) in (0..).zip(fates) {
        let at = at.expect("nothing is lost");
        assert!(at >= last, "one has overtaken another");
        last = at;
        delays.push(at - Duration::from_micros(100) * number);
    }
    let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
    assert!(*least >= ms(30) && *least < ms(31), "{least:?}");
    assert!(*most <= ms(50) && *most > ms(49), "{most:?}");
    let mean = delays.iter().sum::<Duration>() / MANY;
    assert!((ms(38)..ms(45)).contains(&mean), "{mean:?}");
}

#[test]
fn who_is_late_is_overtaken() {
    let reordering = Some(Reordering { probability: 0.05, late: ms(3) });
    let mut link = link(Conditions { reordering, ..Conditions::delayed(ms(10)) });
    let fates = fates(&mut link, MANY, ms(1));
    let late = (0..).zip(&fates).filter(|(number, at)| at.unwrap() == ms(number + 13)).count();
    assert_eq!(late as u64, link.counts().late);
    assert!((late as f64 / f64::from(MANY) - 0.05).abs() < 0.005, "{late}");
    assert!((0..).zip(&fates).all(|(number, at)| at.unwrap() <= ms(number + 13)));
}

#[test]
fn the_mtu_and_a_cut_let_nothing_through() {
    let mut link = link(Conditions { mtu: Some(1280), ..Conditions::default() });
    assert!(link.offer(ms(0), 1280).arrival().is_some());
    assert_eq!(link.offer(ms(0), 1281), Verdict::Lost(Loss::Mtu));
    link.set(Conditions { cut: true, ..Conditions::default() });
    assert_eq!(link.offer(ms(0), 1), Verdict::Lost(Loss::Cut));
    link.set(Conditions::default());
    assert!(link.offer(ms(0), 1281).arrival().is_some());
    assert_eq!(link.counts().offered.datagrams, 4);
}

#[test]
fn another_route_may_be_faster_and_time_does_not_run_back() {
    let mut link = link(Conditions::delayed(ms(300)));
    assert_eq!(link.offer(ms(10), PACKET).arrival(), Some(ms(310)));
    link.set(Conditions::delayed(ms(20)));
    assert_eq!(link.offer(ms(20), PACKET).arrival(), Some(ms(40)));
    assert_eq!(link.offer(ms(400), PACKET).arrival(), Some(ms(420)));
    assert_eq!(link.offer(ms(399), PACKET).arrival(), Some(ms(420)));
}

#[test]
fn the_same_seed_gives_the_same_fate_and_another_one_another() {
    let conditions = Conditions {
        loss: 0.1,
        burst: Some(Burst::of(0.05, 4.0)),
        jitter: ms(7),
        reordering: Some(Reordering { probability: 0.1, late: ms(2) }),
        duplication: 0.1,
        ..Conditions::delayed(ms(40)).with_rate(TWELVE_MBIT, ms(30))
    };
    let run = |seed| {
        let mut link = Link::new(conditions, seed);
        let fates = fates(&mut link, 5000, Duration::from_micros(700));
        (fates, link.counts().clone())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
