//! One id joins what the processes log of one request, as an operator would look for it.

use std::collections::BTreeSet;

use reqwest::Client;
use serde_json::{Value, json};
use skein_client::Text;
use skein_testkit::{cli::PASSWORD, eventually};
use tokio::task::block_in_place;

use crate::scene::Scene;

/// What a node logs of each answer, a role of each call, and the store of each batch.
const ANSWERED: &str = "a request is answered";
const CALLED: &str = "a call is answered";
const COMMITTED: &str = "a batch of appends is committed";

pub(crate) async fn one_id_is_found_from_the_gate_to_the_store(scene: &Scene) {
    let code = json!({ "purpose": "register", "email": "traced@example.org" });
    let id = posted(scene, "/v1/codes", &code).await;
    block_in_place(|| scene.code_for("traced@example.org"));
    logged(scene, "verify", CALLED, &id, "/skein.cluster.v1.Verify/Request").await;

    let pair = scene.pair("tina", "uwe").await;
    let login = json!({
        "name": "tina", "password": PASSWORD, "device": "11".repeat(16), "device_name": "test",
    });
    let id = posted(scene, "/v1/login", &login).await;
    logged(scene, "status", CALLED, &id, "/skein.cluster.v1.Directory/Assign").await;

    // The client is not told the id of a request, so they are looked for by what the requests were.
    let before: BTreeSet<_> = appends(scene).into_iter().collect();
    for words in ["where is it", "and where is this"] {
        let text = Text::parse(words).expect("a text");
        let delivery = pair.right.send_text(pair.conversation, text).await.expect("kept");
        delivery.acknowledged().await.expect("acknowledged");
    }
    // Each request of a session has an id of its own, also one that asks again because an answer was
    // late, for which nothing need be committed.
    let mut committed = Vec::new();
    eventually("the appends are found from the node to the store", || {
        let ids: BTreeSet<_> = appends(scene).into_iter().collect();
        let found = ids.difference(&before);
        committed =
            found.filter_map(|id| line_of(scene, "chat", COMMITTED, id, "append")).collect();
        std::future::ready(committed.len() >= 2)
    })
    .await;
    committed.iter().for_each(|line| println!("chat: {line}"));
    pair.left.close().await;
    pair.right.close().await;
}

/// Posts to the gate; gives the id that its answer names.
async fn posted(scene: &Scene, path: &str, body: &Value) -> String {
    let url = format!("{}{path}", scene.cluster.http());
    let response = Client::new().post(url).json(body).send().await.expect("it answers");
    assert!(response.status().is_success(), "{response:?}");
    let id = response.headers().get("x-request-id").expect("each answer has one");
    id.to_str().expect("digits").to_owned()
}

/// Waits until a process of the role has logged this message under this id, in a span that speaks of
/// `of`.
async fn logged(scene: &Scene, role: &str, message: &str, id: &str, of: &str) {
    eventually(&format!("{role} logs under {id}: {message}"), || {
        let line = line_of(scene, role, message, id, of);
        if let Some(line) = &line {
            println!("{role}: {line}");
        }
        std::future::ready(line.is_some())
    })
    .await;
}

/// The line with this message that a process of the role has logged under this id, in a span that
/// speaks of `of`.
fn line_of(scene: &Scene, role: &str, message: &str, id: &str, of: &str) -> Option<Value> {
    lines(scene, role, message).into_iter().find(|line| {
        let spans = line["spans"].as_array().into_iter().flatten();
        spans.clone().any(|span| span["trace_id"] == id) && line["spans"].to_string().contains(of)
    })
}

/// The ids of all appends that the chat nodes have answered.
fn appends(scene: &Scene) -> Vec<String> {
    let lines = lines(scene, "chat", ANSWERED);
    let spans = lines.iter().filter_map(|line| {
        let span = &line["span"];
        (span["request.kind"] == "append").then(|| span["trace_id"].as_str().map(str::to_owned))?
    });
    spans.collect()
}

/// The lines with this message in the logs of the processes of a role.
fn lines(scene: &Scene, role: &str, message: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for name in scene.cluster.names_of(role) {
        let log = scene.cluster.log(&name);
        let lines = log.lines().filter(|line| line.contains(message));
        found.extend(lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()));
    }
    found
}
