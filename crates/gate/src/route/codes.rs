//! `POST /v1/codes`: asks for a code by mail.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use skein_core::{name::Email, port::verifier::Purpose, refusal::Code};
use utoipa::ToSchema;

use super::{ALWAYS, WITH_BODY};
use crate::{
    answer::Problem,
    extract::{Body, Peer},
    gate::Gate,
};

/// Why it may refuse.
pub(crate) const REFUSES: &[&[Code]] =
    &[&[Code::RateLimited, Code::Unavailable], WITH_BODY, ALWAYS];

/// Asks for a code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeRequest {
    /// What the code will be used for; it is void for anything else.
    purpose: CodePurpose,
    /// Where to mail it.
    #[schema(example = "alice@example.org")]
    email: String,
}

/// What a code is good for.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CodePurpose {
    /// To create an account with the address.
    Register,
    /// To set a new password for the account with the address.
    ResetPassword,
}

impl From<CodePurpose> for Purpose {
    fn from(purpose: CodePurpose) -> Self {
        match purpose {
            CodePurpose::Register => Self::Register,
            CodePurpose::ResetPassword => Self::ResetPassword,
        }
    }
}

/// The request was taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct CodeAnswer {
    /// Seconds for which a mailed code is good.
    #[schema(example = 300)]
    expires_in_seconds: u64,
}

/// Asks for a code by mail.
///
/// The answer is the same whether or not there is an account with the address. A code to register
/// goes only to an address without one, a code to reset the password only to one with one.
#[utoipa::path(
    post,
    path = "/v1/codes",
    tag = "accounts",
    request_body = CodeRequest,
    responses((
        status = 202,
        description = "If a code is due, it is on its way: the earlier one if it is still good.",
        body = CodeAnswer
    ))
)]
pub(crate) async fn request_code(
    State(gate): State<Arc<Gate>>,
    Peer(from): Peer,
    Body(request): Body<CodeRequest>,
) -> Result<(StatusCode, Json<CodeAnswer>), Problem> {
    let email = Email::parse(request.email)?;
    let purpose = Purpose::from(request.purpose);
    let has_account = gate.accounts.account_by_email(&email).await?.is_some();
    let deliver = match purpose {
        Purpose::Register => !has_account,
        Purpose::ResetPassword => has_account,
    };
    let sent = gate.verifier.request(purpose, &email, from, deliver).await?;
    let expires_in_seconds = sent.expires_in.as_secs();
    Ok((StatusCode::ACCEPTED, Json(CodeAnswer { expires_in_seconds })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn answers_alike_and_mails_where_it_is_due() {
        let world = World::start().await;
        world.register("alice").await;
        for (purpose, email, delivered) in [
            ("register", "alice@example.org", false),
            ("register", "bob@example.org", true),
            ("reset_password", "Alice@Example.org", true),
            ("reset_password", "bob@example.org", false),
        ] {
            let body = json!({"purpose": purpose, "email": email});
            let answer = world.post("/v1/codes", &body).await;
            assert_eq!((answer.status, answer.json), (202, json!({"expires_in_seconds": 300})));
            let request = world.verifier.last_request();
            assert_eq!((request.purpose.name(), request.delivered), (purpose, delivered));
            assert!(request.from.is_loopback());
        }
    }

    #[tokio::test]
    async fn passes_on_why_not() {
        let world = World::start().await;
        world.verifier.limit();
        let body = json!({"purpose": "register", "email": "bob@example.org"});
        let answer = world.post("/v1/codes", &body).await;
        answer.is_refused(429, "rate_limited");
        assert_eq!(answer.json["error"]["retry_after"], json!(90));
        assert_eq!(answer.headers["retry-after"], "90");
    }

    #[tokio::test]
    async fn refuses_what_is_no_purpose_or_address() {
        let world = World::start().await;
        for (body, status, code) in [
            (json!({"purpose": "register", "email": "nobody"}), 422, "invalid"),
            (json!({"purpose": "login", "email": "a@example.org"}), 400, "malformed"),
            (json!({"email": "a@example.org"}), 400, "malformed"),
            (json!({"purpose": "register", "email": "a@b", "more": 1}), 400, "malformed"),
        ] {
            world.post("/v1/codes", &body).await.is_refused(status, code);
        }
    }
}
