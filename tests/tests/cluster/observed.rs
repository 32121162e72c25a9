//! What a process tells whoever looks at it: the listener of `observe.listen`.

use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::scene::Scene;

/// What `/readyz` says.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) status: StatusCode,
    body: Value,
}

impl Ready {
    /// Whether every check passes, the advisory ones too.
    pub(crate) fn is_whole(&self) -> bool {
        self.status == StatusCode::OK && self.body["degraded"] == Value::Array(Vec::new())
    }

    /// Whether it is ready without these, which are not as they should be.
    pub(crate) fn is_degraded_by(&self, checks: &[&str]) -> bool {
        self.status == StatusCode::OK
            && self.body["ready"] == true
            && self.body["degraded"] == serde_json::json!(checks)
            && checks.iter().all(|check| !self.finds(check, "ok"))
    }

    /// Whether it is not ready, and this check says so.
    pub(crate) fn is_red_for(&self, check: &str) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self.body["ready"] == false
            && self.body["checks"].get(check).is_some()
            && !self.finds(check, "ok")
    }

    /// Whether this check says this.
    pub(crate) fn finds(&self, check: &str, words: &str) -> bool {
        self.body["checks"][check] == words
    }
}

/// Asks a process whether it can do its work.
pub(crate) async fn ready(scene: &Scene, name: &str) -> Ready {
    let (status, body) = get(scene, name, "readyz").await;
    let body = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{name}: {status} {body}"));
    Ready { status, body }
}

/// Gets a path of a process's listener.
pub(crate) async fn get(scene: &Scene, name: &str, path: &str) -> (StatusCode, String) {
    let url = format!("http://{}/{path}", scene.cluster.address(name, "observe"));
    let response = Client::new().get(url).send().await.expect("it answers");
    (response.status(), response.text().await.expect("text"))
}
