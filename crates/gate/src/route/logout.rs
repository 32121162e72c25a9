//! `POST /v1/logout`: ends a token and the session that it opened.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use skein_bus::hint::EndReason;
use skein_core::refusal::Code;

use super::{ALWAYS, WITH_TOKEN};
use crate::{
    answer::Problem,
    extract::Bearer,
    gate::{Gate, see_through},
};

/// Why it may refuse.
pub(crate) const REFUSES: &[&[Code]] = &[WITH_TOKEN, ALWAYS];

/// Ends the token and the sessions of its device.
#[utoipa::path(
    post,
    path = "/v1/logout",
    tag = "sessions",
    security(("token" = [])),
    responses((status = 204, description = "The token is void from now on."))
)]
pub(crate) async fn log_out(
    State(gate): State<Arc<Gate>>,
    Bearer { identity, hash }: Bearer,
) -> Result<StatusCode, Problem> {
    see_through(async move {
        if gate.tokens.revoke_token(&hash).await? {
            gate.end_sessions(identity.account.id, EndReason::Revoked).await;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[cfg(test)]
mod tests {
    use skein_bus::hint::{Hint, Topic};
    use skein_core::id::AccountId;

    use super::*;
    use crate::testing::{DEVICE, OTHER_DEVICE, World};

    #[tokio::test]
    async fn ends_this_token_and_no_other() {
        let world = World::start().await;
        let account = AccountId(world.register("alice").await);
        let token = world.log_in("alice", DEVICE).await;
        let other = world.log_in("alice", OTHER_DEVICE).await;
        let mut hints = world.watch([Topic::Account(account)]).await;

        let answer = world.post_with_token("/v1/logout", &token).await;
        assert_eq!(answer.status, 204);
        let expected = Hint::SessionsEnded { account, reason: EndReason::Revoked };
        assert_eq!(hints.next().await, expected);
        world.get("/v1/whoami", Some(&token)).await.is_refused(401, "unauthorised");
        world.post_with_token("/v1/logout", &token).await.is_refused(401, "unauthorised");
        assert_eq!(world.get("/v1/whoami", Some(&other)).await.status, 200);
    }
}
