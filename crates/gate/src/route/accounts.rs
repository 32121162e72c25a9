//! `POST /v1/accounts`: registers.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use skein_core::{
    name::{Email, Password, Username},
    port::verifier::Purpose,
    refusal::{Code, Refusal},
};
use skein_store::account::NewAccount;
use utoipa::ToSchema;

use super::{ALWAYS, WITH_BODY};
use crate::{
    answer::Problem,
    config::Registration,
    extract::{Body, Peer},
    gate::Gate,
};

/// Why it may refuse.
pub(crate) const REFUSES: &[&[Code]] = &[
    &[
        Code::NameTaken,
        Code::EmailTaken,
        Code::CodeRequired,
        Code::WrongCode,
        Code::ExpiredCode,
        Code::RateLimited,
        Code::Unavailable,
    ],
    WITH_BODY,
    ALWAYS,
];

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterRequest {
    /// How others find it; unique without regard to case.
    #[schema(example = "alice")]
    name: String,
    /// Where codes go; shown to no one, unique without regard to case.
    #[schema(example = "alice@example.org")]
    email: String,
    /// At least eight characters.
    #[schema(example = "correct horse battery", format = "password")]
    password: String,
    /// The code that was mailed to the address. Needed where registration is by code, and not
    /// looked at where it is open.
    #[schema(example = "042917")]
    code: Option<String>,
}

/// The new account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    /// Its number.
    #[schema(example = 12)]
    account: u64,
    /// Its name.
    #[schema(example = "alice")]
    name: String,
}

/// Registers.
#[utoipa::path(
    post,
    path = "/v1/accounts",
    tag = "accounts",
    request_body = RegisterRequest,
    responses((status = 201, description = "The account can log in.", body = Registered))
)]
pub(crate) async fn register(
    State(gate): State<Arc<Gate>>,
    Peer(from): Peer,
    Body(request): Body<RegisterRequest>,
) -> Result<(StatusCode, Json<Registered>), Problem> {
    let name = Username::parse(request.name)?;
    let email = Email::parse(request.email)?;
    let password = Password::parse(request.password)?;
    gate.tries.registration(from).await?;
    // All that can fail without the code comes before it, so that the code is not used up in vain.
    if gate.accounts.credentials(&name).await?.is_some() {
        return Err(Refusal::new(Code::NameTaken, "the name has an owner; choose another").into());
    }
    let admission = gate.hasher.admit()?;
    match gate.config.registration() {
        Registration::Open => {}
        Registration::Code => {
            let code = request.code.ok_or_else(code_required)?;
            gate.verifier.check(Purpose::Register, &email, code.trim()).await?;
        }
    }
    let password_hash = admission.hash(password.expose().to_owned()).await?;
    let new = NewAccount { name, email, password_hash };
    let profile = gate.accounts.create_account(new, gate.clock.now()).await?;
    tracing::info!(account.id = %profile.id, "a new account");
    let registered = Registered { account: profile.id.0, name: profile.name.to_string() };
    Ok((StatusCode::CREATED, Json(registered)))
}

fn code_required() -> Refusal {
    let message = "registration here needs a code: ask for one with POST /v1/codes, \
                   and send it along as `code`";
    Refusal::new(Code::CodeRequired, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        config::{GateConfig, Limits},
        testing::{CODE, World},
    };

    fn alice() -> Value {
        json!({"name": "Alice", "email": "alice@example.org", "password": "long enough"})
    }

    fn with(field: &str, value: impl Into<Value>) -> Value {
        let mut body = alice();
        body[field] = value.into();
        body
    }

    fn by_code() -> GateConfig {
        GateConfig { registration: Some(Registration::Code), ..GateConfig::default() }
    }

    #[tokio::test]
    async fn creates_an_account() {
        let world = World::start().await;
        let answer = world.post("/v1/accounts", &alice()).await;
        assert_eq!(answer.status, 201, "{}", answer.json);
        assert_eq!(answer.json["name"], json!("Alice"));
        assert!(answer.json["account"].is_u64());
        assert_eq!(answer.json.as_object().map(|object| object.len()), Some(2));
    }

    #[tokio::test]
    async fn names_and_addresses_have_one_owner() {
        let world = World::start().await;
        assert_eq!(world.post("/v1/accounts", &alice()).await.status, 201);
        let same_name = json!({"name": "aLICE", "email": "b@example.org", "password": "12345678"});
        world.post("/v1/accounts", &same_name).await.is_refused(409, "name_taken");
        let same_email = with("name", "bob");
        world.post("/v1/accounts", &same_email).await.is_refused(409, "email_taken");
    }

    #[tokio::test]
    async fn refuses_what_is_not_accepted() {
        let world = World::start().await;
        for (field, value) in [
            ("name", "no spaces"),
            ("name", ""),
            ("email", "nobody"),
            ("password", "short"),
            ("password", &*"x".repeat(1025)),
        ] {
            let answer = world.post("/v1/accounts", &with(field, value)).await;
            answer.is_refused(422, "invalid");
        }
        for body in [with("admin", true), with("name", 5), with("code", 5), json!([]), json!({})] {
            world.post("/v1/accounts", &body).await.is_refused(400, "malformed");
        }
    }

    #[tokio::test]
    async fn takes_a_code_where_one_is_needed() {
        let world = World::with(by_code()).await;
        world.post("/v1/accounts", &alice()).await.is_refused(403, "code_required");
        world.post("/v1/accounts", &with("code", CODE)).await.is_refused(403, "expired_code");

        let request = json!({"purpose": "register", "email": "alice@example.org"});
        assert_eq!(world.post("/v1/codes", &request).await.status, 202);
        world.post("/v1/accounts", &with("code", "999999")).await.is_refused(403, "wrong_code");
        let answer = world.post("/v1/accounts", &with("code", CODE)).await;
        assert_eq!(answer.status, 201, "{}", answer.json);
    }

    #[tokio::test]
    async fn a_taken_name_does_not_use_up_the_code() {
        let world = World::with(by_code()).await;
        for (name, email) in [("bob", "bob@example.org"), ("alice", "alice@example.org")] {
            let request = json!({"purpose": "register", "email": email});
            assert_eq!(world.post("/v1/codes", &request).await.status, 202);
            let mut body = with("code", CODE);
            (body["name"], body["email"]) = (json!("bob"), json!(email));
            let answer = world.post("/v1/accounts", &body).await;
            if name == "bob" {
                assert_eq!(answer.status, 201, "{}", answer.json);
            } else {
                answer.is_refused(409, "name_taken");
                body["name"] = json!(name);
                assert_eq!(world.post("/v1/accounts", &body).await.status, 201);
            }
        }
    }

    #[tokio::test]
    async fn undecided_it_takes_a_code() {
        let world = World::with(GateConfig::default()).await;
        world.post("/v1/accounts", &alice()).await.is_refused(403, "code_required");
    }

    #[tokio::test]
    async fn counts_attempts() {
        let limits = Limits { registrations_per_network_per_hour: 2, ..Limits::default() };
        let world = World::with(GateConfig { limits, ..by_code() }).await;
        for _ in 0..2 {
            world.post("/v1/accounts", &alice()).await.is_refused(403, "code_required");
        }
        let answer = world.post("/v1/accounts", &alice()).await;
        answer.is_refused(429, "rate_limited");
        assert!(answer.json["error"]["retry_after"].as_u64().is_some_and(|wait| wait <= 3600));
    }
}
