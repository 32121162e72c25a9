//! The checks of the fuzz targets on seeded mutations and on whatever inputs fuzzing has left in
//! `fuzz/corpus`, so that they run on every machine. `SKEIN_SEED=…` starts from another seed.

use std::{env, fs, path::Path};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use skein_tests::{decode::CHECKS, seeds::seeds};

/// Mutations of the seeds of each check.
const MUTATIONS: usize = 20_000;
/// Inputs of each check's corpus, at most.
const CORPUS_MAX: usize = 20_000;
/// Changes to one seed.
const CHANGES_MAX: usize = 4;

#[test]
fn every_decoder_holds_against_mutations() {
    let seed = env::var("SKEIN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SKEIN_SEED={seed}");
    for (name, check) in CHECKS {
        let seeds = seeds(name);
        for bytes in &seeds {
            check(bytes);
            // Every beginning of short ones: where a stream may end.
            (0..bytes.len().min(512)).for_each(|end| check(&bytes[..end]));
        }
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..MUTATIONS {
            let mut bytes = seeds.choose(&mut random).expect("there are seeds").clone();
            for _ in 0..random.random_range(1..=CHANGES_MAX) {
                mutate(&mut bytes, &seeds, &mut random);
            }
            let held = std::panic::catch_unwind(|| check(&bytes));
            assert!(held.is_ok(), "{name} failed in round {round} of seed {seed} on {bytes:02x?}");
        }
    }
}

#[test]
fn every_decoder_holds_against_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, check) in CHECKS {
        // Only where somebody has fuzzed is there one.
        let files = fs::read_dir(corpus.join(name)).into_iter().flatten().flatten();
        for file in files.take(CORPUS_MAX) {
            check(&fs::read(file.path()).expect("an input can be read"));
        }
    }
}

#[test]
fn every_check_has_a_fuzz_target() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz_targets");
    let files = std::fs::read_dir(folder).expect("the folder of targets");
    let name = |file: std::fs::DirEntry| file.file_name().to_string_lossy().into_owned();
    let mut targets: Vec<_> = files.map(|file| name(file.expect("a file"))).collect();
    let mut checks: Vec<_> = CHECKS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    targets.sort();
    checks.sort();
    assert_eq!(targets, checks);
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    match random.random_range(0..5) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.random()),
        2 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        3 if at < bytes.len() => {
            bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(random).expect("five");
        }
        _ => {
            let other = seeds.choose(random).expect("there are seeds");
            let from = random.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
