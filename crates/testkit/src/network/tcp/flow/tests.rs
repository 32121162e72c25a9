//! The modelled TCP in virtual time, beside what the papers say of the real one.

use super::*;
use crate::network::Conditions;

const SEED: u64 = 11;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A path with this round trip.
fn path(rtt: Duration) -> Conditions {
    Conditions::delayed(rtt / 2)
}

fn flow(rtt: Duration) -> Flow {
    Flow::new(Direction::Up, Some(rtt))
}

/// A program that writes what it may and one that takes what comes, until `end`; gives the bytes
/// that were taken since `from`.
fn run(flow: &mut Flow, links: &mut Links, from: Duration, end: Duration) -> u64 {
    let mut now = from;
    let before = flow.taken;
    while now < end {
        flow.write(flow.may_write());
        flow.advance(now, links);
        flow.take(flow.readable());
        now = flow.next_at().map_or(end, |at| at.max(now));
    }
    flow.taken - before
}

/// Bits in a second over these times.
fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 * 8.0 / time.as_secs_f64()
}

#[test]
fn an_undisturbed_path_is_filled() {
    for (rtt, megabits) in [(ms(10), 10), (ms(40), 10), (ms(80), 50), (ms(40), 200)] {
        let conditions = path(rtt).with_rate(megabits * 1_000_000, rtt.max(ms(40)));
        let mut links = Links::new(conditions, conditions, SEED);
        let end = Duration::from_secs(20);
        let bytes = run(&mut flow(rtt), &mut links, Duration::ZERO, end);
        let share = rate(bytes, end) / (megabits as f64 * 1e6);
        // Headers are 52 of 1500 bytes.
        assert!((0.85..=0.966).contains(&share), "{share} of {megabits} Mbit/s at {rtt:?}");
    }
}

/// The response function of a flow as friendly as Reno (RFC 9438, section 4.3, which CUBIC
/// follows on such paths): 1.22 segments a round trip over the root of the loss (Mathis et al.,
/// "The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm", 1997).
#[test]
fn loss_slows_it_as_the_response_function_says() {
    for (rtt, loss) in [(ms(80), 0.02), (ms(80), 0.005), (ms(40), 0.02), (ms(200), 0.01)] {
        let mut links = Links::new(path(rtt).with_loss(loss), path(rtt), SEED);
        let end = Duration::from_secs(300);
        let bytes = run(&mut flow(rtt), &mut links, Duration::ZERO, end);
        let expected = 1.22 * SEGMENT_BYTES as f64 * 8.0 / rtt.as_secs_f64() / f64::sqrt(loss);
        let ratio = rate(bytes, end) / expected;
        println!("{loss} at {rtt:?}: {:.2} Mbit/s, {ratio:.2} of Mathis", rate(bytes, end) / 1e6);
        assert!((0.6..1.4).contains(&ratio), "{ratio} at {rtt:?} and {loss}");
    }
}

#[test]
fn what_is_lost_holds_back_what_follows_it() {
    let mut links = Links::new(path(ms(40)), path(ms(40)), SEED);
    let mut flow = flow(ms(40));
    links.up.set(path(ms(40)).with_loss(1.0));
    flow.write(SEGMENT_BYTES);
    flow.advance(ms(0), &mut links);
    links.up.set(path(ms(40)));
    flow.write(5 * SEGMENT_BYTES);
    flow.advance(ms(1), &mut links);
    flow.advance(ms(21), &mut links);
    assert_eq!(flow.readable(), 0, "five have come and wait for the first");
    // After a round trip and a quarter the sender knows; half of one later it has come.
    flow.advance(ms(69), &mut links);
    assert_eq!(flow.readable(), 0);
    flow.advance(ms(40 + 10 + 20), &mut links);
    assert_eq!((flow.readable(), flow.sent_again()), (6 * SEGMENT_BYTES, 1));
}

#[test]
fn the_end_of_a_flight_is_probed_for_after_two_round_trips() {
    let mut links = Links::new(path(ms(40)).with_loss(1.0), path(ms(40)), SEED);
    let mut flow = flow(ms(40));
    flow.write(100);
    flow.advance(ms(0), &mut links);
    links.up.set(path(ms(40)));
    flow.advance(ms(99), &mut links);
    assert_eq!(flow.readable(), 0);
    flow.advance(ms(100), &mut links);
    assert_eq!(flow.readable(), 100);
}

#[test]
fn a_blackout_doubles_the_timeout_so_that_it_ends_later_for_tcp() {
    for (seconds, late_at_most) in [(3, 3), (60, 60)] {
        let mut links = Links::new(path(ms(40)), path(ms(40)), SEED);
        let mut flow = flow(ms(40));
        let (begin, end) = (Duration::from_secs(1), Duration::from_secs(1 + seconds));
        run(&mut flow, &mut links, Duration::ZERO, begin);
        let cut = Conditions { cut: true, ..path(ms(40)) };
        links.up.set(cut);
        links.down.set(cut);
        run(&mut flow, &mut links, begin, begin + ms(100));
        assert_eq!(run(&mut flow, &mut links, begin + ms(100), end), 0);
        links.up.set(path(ms(40)));
        links.down.set(path(ms(40)));
        let wakes = flow.next_at().expect("it tries again");
        assert!(wakes > end && wakes <= end + Duration::from_secs(late_at_most), "{wakes:?}");
        assert!(run(&mut flow, &mut links, end, wakes + ms(500)) > 0);
    }
}

#[test]
fn two_flows_share_a_bottleneck() {
    let conditions = path(ms(40)).with_rate(20_000_000, ms(40));
    let mut links = Links::new(conditions, conditions, SEED);
    let (mut one, mut other) = (flow(ms(40)), flow(ms(40)));
    let end = Duration::from_secs(60);
    let mut now = Duration::ZERO;
    while now < end {
        for flow in [&mut one, &mut other] {
            flow.write(flow.may_write());
            flow.advance(now, &mut links);
            flow.take(flow.readable());
        }
        now = one.next_at().into_iter().chain(other.next_at()).min().expect("both go on");
    }
    let share = one.taken as f64 / (one.taken + other.taken) as f64;
    assert!((0.33..0.67).contains(&share), "{share}");
    assert!(rate(one.taken + other.taken, end) > 0.8 * 20e6);
}

#[test]
fn who_does_not_take_holds_the_sender_back() {
    let mut links = Links::new(path(ms(10)), path(ms(10)), SEED);
    let mut flow = flow(ms(10));
    let mut now = ms(0);
    while now < Duration::from_secs(5) {
        flow.write(flow.may_write());
        flow.advance(now, &mut links);
        now += ms(10);
    }
    assert_eq!(flow.readable() as u64, WINDOW_BYTES);
    assert_eq!(flow.may_write(), 0);
    flow.take(1000);
    flow.advance(now, &mut links);
    flow.advance(now + ms(5), &mut links);
    assert_eq!(flow.readable() as u64, WINDOW_BYTES);
}

/// Everything bad at once: each byte arrives once, whatever is lost, late or there twice.
#[test]
fn nothing_is_missing_or_twice_in_the_worst_weather() {
    use crate::network::{Burst, Reordering};
    for seed in 0..50 {
        let conditions = Conditions {
            burst: Some(Burst::of(0.05, 4.0)),
            duplication: 0.05,
            jitter: ms(15),
            reordering: Some(Reordering { probability: 0.05, late: ms(30) }),
            ..path(ms(60)).with_loss(0.1).with_rate(5_000_000, ms(50))
        };
        let mut links = Links::new(conditions, conditions, seed);
        let mut flow = flow(ms(60));
        let mut left = 300_000;
        let mut now = Duration::ZERO;
        while left > 0 || !flow.is_empty() {
            let piece = flow.may_write().min(left);
            flow.write(piece);
            left -= piece;
            flow.advance(now, &mut links);
            flow.take(flow.readable());
            now = flow.next_at().unwrap_or(now);
            // A burst counts packets: with timeouts of two minutes it may take long.
            assert!(now < Duration::from_secs(24 * 3600), "seed {seed} hangs");
        }
        assert_eq!(flow.taken, 300_000);
    }
}
