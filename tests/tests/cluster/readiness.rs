//! `/readyz` and `/healthz` of real processes, as docs/operations.md tells: all is well; a chat node
//! is drained; verify is away; Redis is away.

use reqwest::StatusCode;
use skein_testkit::{cluster::names, eventually};
use tokio::task::block_in_place;

use crate::{
    observed::{self, Ready, ready},
    scene::Scene,
};

/// The node that is drained.
const DRAINED: &str = "chat-2";
/// The roles that cannot do without Redis, and one that can.
const WITH_REDIS: [&str; 4] = ["gate", "verify", "status", "chat"];

pub(crate) async fn each_process_says_whether_it_can_work(scene: &mut Scene) {
    all_are_well(scene).await;

    let drain = block_in_place(|| scene.cluster.admin(&["drain", DRAINED, "--over", "1s"]));
    assert!(drain.status.success(), "{drain:?}");
    until(scene, DRAINED, "it drains", |ready| {
        ready.is_red_for("directory") && ready.finds("directory", "the node drains")
    })
    .await;
    for name in ["gate-1", "chat-1", "status-1"] {
        until(scene, name, "the others are ready", Ready::is_whole).await;
    }
    block_in_place(|| {
        scene.cluster.terminate(DRAINED);
        assert!(scene.cluster.wait(DRAINED).success());
        scene.cluster.restart(DRAINED);
    });
    all_are_well(scene).await;

    block_in_place(|| scene.cluster.kill("verify-1"));
    until(scene, "gate-1", "it misses verify", |ready| ready.is_degraded_by(&["verify"])).await;
    until(scene, "chat-1", "it needs no verify", Ready::is_whole).await;
    block_in_place(|| scene.cluster.restart("verify-1"));
    all_are_well(scene).await;

    block_in_place(|| scene.cluster.redis.kill());
    for role in WITH_REDIS {
        for name in scene.cluster.names_of(role) {
            until(scene, &name, "it misses Redis", |ready| ready.is_red_for("bus")).await;
        }
    }
    for name in scene.cluster.names_of("resource") {
        until(scene, &name, "it needs no Redis", Ready::is_whole).await;
    }
    all_answer(scene).await;
    block_in_place(|| scene.cluster.redis.resume());
    all_are_well(scene).await;
    // It came back empty: the nodes are in the directory again with their next reports.
    eventually("all nodes are known again", || async {
        let nodes = block_in_place(|| scene.cluster.admin(&["--json", "nodes"]));
        String::from_utf8_lossy(&nodes.stdout).lines().count()
            == scene.cluster.names_of("chat").len()
    })
    .await;
}

async fn all_are_well(scene: &Scene) {
    for name in names() {
        until(scene, &name, "all is well", Ready::is_whole).await;
    }
    all_answer(scene).await;
}

/// Whatever is away: a process that lives says so.
async fn all_answer(scene: &Scene) {
    for name in names() {
        let alive = observed::get(scene, &name, "healthz").await;
        assert_eq!(alive, (StatusCode::OK, "ok".to_owned()), "{name}");
    }
}

/// What changes takes a moment to be found.
async fn until(scene: &Scene, name: &str, what: &str, is: impl Fn(&Ready) -> bool) {
    eventually(&format!("{name}: {what}"), || async {
        let ready = ready(scene, name).await;
        if !ready.is_whole() {
            println!("{name}: {ready:?}");
        }
        is(&ready)
    })
    .await;
}
