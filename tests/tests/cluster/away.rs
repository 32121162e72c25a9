//! A role that is away: whoever asks the gate is told so, with when to come back, and the rest of
//! the service goes on.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};
use skein_client::{Event, Status};
use skein_testkit::{PATIENCE, cli::PASSWORD, eventually};
use tokio::task::block_in_place;

use crate::scene::{LIVE_MAX, Scene};

/// How long the gate may take to say that somebody is away: it bounds a hang, and measures nothing.
const ANSWER_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn who_is_away_makes_the_gate_say_when_to_come_back(scene: &mut Scene) {
    scene.register("dora").await;
    let login = json!({
        "name": "dora", "password": PASSWORD, "device": "00".repeat(16), "device_name": "test",
    });
    let code = json!({ "purpose": "register", "email": "someone@example.org" });

    block_in_place(|| scene.cluster.kill("verify-1"));
    refused_for_now(scene, "/v1/codes", &code).await;
    // Nobody needs it for this.
    assert_eq!(post(scene, "/v1/login", &login).await.0, StatusCode::OK);
    block_in_place(|| scene.cluster.restart("verify-1"));
    eventually("codes are mailed again", || async {
        post(scene, "/v1/codes", &code).await.0 == StatusCode::ACCEPTED
    })
    .await;
    block_in_place(|| scene.code_for("someone@example.org"));

    // One of two is enough.
    block_in_place(|| scene.cluster.kill("status-1"));
    eventually("the other answers", || async {
        post(scene, "/v1/login", &login).await.0 == StatusCode::OK
    })
    .await;
    block_in_place(|| scene.cluster.freeze("status-2"));
    refused_for_now(scene, "/v1/login", &login).await;
    block_in_place(|| {
        scene.cluster.thaw("status-2");
        scene.cluster.restart("status-1");
    });
    eventually("a login is assigned again", || async {
        post(scene, "/v1/login", &login).await.0 == StatusCode::OK
    })
    .await;
}

/// An operator shuts somebody out while Redis is away: the store has it at once, and a session that
/// is open ends when its node looks at the login again.
pub(crate) async fn an_account_is_disabled_while_redis_is_away(scene: &mut Scene) {
    scene.register("nora").await;
    let client = scene.client("nora", "laptop").await;
    let mut events = client.events().await.expect("the home can be read");
    client.connect().await.expect("connecting");
    client.live(LIVE_MAX).await.expect("live");
    block_in_place(|| {
        scene.cluster.redis.kill();
        for (order, done) in [("kick", "logins"), ("disable", "disabled_ms")] {
            let output = scene.cluster.admin(&["--json", "users", order, "nora"]);
            assert!(output.status.success(), "{output:?}");
            let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert!(answer[done].as_u64() > Some(0), "{answer}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("within a minute"), "{said}");
        }
        scene.cluster.redis.resume();
    });
    let ended =
        async { while !matches!(events.next().await, Some(Event::Status(Status::Stopped(_)))) {} };
    // The node looks within a minute.
    tokio::time::timeout(2 * PATIENCE, ended).await.expect("it ends in time");
    let login = json!({
        "name": "dora", "password": PASSWORD, "device": "00".repeat(16), "device_name": "test",
    });
    eventually("the nodes are known again", || async {
        post(scene, "/v1/login", &login).await.0 == StatusCode::OK
    })
    .await;
}

async fn refused_for_now(scene: &Scene, path: &str, body: &Value) {
    let started = Instant::now();
    let (status, retry_after, answer) = post(scene, path, body).await;
    println!("{path}: {status}, come back in {retry_after:?} s, after {:?}", started.elapsed());
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    assert!(retry_after.is_some_and(|seconds| seconds > 0), "{answer}");
}

/// Posts; gives the status, the `Retry-After` in seconds, and the answer.
async fn post(scene: &Scene, path: &str, body: &Value) -> (StatusCode, Option<u64>, Value) {
    let request = Client::new().post(format!("{}{path}", scene.cluster.http())).json(body);
    let response = request.timeout(ANSWER_MAX).send().await.expect("the gate answers");
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    (response.status(), retry_after, response.json().await.unwrap_or(Value::Null))
}
