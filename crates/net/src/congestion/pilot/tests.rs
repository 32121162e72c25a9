//! The window's rules one by one, on round trips made up for the purpose.

use super::*;

const PACKET: f64 = 1_000.0;

fn batch(rtt: f64) -> Batch {
    Batch { bytes: 2.0 * PACKET, rtt, rtt_of_sample: Some(rtt), is_full: true }
}

fn round(now: f64, rtt: f64, delivered: f64, lost: f64) -> Round {
    Round { now, seconds: 0.1, delivered, lost, rtt, is_full: true }
}

/// A pilot that has seen an empty path of 100 ms and cruises with this many packets.
fn cruising(packets: f64) -> Pilot {
    let mut pilot = Pilot::new(PACKET);
    pilot.on_batch(0.1, &batch(0.1));
    pilot.set(packets * PACKET);
    pilot.mode = Mode::Measure { rounds: 0 };
    pilot.on_round(&round(0.2, 0.1, packets * PACKET, 0.0));
    assert!(matches!(pilot.mode, Mode::Cruise(_)));
    pilot
}

#[test]
fn the_start_adds_what_is_acknowledged_until_packets_wait() {
    let mut pilot = Pilot::new(PACKET);
    assert_eq!(pilot.window(), 10_000);
    for _ in 0..5 {
        pilot.on_batch(0.1, &batch(0.1));
    }
    assert_eq!(pilot.window(), 20_000);
    pilot.on_batch(0.2, &batch(0.12));
    assert_eq!(pilot.window(), 10_000);
    // Then two rounds tell what the path carries: 8,000 bytes in 100 ms.
    pilot.on_round(&round(0.3, 0.1, 9_000.0, 0.0));
    pilot.on_round(&round(0.4, 0.1, 8_000.0, 0.0));
    assert_eq!(pilot.window(), 8_000);
}

#[test]
fn the_start_ends_where_the_rate_grows_no_more() {
    for (lost, rounds) in [(0.0, 4), (1_000.0, 4), (20_000.0, 2)] {
        let mut pilot = Pilot::new(PACKET);
        pilot.on_batch(0.1, &batch(0.1));
        let mut needed = 0;
        while matches!(pilot.mode, Mode::Start { .. }) {
            needed += 1;
            pilot.on_round(&round(0.1 * f64::from(needed), 0.1, 50_000.0, lost));
        }
        assert_eq!(needed, rounds, "with {lost} bytes lost");
    }
}

#[test]
fn an_application_that_sends_little_does_not_open_the_window() {
    let mut pilot = Pilot::new(PACKET);
    for _ in 0..100 {
        pilot.on_batch(0.1, &Batch { is_full: false, ..batch(0.1) });
    }
    assert_eq!(pilot.window(), 10_000);
}

#[test]
fn loss_by_chance_costs_nothing_and_an_overflow_does() {
    let mut pilot = cruising(1_000.0);
    for i in 1..20 {
        let before = pilot.window();
        pilot.on_loss(f64::from(i), f64::from(i));
        pilot.on_round(&round(f64::from(i), 0.1, 980_000.0, 20_000.0));
        assert!(pilot.window() > before, "round {i}");
    }
    let before = pilot.window();
    pilot.on_round(&round(20.0, 0.1, 850_000.0, 150_000.0));
    assert_eq!(pilot.window(), (before as f64 * LOSS_PART) as u64);
}

#[test]
fn a_mark_counts_once_a_round_trip() {
    let mut pilot = cruising(100.0);
    pilot.on_mark(1.0, 0.9);
    pilot.on_mark(1.05, 0.95);
    assert_eq!(pilot.window(), 70_000);
    pilot.on_mark(1.2, 1.1);
    assert_eq!(pilot.window(), 49_000);
}

#[test]
fn a_blackout_begins_anew_with_the_smallest_window() {
    let mut pilot = cruising(100.0);
    pilot.on_blackout();
    assert_eq!(pilot.window(), 4_000);
    pilot.on_batch(9.0, &batch(0.3));
    assert_eq!(pilot.base(), 0.3);
    assert_eq!(pilot.window(), 6_000);
}

#[test]
fn a_window_that_was_not_used_for_long_is_not_trusted() {
    let mut pilot = cruising(100.0);
    let idle = |now| Round { is_full: false, ..round(now, 0.1, 20_000.0, 0.0) };
    pilot.on_round(&idle(10.0));
    assert_eq!(pilot.window(), 100_000);
    pilot.on_round(&idle(10.3));
    assert_eq!(pilot.window(), 40_000);
    assert!(matches!(pilot.mode, Mode::Start { .. }));
}

#[test]
fn who_fills_the_queue_is_contended_with_until_it_is_empty() {
    let mut pilot = cruising(100.0);
    for i in 0..7 {
        let wait = 0.05 + 0.01 * f64::from(i / 2 % 2);
        pilot.on_round(&round(1.0 + 0.1 * f64::from(i), 0.1 + wait, 50_000.0, 0.0));
    }
    assert!(matches!(pilot.mode, Mode::Contend(_)), "{:?}", pilot.mode);
    assert_eq!(pilot.window(), 100_000);
    pilot.on_round(&round(2.0, 0.1, 50_000.0, 0.0));
    assert!(matches!(pilot.mode, Mode::Cruise(_)), "{:?}", pilot.mode);
}

#[test]
fn larger_packets_keep_the_window_above_its_least() {
    let mut pilot = Pilot::new(PACKET);
    pilot.on_blackout();
    pilot.on_mtu(1_452.0);
    assert_eq!(pilot.window(), 4 * 1_452);
}

#[test]
fn a_window_that_cannot_be_computed_changes_nothing() {
    let mut pilot = cruising(100.0);
    for window in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        pilot.set(window);
        assert_eq!(pilot.window(), 100_000);
    }
}
