//! The seeded simulation: real `Session` and `Upload` machines against a model server, through a
//! network and a world that do their worst, in virtual time.
//!
//! A thousand seeds run by default. `SKEIN_SEEDS=50000` runs more, `SKEIN_SEED=17` repeats one and
//! prints what happened. A failure names its seed and is the same each time.

mod checker;
mod client;
mod random;
mod server;
mod upload;
mod world;

use std::{env, str::FromStr};

use server::Mutant;
use world::World;

const SEEDS: u64 = 1_000;

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// Runs one seed, or as many as asked for, and says how to repeat the first that fails.
fn every_seed(test: &str, run: impl Fn(u64, bool) -> Result<(), String>) {
    let one = number::<u64>("SKEIN_SEED");
    let seeds = one.map_or(0..number("SKEIN_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(violation) = run(seed, one.is_some()) {
            panic!(
                "seed {seed}: {violation}\nrepeat it: \
                 SKEIN_SEED={seed} cargo test -p skein-core --test simulation {test} -- --nocapture"
            );
        }
    }
}

#[test]
fn the_invariants_hold() {
    every_seed("the_invariants_hold", |seed, verbose| {
        World::new(seed, Mutant::None, verbose).run().map(drop)
    });
}

#[test]
fn uploads_survive() {
    every_seed("uploads_survive", upload::run);
}

/// A checker that never complains proves nothing: each of these servers is broken on purpose, and
/// must be found out.
#[test]
fn broken_servers_are_caught() {
    for (mutant, expected) in [
        (Mutant::AcksBeforeCommit, "durably"),
        (Mutant::ForgetsIds, "twice"),
        (Mutant::LosesHintsForGood, "never"),
    ] {
        let caught = (0..60).find_map(|seed| World::new(seed, mutant, false).run().err());
        let violation = caught.unwrap_or_else(|| panic!("nothing found wrong with {mutant:?}"));
        assert!(violation.contains(expected), "{mutant:?}: {violation}");
    }
}

/// Neither does a simulation in which nothing happens.
#[test]
fn the_world_is_hostile_enough() {
    let mut total = world::Counts::default();
    for seed in 0..50 {
        total.add(World::new(seed, Mutant::None, false).run().expect("the invariants hold"));
    }
    let counts = [
        ("acknowledged", total.acked),
        ("rejected", total.rejected),
        ("repeated", total.repeated),
        ("lost connections", total.lost),
        ("silenced connections", total.silenced),
        ("server crashes", total.server_crashes),
        ("client crashes", total.client_crashes),
        ("kicked", total.kicked),
        ("dropped hints", total.dropped_hints),
        ("uncommitted appends lost", total.uncommitted),
        ("refused for now", total.refused_for_now),
        ("moved", total.moved),
        ("promoted", total.promoted),
        ("suspected of being gone", total.suspected),
        ("changed networks", total.changed_networks),
        ("probes", total.probes),
    ];
    for (what, count) in counts {
        assert!(count >= 10, "{what}: {count}");
    }
}
