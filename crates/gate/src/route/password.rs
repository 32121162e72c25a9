//! `POST /v1/password`: sets a new password with a mailed code.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use skein_bus::hint::EndReason;
use skein_core::{
    name::{Email, Password},
    port::verifier::Purpose,
    refusal::{Code, Refusal},
};
use utoipa::ToSchema;

use super::{ALWAYS, WITH_BODY};
use crate::{
    answer::Problem,
    extract::{Body, Peer},
    gate::{Gate, see_through},
};

/// Why it may refuse.
pub(crate) const REFUSES: &[&[Code]] = &[
    &[Code::WrongCode, Code::ExpiredCode, Code::RateLimited, Code::Unavailable],
    WITH_BODY,
    ALWAYS,
];

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetRequest {
    /// The account's address.
    #[schema(example = "alice@example.org")]
    email: String,
    /// The code that was mailed to it.
    #[schema(example = "042917")]
    code: String,
    /// The new password: at least eight characters.
    #[schema(example = "correct horse battery", format = "password")]
    password: String,
}

/// Sets a new password with a mailed code.
///
/// Every token of the account is void from then on, and its sessions end. The answer to a wrong
/// code is the same whether or not there is an account with the address.
#[utoipa::path(
    post,
    path = "/v1/password",
    tag = "accounts",
    request_body = ResetRequest,
    responses((status = 204, description = "The password is set and the code is used up."))
)]
pub(crate) async fn reset(
    State(gate): State<Arc<Gate>>,
    Peer(from): Peer,
    Body(request): Body<ResetRequest>,
) -> Result<StatusCode, Problem> {
    let email = Email::parse(request.email)?;
    let password = Password::parse(request.password)?;
    gate.tries.reset(from).await?;
    // All that can fail without the code comes before it, so that the code is not used up in vain.
    let admission = gate.hasher.admit()?;
    gate.verifier.check(Purpose::ResetPassword, &email, request.code.trim()).await?;
    // A code for an address without an account is mailed to no one: guessing it is no way in.
    let profile = gate
        .accounts
        .account_by_email(&email)
        .await?
        .ok_or_else(|| Problem::from(Refusal::new(Code::WrongCode, "the code is wrong")))?;
    let password_hash = admission.hash(password.expose().to_owned()).await?;
    see_through(async move {
        gate.accounts.set_password(profile.id, password_hash).await?;
        tracing::info!(account.id = %profile.id, "a new password; all tokens are void");
        gate.end_sessions(profile.id, EndReason::Revoked).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use skein_bus::hint::{Hint, Topic};
    use skein_core::id::AccountId;

    use super::*;
    use crate::{
        config::{GateConfig, Limits},
        testing::{CODE, DEVICE, PASSWORD, World, open},
    };

    fn reset_of(name: &str, code: &str) -> Value {
        let email = format!("{name}@example.org");
        json!({"email": email, "code": code, "password": "another password"})
    }

    async fn request_code(world: &World, name: &str) {
        let email = format!("{name}@example.org");
        let body = json!({"purpose": "reset_password", "email": email});
        assert_eq!(world.post("/v1/codes", &body).await.status, 202);
    }

    #[tokio::test]
    async fn sets_a_password_and_ends_all_sessions() {
        let world = World::start().await;
        let account = AccountId(world.register("alice").await);
        let token = world.log_in("alice", DEVICE).await;
        let mut hints = world.watch([Topic::Account(account)]).await;
        request_code(&world, "alice").await;

        let answer = world.post("/v1/password", &reset_of("alice", CODE)).await;
        assert_eq!((answer.status, answer.json), (204, Value::Null));
        let reason = EndReason::Revoked;
        let expected = Hint::SessionsEnded { account, reason };
        assert_eq!(hints.next().await, expected);
        world.get("/v1/whoami", Some(&token)).await.is_refused(401, "unauthorised");

        let old = world.try_log_in("alice", PASSWORD, DEVICE).await;
        old.is_refused(401, "bad_credentials");
        assert_eq!(world.try_log_in("alice", "another password", DEVICE).await.status, 200);
        let again = world.post("/v1/password", &reset_of("alice", CODE)).await;
        again.is_refused(403, "expired_code");
    }

    #[tokio::test]
    async fn answers_alike_without_an_account() {
        let world = World::start().await;
        world.register("alice").await;
        let mut answers = Vec::new();
        for name in ["alice", "nobody"] {
            request_code(&world, name).await;
            let answer = world.post("/v1/password", &reset_of(name, "999999")).await;
            answer.is_refused(403, "wrong_code");
            answers.push(answer.json);
        }
        assert_eq!(answers[0], answers[1]);
        let guessed = world.post("/v1/password", &reset_of("nobody", CODE)).await;
        guessed.is_refused(403, "wrong_code");
        assert_eq!(guessed.json, answers[0]);
    }

    #[tokio::test]
    async fn refuses_what_is_not_accepted() {
        let limits = Limits { resets_per_network_per_hour: 1, ..Limits::default() };
        let world = World::with(GateConfig { limits, ..open() }).await;
        let mut short = reset_of("alice", CODE);
        short["password"] = json!("short");
        world.post("/v1/password", &short).await.is_refused(422, "invalid");
        let without = json!({"email": "alice@example.org", "password": "another password"});
        world.post("/v1/password", &without).await.is_refused(400, "malformed");
        let unasked = world.post("/v1/password", &reset_of("alice", CODE)).await;
        unasked.is_refused(403, "expired_code");
        let limited = world.post("/v1/password", &reset_of("alice", CODE)).await;
        limited.is_refused(429, "rate_limited");
    }
}
