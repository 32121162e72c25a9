//! `/metrics` of real processes after real traffic: each family with its help and its type, and no
//! zero where something has happened.

use std::fs;

use reqwest::StatusCode;
use serde_json::json;
use skein_client::{LogId, Text, Variant};
use skein_core::id::EntryId;
use skein_testkit::{cli::PASSWORD, eventually, raw::RawSession};
use skein_wire::pb::{self, reply, request};

use crate::{observed, scene::Scene};

/// What has happened by now, and what only may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// More than nothing.
    Some,
    /// Any number, nothing included.
    Any,
}

use Expected::{Any, Some as Positive};

/// A family: its name, what distinguishes its samples that are meant, its type, and how much of it.
type Family = (&'static str, &'static str, &'static str, Expected);

const GATE: &[Family] = &[
    ("skein_http_requests_total", "", "counter", Positive),
    ("skein_http_request_seconds", "", "histogram", Positive),
    ("skein_store_pool_wait_seconds", "", "histogram", Positive),
    ("skein_bus_reconnects_total", "", "counter", Positive),
    ("skein_errors_total", r#"role="gate""#, "counter", Positive),
    ("skein_rpc_client_calls_total", "", "counter", Positive),
    ("process_resident_memory_bytes", "", "gauge", Positive),
    ("process_open_fds", "", "gauge", Positive),
    ("skein_build_info", "", "gauge", Positive),
];
const CHAT: &[Family] = &[
    ("skein_chat_sessions", "", "gauge", Positive),
    ("skein_net_handshakes_total", r#"outcome="done""#, "counter", Positive),
    ("skein_net_connections", "", "gauge", Positive),
    ("skein_chat_requests_total", r#"kind="append""#, "counter", Positive),
    ("skein_store_append_seconds", "", "histogram", Positive),
    ("skein_store_batch_jobs", "", "histogram", Positive),
    ("skein_store_queue_jobs", "", "gauge", Any),
    ("skein_chat_delivery_seconds", "", "histogram", Positive),
    ("skein_chat_queue_frames", "", "histogram", Positive),
    ("skein_chat_events_total", "", "counter", Positive),
    ("skein_chat_behind_total", r#"why="missed""#, "counter", Any),
    ("skein_chat_behind_total", r#"why="full""#, "counter", Any),
    ("skein_chat_sessions_behind", "", "gauge", Any),
    ("skein_chat_moved_total", "", "counter", Any),
    ("skein_net_stream_bytes_total", r#"direction="up""#, "counter", Positive),
    ("skein_net_stream_bytes_total", r#"direction="down""#, "counter", Positive),
    ("skein_chat_transfer_bytes_total", r#"direction="up""#, "counter", Positive),
    ("skein_chat_transfer_bytes_total", r#"direction="down""#, "counter", Positive),
    ("skein_bus_reconnects_total", "", "counter", Positive),
    ("skein_bus_hints_published_total", "", "counter", Positive),
    ("skein_store_pool_wait_seconds", "", "histogram", Positive),
    ("skein_errors_total", r#"role="chat""#, "counter", Positive),
];
const VERIFY: &[Family] = &[
    ("skein_rpc_server_calls_total", "", "counter", Positive),
    ("skein_bus_reconnects_total", "", "counter", Positive),
    ("skein_errors_total", r#"role="verify",code="wrong_code""#, "counter", Positive),
];
const STATUS: &[Family] = &[
    ("skein_status_assignments_total", r#"outcome="assigned""#, "counter", Positive),
    ("skein_status_nodes", r#"state="open""#, "gauge", Positive),
    ("skein_rpc_server_calls_total", "", "counter", Positive),
    ("skein_bus_reconnects_total", "", "counter", Positive),
    ("skein_errors_total", r#"role="status",code="not_found""#, "counter", Positive),
];
const RESOURCE: &[Family] = &[
    ("skein_resource_blobs_total", "", "counter", Positive),
    ("skein_resource_received_bytes_total", "", "counter", Positive),
    ("skein_resource_sent_bytes_total", "", "counter", Positive),
    ("skein_resource_uploads_open", "", "gauge", Any),
    ("skein_blob_request_seconds", "", "histogram", Positive),
    ("skein_store_pool_wait_seconds", "", "histogram", Positive),
    ("skein_errors_total", r#"role="resource""#, "counter", Positive),
];

/// After a stage in which Redis was away for a moment.
pub(crate) async fn each_role_tells_what_it_counts(scene: &Scene) {
    let pair = scene.pair("mia", "noah").await;
    let log = LogId::Conversation(pair.conversation);
    for number in 0..10 {
        let text = Text::parse(format!("message {number}")).expect("a text");
        let delivery = pair.left.send_text(pair.conversation, text).await.expect("kept");
        let seq = delivery.acknowledged().await.expect("acknowledged");
        pair.right.entry(log, seq).await.expect("it is there");
    }
    let path = scene.folder.path().join("counted");
    fs::write(&path, vec![7; 1 << 20]).expect("the folder is ours");
    let delivery = pair.left.send_file(pair.conversation, &path, drop).await.expect("sent");
    let seq = delivery.acknowledged().await.expect("acknowledged");
    let entry = pair.right.entry(log, seq).await.expect("it is there");
    let attachment = entry.body.attachment().expect("a file");
    let to = path.with_extension("copy");
    let fetched = pair.right.download(attachment, Variant::Original, &to, false, drop).await;
    fetched.expect("fetched");
    let small = path.with_extension("small");
    let none = pair.right.download(attachment, Variant::Thumbnail, &small, false, drop).await;
    none.expect_err("it is no picture");
    everybody_refuses_something(scene).await;

    for (role, families) in [
        ("gate", GATE),
        ("chat", CHAT),
        ("verify", VERIFY),
        ("status", STATUS),
        ("resource", RESOURCE),
    ] {
        // Which of the processes of a role did something is a matter of chance.
        eventually(&format!("{role} has counted everything"), || async {
            let mut told = String::new();
            for name in scene.cluster.names_of(role) {
                let (status, metrics) = observed::get(scene, &name, "metrics").await;
                assert_eq!(status, StatusCode::OK, "{name}");
                told.push_str(&metrics);
            }
            let missing: Vec<_> =
                families.iter().filter(|family| !is_told(&told, family)).collect();
            let missing: Vec<_> = missing.iter().map(|(name, labels, ..)| (name, labels)).collect();
            if !missing.is_empty() {
                println!("{role}: not yet: {missing:?}");
            }
            missing.is_empty()
        })
        .await;
    }
    pair.left.close().await;
    pair.right.close().await;
}

/// Each role has something to say no to, so that it counts an error.
async fn everybody_refuses_something(scene: &Scene) {
    let account = json!({
        "name": "olga", "email": "olga@example.org", "password": PASSWORD, "code": "000000",
    });
    scene
        .gate
        .post("/v1/codes", &json!({ "purpose": "register", "email": "olga@example.org" }))
        .await;
    let right = scene.code_for("olga@example.org");
    assert_ne!(right, "000000", "one in a million");
    let (status, answer) = scene.gate.post("/v1/accounts", &account).await;
    assert!(status.is_client_error(), "{answer}");

    let no_node = tokio::task::block_in_place(|| scene.cluster.admin(&["drain", "chat-9"]));
    assert!(!no_node.status.success(), "{no_node:?}");

    let login = scene.gate.login("mia").await;
    let mut session = RawSession::open(&login).await.expect("welcome");
    let content = pb::draft::Content::Text(pb::Text { text: "nobody hears".to_owned() });
    let id = EntryId(rand::random()).0.to_vec().into();
    let draft = pb::Draft { conversation: u64::MAX >> 2, id, content: Some(content) };
    let answer = session.request(request::Kind::Append(draft)).await;
    assert!(matches!(answer, reply::Kind::Error(_)), "{answer:?}");
}

/// Whether a family has its help, its type and a sample, which is positive if it has to be.
fn is_told(told: &str, (name, labels, kind, expected): &Family) -> bool {
    let help = told.lines().any(|line| {
        line.strip_prefix(&format!("# HELP {name} ")).is_some_and(|help| help.len() > 10)
    });
    let typed = told.lines().any(|line| line == format!("# TYPE {name} {kind}"));
    let sample = if *kind == "histogram" { format!("{name}_count") } else { (*name).to_owned() };
    let values: Vec<f64> = told
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(&sample).filter(|rest| rest.starts_with(['{', ' ']))?;
            let (of, value) = rest.rsplit_once(' ')?;
            labels.split(',').all(|label| of.contains(label)).then(|| value.parse().ok())?
        })
        .collect();
    let enough = *expected == Any || values.iter().sum::<f64>() > 0.0;
    help && typed && !values.is_empty() && enough
}
