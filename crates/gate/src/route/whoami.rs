//! `GET /v1/whoami`: whom a token speaks for.

use axum::Json;
use serde::Serialize;
use skein_core::refusal::Code;
use utoipa::ToSchema;

use super::{ALWAYS, WITH_TOKEN};
use crate::extract::Bearer;

/// Why it may refuse.
pub(crate) const REFUSES: &[&[Code]] = &[WITH_TOKEN, ALWAYS];

/// Whom a token speaks for.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// The account's number.
    #[schema(example = 12)]
    account: u64,
    /// The account's name, as its owner writes it.
    #[schema(example = "alice")]
    name: String,
    /// The device that the token was issued to: 32 hexadecimal digits.
    #[schema(example = "0f1e2d3c4b5a69788796a5b4c3d2e1f0")]
    device: String,
    /// What its owner calls that device.
    #[schema(example = "laptop")]
    device_name: String,
}

/// Whom the token speaks for.
#[utoipa::path(
    get,
    path = "/v1/whoami",
    tag = "sessions",
    security(("token" = [])),
    responses((status = 200, description = "The token is valid.", body = WhoAmI))
)]
pub(crate) async fn who_am_i(Bearer { identity, .. }: Bearer) -> Json<WhoAmI> {
    Json(WhoAmI {
        account: identity.account.id.0,
        name: identity.account.name.to_string(),
        device: identity.device.to_string(),
        device_name: identity.device_name.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use skein_core::token::token_text;

    use crate::testing::{DEVICE, World};

    #[tokio::test]
    async fn says_who_the_token_is_for() {
        let world = World::start().await;
        let account = world.register("Alice").await;
        let token = world.log_in("alice", DEVICE).await;
        let answer = world.get("/v1/whoami", Some(&token)).await;
        assert_eq!(answer.status, 200);
        let expected =
            json!({"account": account, "name": "Alice", "device": DEVICE, "device_name": "laptop"});
        assert_eq!(answer.json, expected);
    }

    #[tokio::test]
    async fn takes_no_other_token() {
        let world = World::start().await;
        let unknown = token_text(&[7; 32]);
        for token in [None, Some(&*unknown), Some("skein_short"), Some("")] {
            let answer = world.get("/v1/whoami", token).await;
            answer.is_refused(401, "unauthorised");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }

    #[tokio::test]
    async fn takes_no_expired_token() {
        let world = World::start().await;
        world.register("alice").await;
        let token = world.log_in("alice", DEVICE).await;
        world.clock.advance(Duration::from_secs(30 * 24 * 60 * 60) - Duration::from_millis(1));
        assert_eq!(world.get("/v1/whoami", Some(&token)).await.status, 200);
        world.clock.advance(Duration::from_millis(1));
        world.get("/v1/whoami", Some(&token)).await.is_refused(401, "unauthorised");
    }
}
