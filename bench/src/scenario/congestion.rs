//! How congestion controllers do on paths as phones have them: alone, beside each other, on a path
//! that changes, and with a chat beside bulk. In a model and in virtual time, so that the figures are
//! the same on every machine.

use std::time::Duration;

use crate::{
    arguments::Congestion,
    congestion::{
        contender::{Contender, path, task, uneven},
        figure::{megabits, trips, waits},
        work::Kind,
        world::{Flow, Outcome, Path, run as run_world},
    },
    failure::Failure,
    report::{Finding, Report},
};

/// The seed of all runs.
const SEED: u64 = 1;
/// Seconds of which a flow alone is measured, and of which its steady rate is told.
const ALONE_SECONDS: f64 = 30.0;
const STEADY_FROM: f64 = 10.0;
/// When the second of two flows comes, when both are taken to be steady, and when they end.
const SECOND_FROM: f64 = 5.0;
const SHARED_FROM: f64 = 30.0;
const SHARED_UNTIL: f64 = 90.0;
/// When bulk begins beside a chat, when it is taken to be steady, and when both end.
const BULK_FROM: f64 = 1.0;
const CHAT_FROM: f64 = 4.0;
const CHAT_SECONDS: f64 = 60.0;

/// Runs all of it, and tells each figure once it is there.
pub(crate) fn run(load: &Congestion, report: &mut Report) -> Result<(), Failure> {
    for name in PATHS.iter().map(|(name, _)| *name).filter(|name| load.wants(name)) {
        for contender in load.contenders() {
            report.tell(&alone(name, contender));
        }
    }
    for (name, phases) in changing().into_iter().filter(|(name, _)| load.wants(name)) {
        for contender in load.contenders() {
            changed(name, contender, &phases, report);
        }
    }
    for (name, ..) in SHARED.into_iter().filter(|(name, ..)| load.wants(name)) {
        for contender in load.contenders() {
            report.tell(&shared(name, contender));
        }
    }
    for (name, ..) in CHATS.into_iter().filter(|(name, ..)| load.wants(name)) {
        for contender in load.contenders() {
            report.tell(&chat(name, contender));
        }
    }
    Ok(())
}

/// A path of a table.
type MakePath = fn() -> Path;

/// Paths for one flow: Mbit/s, round trip, queue in multiples of what the path holds, loss.
const PATHS: [(&str, MakePath); 15] = [
    ("50 Mbit/s, 80 ms", || path(50.0, 80.0, 1.0, 0)),
    ("50 Mbit/s, 80 ms, 1 % lost", || path(50.0, 80.0, 1.0, 1)),
    ("50 Mbit/s, 80 ms, 2 % lost", || path(50.0, 80.0, 1.0, 2)),
    ("50 Mbit/s, 80 ms, 5 % lost", || path(50.0, 80.0, 1.0, 5)),
    ("50 Mbit/s, 80 ms, 10 % lost", || path(50.0, 80.0, 1.0, 10)),
    ("50 Mbit/s, 80 ms, 30 % lost", || path(50.0, 80.0, 1.0, 30)),
    ("50 Mbit/s, 80 ms, queue 0.25", || path(50.0, 80.0, 0.25, 0)),
    ("50 Mbit/s, 80 ms, queue 0.05", || path(50.0, 80.0, 0.05, 0)),
    ("50 Mbit/s, 80 ms, queue 8", || path(50.0, 80.0, 8.0, 0)),
    ("50 Mbit/s, 80 ms, uneven", || uneven(path(50.0, 80.0, 1.0, 0), 15)),
    ("50 Mbit/s, 300 ms", || path(50.0, 300.0, 1.0, 0)),
    ("100 Mbit/s, 10 ms", || path(100.0, 10.0, 1.0, 0)),
    ("10 Mbit/s, 40 ms", || path(10.0, 40.0, 2.0, 0)),
    ("10 Mbit/s, 40 ms, 2 % lost", || path(10.0, 40.0, 2.0, 2)),
    ("1 Mbit/s, 200 ms, queue 1 s", || path(1.0, 200.0, 5.0, 0)),
];

/// Paths for two flows, and whether CUBIC is the first or the second; neither is itself twice.
const SHARED: [(&str, MakePath, Option<bool>); 15] = [
    ("with itself, 50 Mbit/s, 80 ms", || path(50.0, 80.0, 1.0, 0), None),
    ("with itself, 50 Mbit/s, 2 %", || path(50.0, 80.0, 1.0, 2), None),
    ("with itself, 10 Mbit/s, 40 ms", || path(10.0, 40.0, 1.0, 0), None),
    ("CUBIC came, queue 0.5", || path(50.0, 80.0, 0.5, 0), Some(false)),
    ("CUBIC was there, queue 0.5", || path(50.0, 80.0, 0.5, 0), Some(true)),
    ("CUBIC came, queue 1", || path(50.0, 80.0, 1.0, 0), Some(false)),
    ("CUBIC was there, queue 1", || path(50.0, 80.0, 1.0, 0), Some(true)),
    ("CUBIC came, queue 2", || path(50.0, 80.0, 2.0, 0), Some(false)),
    ("CUBIC was there, queue 2", || path(50.0, 80.0, 2.0, 0), Some(true)),
    ("CUBIC came, queue 3", || path(50.0, 80.0, 3.0, 0), Some(false)),
    ("CUBIC was there, queue 3", || path(50.0, 80.0, 3.0, 0), Some(true)),
    ("CUBIC came, queue 4", || path(50.0, 80.0, 4.0, 0), Some(false)),
    ("CUBIC was there, queue 4", || path(50.0, 80.0, 4.0, 0), Some(true)),
    ("CUBIC came, 10 Mbit/s, 40 ms", || path(10.0, 40.0, 1.0, 0), Some(false)),
    ("CUBIC was there, 10 Mbit/s", || path(10.0, 40.0, 1.0, 0), Some(true)),
];

/// Chats: the path, and whether bulk goes both ways beside it.
const CHATS: [(&str, MakePath, bool); 5] = [
    ("chat, 10 Mbit/s, 40 ms", || path(10.0, 40.0, 2.0, 0), false),
    ("chat beside bulk", || path(10.0, 40.0, 2.0, 0), true),
    ("chat beside bulk, queue 8", || path(10.0, 40.0, 8.0, 0), true),
    ("chat, 80 ms, 10 % lost", || path(10.0, 80.0, 2.0, 10), false),
    ("chat, 80 ms, 30 % lost", || path(10.0, 80.0, 2.0, 30), false),
];

/// Paths that change: each is what it is from a time on.
fn changing() -> [(&'static str, Vec<(f64, Path)>); 3] {
    let (wide, narrow) = (path(50.0, 80.0, 1.0, 0), path(5.0, 80.0, 4.0, 0));
    let near = path(50.0, 20.0, 2.0, 0);
    [
        ("50, then 5, then 50 Mbit/s", vec![(0.0, wide), (15.0, narrow), (30.0, wide)]),
        ("20 ms, then 80 ms", vec![(0.0, near), (15.0, wide)]),
        ("80 ms, then 20 ms", vec![(0.0, wide), (15.0, near)]),
    ]
}

/// One flow on one of [`PATHS`].
fn alone(name: &'static str, contender: Contender) -> Finding {
    let path = PATHS.iter().find(|(other, _)| *other == name).map(|(_, path)| path());
    let path = path.expect("the name is of the table");
    let tasks = vec![task(Kind::Upload, 0.0, ALONE_SECONDS)];
    let outcome = go(path, &[], vec![contender.flow(0.0, tasks)], ALONE_SECONDS);
    let uploaded = &outcome.flows[0].uploaded;
    let wait = waits(&outcome.up, STEADY_FROM, ALONE_SECONDS);
    Finding::Alone {
        path: name,
        controller: contender,
        megabits_per_second: megabits(uploaded, STEADY_FROM, ALONE_SECONDS),
        first_3_s_megabits_per_second: megabits(uploaded, 0.0, 3.0),
        wait_mean_ms: wait.mean,
        wait_p95_ms: wait.p95,
        wait_standing_ms: wait.standing,
        overflowed_packets: outcome.up.overflowed(),
    }
}

/// One flow on a path that changes: a finding for each 5 seconds.
fn changed(name: &'static str, contender: Contender, phases: &[(f64, Path)], to: &mut Report) {
    const EACH: f64 = 5.0;
    let until = phases.last().map_or(0.0, |(from, _)| from + 20.0);
    let tasks = vec![task(Kind::Upload, 0.0, until)];
    let changes: Vec<_> =
        phases.iter().map(|(from, path)| (Duration::from_secs_f64(*from), *path)).collect();
    let outcome = go(phases[0].1, &changes, vec![contender.flow(0.0, tasks)], until);
    let mut from = 0.0;
    while from < until {
        to.tell(&Finding::Changing {
            path: name,
            controller: contender,
            from_s: from,
            megabits_per_second: megabits(&outcome.flows[0].uploaded, from, from + EACH),
            wait_mean_ms: waits(&outcome.up, from, from + EACH).mean,
        });
        from += EACH;
    }
}

/// Two flows on one of [`SHARED`].
fn shared(name: &'static str, contender: Contender) -> Finding {
    let found = SHARED.into_iter().find(|(other, ..)| *other == name);
    let (_, path, cubic_is_first) = found.expect("the name is of the table");
    let bulk = |from| vec![task(Kind::Upload, from, SHARED_UNTIL)];
    let (first, second) = match cubic_is_first {
        None => (contender, contender),
        Some(false) => (contender, Contender::Cubic),
        Some(true) => (Contender::Cubic, contender),
    };
    let flows = vec![first.flow(0.0, bulk(0.0)), second.flow(SECOND_FROM, bulk(SECOND_FROM))];
    let outcome = go(path(), &[], flows, SHARED_UNTIL);
    let rate = |flow: usize| megabits(&outcome.flows[flow].uploaded, SHARED_FROM, SHARED_UNTIL);
    let (own, other) =
        if cubic_is_first == Some(true) { (rate(1), rate(0)) } else { (rate(0), rate(1)) };
    let wait = waits(&outcome.up, SHARED_FROM, SHARED_UNTIL);
    Finding::Shared {
        path: name,
        controller: contender,
        megabits_per_second: own,
        other_megabits_per_second: other,
        ratio: own / other,
        wait_mean_ms: wait.mean,
        wait_standing_ms: wait.standing,
    }
}

/// A chat on one of [`CHATS`], whose messages the server sends back.
fn chat(name: &'static str, contender: Contender) -> Finding {
    let found = CHATS.into_iter().find(|(other, ..)| *other == name);
    let (_, path, has_bulk) = found.expect("the name is of the table");
    // Bulk comes first, so that it is also the first to write.
    let mut tasks = Vec::new();
    if has_bulk {
        tasks.push(task(Kind::Upload, BULK_FROM, CHAT_SECONDS));
        tasks.push(task(Kind::Download, BULK_FROM, CHAT_SECONDS));
    }
    tasks.push(task(Kind::Chat, 0.5, CHAT_SECONDS - 5.0));
    let outcome = go(path(), &[], vec![contender.flow(0.0, tasks)], CHAT_SECONDS);
    let flow = &outcome.flows[0];
    let trip = trips(&flow.deliveries, CHAT_FROM);
    Finding::Chat {
        path: name,
        controller: contender,
        messages: trip.count,
        p50_ms: trip.p50,
        p99_ms: trip.p99,
        max_ms: trip.max,
        up_megabits_per_second: megabits(&flow.uploaded, CHAT_FROM, CHAT_SECONDS),
        down_megabits_per_second: megabits(&flow.downloaded, CHAT_FROM, CHAT_SECONDS),
    }
}

fn go(path: Path, changes: &[(Duration, Path)], flows: Vec<Flow>, seconds: f64) -> Outcome {
    run_world(path, changes, flows, Duration::from_secs_f64(seconds), SEED)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_lossy_path_is_filled_for_both_directions() {
        for kind in [Kind::Upload, Kind::Download] {
            let tasks = vec![task(kind, 0.0, 15.0)];
            let flows = vec![Contender::Skein.flow(0.0, tasks)];
            let outcome = go(path(50.0, 80.0, 1.0, 2), &[], flows, 15.0);
            let flow = &outcome.flows[0];
            let bytes = if kind == Kind::Upload { &flow.uploaded } else { &flow.downloaded };
            // With its start: 60 % is what is asked for.
            let rate = megabits(bytes, 0.0, 15.0);
            assert!(rate >= 30.0, "{kind:?}: {rate}");
        }
    }

    #[test]
    fn no_queue_stands_alone_or_beside_itself() {
        let Finding::Alone { wait_standing_ms: alone, megabits_per_second: rate, .. } =
            alone("10 Mbit/s, 40 ms", Contender::Skein)
        else {
            panic!("another finding")
        };
        assert!(alone < 2.0 && rate > 9.0, "{alone} ms at {rate}");
        let Finding::Shared { wait_standing_ms: beside, ratio, .. } =
            shared("with itself, 10 Mbit/s, 40 ms", Contender::Skein)
        else {
            panic!("another finding")
        };
        assert!(beside < 10.0 && (0.5..2.0).contains(&ratio), "{beside} ms at {ratio}");
    }

    /// From half of what the path holds to four times that, whoever was there first.
    #[test]
    fn beside_cubic_both_get_at_least_half_of_the_other() {
        let names = SHARED.iter().filter(|(.., cubic)| cubic.is_some()).map(|(name, ..)| *name);
        let ratios = thread::scope(|scope| {
            let runs: Vec<_> = names
                .map(|name| scope.spawn(move || (name, shared(name, Contender::Skein))))
                .collect();
            runs.into_iter().map(|run| run.join().expect("it ends")).collect::<Vec<_>>()
        });
        assert_eq!(ratios.len(), 12);
        for (name, finding) in ratios {
            let Finding::Shared { ratio, .. } = finding else { panic!("another finding") };
            assert!((0.5..=2.0).contains(&ratio), "{name}: {ratio}");
        }
    }

    #[test]
    fn bulk_in_both_directions_leaves_a_chat_alone() {
        let p99 = |name| match chat(name, Contender::Skein) {
            Finding::Chat { p99_ms, messages, .. } => {
                assert!(messages > 1_000, "{messages}");
                p99_ms
            }
            _ => panic!("another finding"),
        };
        let (idle, busy) = (p99("chat, 10 Mbit/s, 40 ms"), p99("chat beside bulk"));
        assert!(busy <= 2.0 * idle, "{busy} ms beside {idle} ms");
    }

    #[test]
    fn two_runs_are_the_same() {
        let run = || {
            let tasks = vec![task(Kind::Upload, 0.0, 3.0)];
            let flows = vec![Contender::Skein.flow(0.0, tasks)];
            go(path(10.0, 40.0, 1.0, 5), &[], flows, 3.0).flows.remove(0).uploaded
        };
        assert_eq!(run(), run());
    }
}
