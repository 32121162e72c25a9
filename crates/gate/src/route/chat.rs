//! `GET /v1/chat`: where to open a session. A login says it too; a client asks again when its node
//! is gone.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use skein_core::{
    port::directory::{ChatNode, Trust},
    refusal::Code,
};
use utoipa::{IntoParams, ToSchema};

use super::{ALWAYS, WITH_TOKEN};
use crate::{answer::Problem, extract::Bearer, gate::Gate};

/// Why it may refuse.
pub(crate) const REFUSES: &[&[Code]] = &[&[Code::Unavailable], WITH_TOKEN, ALWAYS];

/// A chat server, and how to know that it is the right one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Chat {
    /// The node's name.
    #[schema(example = "chat-1")]
    node: String,
    /// `host:port` for QUIC.
    #[schema(example = "127.0.0.1:4433")]
    address: String,
    /// If its certificate is signed by an authority that systems trust: the name in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "chat.example.org", nullable = false)]
    server_name: Option<String>,
    /// Else: the SHA-256 of its certificate is one of these, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    certificate_sha256: Option<Vec<String>>,
}

impl From<ChatNode> for Chat {
    fn from(node: ChatNode) -> Self {
        let (server_name, certificate_sha256) = match node.trust {
            Trust::Authority { server_name } => (Some(server_name), None),
            Trust::Fingerprints(all) => {
                (None, Some(all.iter().map(|one| HEXLOWER.encode(one)).collect()))
            }
        };
        Self { node: node.name, address: node.address, server_name, certificate_sha256 }
    }
}

/// What a client may say about the node that it wants.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// The name of a node that does not answer: any other one.
    except: Option<String>,
}

/// Where to open a session.
#[utoipa::path(
    get,
    path = "/v1/chat",
    tag = "sessions",
    params(Wanted),
    security(("token" = [])),
    responses((status = 200, description = "A chat server that takes sessions.", body = Chat))
)]
pub(crate) async fn where_to_chat(
    State(gate): State<Arc<Gate>>,
    _token: Bearer,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Chat>, Problem> {
    // A wish that cannot be read is none.
    let except = wanted.ok().and_then(|Query(wanted)| wanted.except);
    let node = gate.directory.assign(except.as_deref()).await?;
    Ok(Json(node.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{DEVICE, World};

    #[tokio::test]
    async fn names_a_node_to_who_is_logged_in() {
        let world = World::start().await;
        world.get("/v1/chat", None).await.is_refused(401, "unauthorised");
        world.register("alice").await;
        let token = world.log_in("alice", DEVICE).await;
        let answer = world.get("/v1/chat", Some(&token)).await;
        assert_eq!(answer.status, 200);
        let expected = json!({
            "node": "one", "address": "127.0.0.1:4433", "certificate_sha256": ["ab".repeat(32)]
        });
        assert_eq!(answer.json, expected);
        let answer = world.get("/v1/chat?except=one", Some(&token)).await;
        answer.is_refused(503, "unavailable");
        let answer = world.get("/v1/chat?except=%ff", Some(&token)).await;
        assert_eq!(answer.json, expected);

        world.directory.close();
        let answer = world.get("/v1/chat", Some(&token)).await;
        answer.is_refused(503, "unavailable");
        assert_eq!(answer.json["error"]["retry_after"], json!(2));
    }

    #[test]
    fn an_authority_needs_no_fingerprint() {
        let trust = Trust::Authority { server_name: "chat.example.org".into() };
        let node = ChatNode { name: "one".into(), address: "chat.example.org:443".into(), trust };
        let json = serde_json::to_value(Chat::from(node)).expect("JSON");
        let expected = json!({
            "node": "one", "address": "chat.example.org:443", "server_name": "chat.example.org"
        });
        assert_eq!(json, expected);
    }
}
