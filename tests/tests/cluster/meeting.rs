//! The command line against a cluster, from registration to a fetched file.

use std::fs;

use skein_testkit::cli::Cli;

use crate::scene::Scene;

/// More than one part in the object store.
const FILE_BYTES: usize = 12 << 20;

pub(crate) fn two_people_meet_with_mailed_codes(scene: &Scene) {
    let alice = register(scene, "alice");
    let bob = register(scene, "bob");
    alice.json(&["add", "bob", "-m", "it is me"]);
    bob.json(&["accept", "alice"]);
    let mut watch = bob.start(&["watch"]);
    let sent = alice.json(&["send", "bob", "look at this"]);
    watch.find(|event| event["text"] == "look at this");
    watch.kill();
    assert_eq!(sent[0]["seq"], 1, "{sent:?}");

    // Nothing in it repeats.
    let bytes: Vec<u8> = (0..FILE_BYTES / 4).flat_map(|word| (word as u32).to_le_bytes()).collect();
    let file = alice.path("file.bin");
    fs::write(&file, &bytes).expect("the home is ours");
    let path = file.to_string_lossy().into_owned();
    alice.json(&["send", "bob", "--file", &path]);
    bob.json(&["get", "alice", "2", "-o", "copy.bin"]);
    assert!(fs::read(bob.path("copy.bin")).expect("it is there") == bytes, "bit for bit");

    let log = bob.json(&["log", "alice"]);
    assert_eq!(log.len(), 2, "{log:?}");
    alice.json(&["logout"]);
}

fn register(scene: &Scene, name: &str) -> Cli {
    let cli = Cli::new(&scene.cluster.http());
    let email = format!("{name}@example.org");
    let register = ["register", name, "--email", &email, "--password-stdin"];
    let refused = cli.with_password(&register).failure(1);
    assert!(refused.stderr.contains("a code is on its way"), "{refused:?}");
    let code = scene.code_for(&email);
    cli.with_password(&[&register[..], &["--code", &code]].concat()).success();
    cli
}
