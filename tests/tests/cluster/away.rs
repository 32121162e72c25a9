//! A role that is away: whoever asks the gate is told so, with when to come back, and the rest of
//! the service goes on.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};
use skein_testkit::{cli::PASSWORD, eventually};
use tokio::task::block_in_place;

use crate::scene::Scene;

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
