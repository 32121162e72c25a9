//! What operators see and change in a cluster: the doctor, accounts, and a schema that does not
//! fit.

use std::process::{Command, Output};

use serde_json::Value;
use skein_client::{Event, Status};
use skein_testkit::{PATIENCE, binaries::binary, process::patiently};
use tokio::task::block_in_place;

use crate::scene::{LIVE_MAX, Scene};

/// An account is disabled while it is in use, wherever its session is.
pub(crate) async fn operators_see_and_change_the_cluster(scene: &Scene) {
    scene.register("mallory").await;
    let client = scene.client("mallory", "laptop").await;
    let mut events = client.events().await.expect("the home can be read");
    client.connect().await.expect("connecting");
    client.live(LIVE_MAX).await.expect("live");
    block_in_place(|| {
        patiently("all nodes are known", || {
            let nodes = admin(scene, &["nodes"]);
            nodes.iter().map(|node| &node["node"]).eq(["chat-1", "chat-2", "chat-3"])
        });
    });

    let disabled = block_in_place(|| admin(scene, &["users", "disable", "mallory"]));
    assert_eq!(disabled[0]["logins"], 0, "{disabled:?}");
    let ended =
        async { while !matches!(events.next().await, Some(Event::Status(Status::Stopped(_)))) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends in time");
    block_in_place(|| {
        admin(scene, &["users", "enable", "mallory"]);
        admin(scene, &["users", "reset", "mallory"]);
        scene.code_for("mallory@example.org");
        assert_eq!(admin(scene, &["storage"]).len(), 1);
        every_part_is_well(scene);
        a_schema_that_does_not_fit_is_told(scene);
    });
}

/// How many sessions a chat node has, as it said last.
pub(crate) fn sessions(scene: &Scene, node: &str) -> u64 {
    let nodes = admin(scene, &["nodes"]);
    let found = nodes.iter().find(|one| one["node"] == node);
    found.and_then(|node| node["sessions"].as_u64()).unwrap_or(0)
}

fn every_part_is_well(scene: &Scene) {
    let output = skeind(scene, &[], &["doctor", "--json"]);
    let findings = objects(&output);
    for check in
        ["store", "bus", "blobs", "verify.smtp", "rpc.verify", "rpc.status", "rpc.resource"]
    {
        let found: Vec<_> = findings.iter().filter(|finding| finding["check"] == check).collect();
        let well = found.iter().all(|finding| finding["verdict"] == "ok");
        assert!(!found.is_empty() && well, "{check}: {found:?}");
    }
    assert!(output.status.success(), "{findings:?}");
}

fn a_schema_that_does_not_fit_is_told(scene: &Scene) {
    let empty = scene.cluster.postgres.create_database("empty");
    let other = [("SKEIN_STORE__URL", empty.as_str()), ("SKEIN_OBSERVE__LISTEN", "127.0.0.1:0")];
    let refused = skeind(scene, &other, &["gate"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("skeind migrate"), "{said}");
    for _ in 0..2 {
        let migrated = skeind(scene, &other, &["migrate"]);
        assert!(migrated.status.success(), "{migrated:?}");
    }
}

fn admin(scene: &Scene, arguments: &[&str]) -> Vec<Value> {
    let output = scene.cluster.admin(&[&["--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    objects(&output)
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs the operators' own configuration with these changes.
fn skeind(scene: &Scene, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("skeind"));
    command.arg("--config").arg(scene.cluster.config_file("admin-1")).args(arguments);
    command.envs(environment.iter().copied()).output().expect("skeind starts")
}
