//! `POST /v1/login`: a password for a token, and for the address of a chat server.

use std::sync::Arc;

use axum::{Json, extract::State};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use skein_bus::hint::{EndReason, Hint, Topic};
use skein_core::{
    account::SessionPolicy,
    id::{DeviceId, EntryId},
    name::{DeviceName, Username},
    refusal::{Code, Refusal},
    time::Timestamp,
    token::{hash_token, token_text},
};
use skein_store::{
    account::Credentials,
    token::{NewToken, account_disabled},
};
use utoipa::ToSchema;

use super::{ALWAYS, WITH_BODY, chat::Chat};
use crate::{
    answer::Problem,
    extract::{Body, Peer},
    gate::{Gate, see_through},
    password::within_bounds,
};

/// Why it may refuse.
pub(crate) const REFUSES: &[&[Code]] = &[
    &[Code::BadCredentials, Code::Forbidden, Code::RateLimited, Code::Unavailable],
    WITH_BODY,
    ALWAYS,
];

/// Who logs in, and where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    /// The account's name, without regard to case.
    #[schema(example = "alice")]
    name: String,
    /// Its password.
    #[schema(example = "correct horse battery", format = "password")]
    password: String,
    /// 32 hexadecimal digits, drawn once for each installation of a client. A login on the same
    /// device ends its earlier token and the sessions that were opened with it.
    #[schema(example = "0f1e2d3c4b5a69788796a5b4c3d2e1f0")]
    device: String,
    /// What to call the device, for the owner to read.
    #[schema(example = "laptop")]
    device_name: String,
}

/// The login.
#[derive(Serialize, ToSchema)]
pub(crate) struct LoginAnswer {
    /// Speaks for the account; a secret. Goes into `authorization: Bearer …` and into the hello of
    /// a session.
    #[schema(example = "skein_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    token: String,
    /// When it stops doing so, in milliseconds since the Unix epoch.
    expires_at_ms: u64,
    /// The account's number.
    #[schema(example = 12)]
    account: u64,
    /// The account's name, as its owner writes it.
    #[schema(example = "alice")]
    name: String,
    /// Which server this is: 32 hexadecimal digits that stay for as long as its data does. If they
    /// are others than at the last login, what was kept of that server is void.
    #[schema(example = "5b0e61c2a4f98d37e6120c4b9fd8a375")]
    server_id: String,
    /// Where to open a session.
    chat: Chat,
}

/// Logs in.
///
/// Where an account may have one session at a time, the tokens and sessions of its other devices
/// end.
#[utoipa::path(
    post,
    path = "/v1/login",
    tag = "sessions",
    request_body = LoginRequest,
    responses((status = 200, description = "Logged in.", body = LoginAnswer))
)]
pub(crate) async fn log_in(
    State(gate): State<Arc<Gate>>,
    Peer(from): Peer,
    Body(request): Body<LoginRequest>,
) -> Result<Json<LoginAnswer>, Problem> {
    let name = Username::parse(request.name)?;
    let password = within_bounds(request.password)?;
    let device: DeviceId = request.device.parse().map_err(|_| bad_device())?;
    let device_name = DeviceName::parse(request.device_name)?;
    gate.tries.login(&name, from).await?;
    let Credentials { profile, password_hash, disabled } =
        authenticate(&gate, &name, password).await?;
    // Only whoever knows the password hears it.
    if disabled {
        return Err(account_disabled().into());
    }
    // Before the token: a login that leads nowhere should change nothing.
    let server_id = HEXLOWER.encode(&gate.instance.instance().await?);
    let node = gate.directory.assign(None).await?;

    let token = token_text(&rand::random());
    let now = gate.clock.now();
    let expires = now + gate.config.token_lifetime();
    let new = NewToken {
        hash: hash_token(&token),
        account: profile.id,
        password_hash,
        device,
        device_name,
        expires,
        policy: gate.config.session_policy.into(),
        entry_seed: EntryId(rand::random()),
    };
    see_through(issue(gate, new, now)).await?;
    Ok(Json(LoginAnswer {
        token,
        expires_at_ms: expires.0,
        account: profile.id.0,
        name: profile.name.to_string(),
        server_id,
        chat: node.into(),
    }))
}

/// Takes the same time for a wrong password as for an unknown name, and answers the same.
async fn authenticate(
    gate: &Gate,
    name: &Username,
    password: String,
) -> Result<Credentials, Problem> {
    let admission = gate.hasher.admit()?;
    let credentials = gate.accounts.credentials(name).await?;
    let stored = credentials.as_ref().map(|known| known.password_hash.clone());
    let is_right = admission.check(password, stored).await?;
    credentials.filter(|_| is_right).ok_or_else(|| {
        Refusal::new(Code::BadCredentials, "the name or the password is wrong").into()
    })
}

async fn issue(gate: Arc<Gate>, new: NewToken, now: Timestamp) -> Result<(), Problem> {
    let account = new.account;
    let reason = match new.policy {
        SessionPolicy::Many => EndReason::Revoked,
        SessionPolicy::Exclusive => EndReason::Kicked { by: new.device_name.to_string() },
    };
    let issued = gate.tokens.issue_token(new, now).await?;
    for committed in issued.committed {
        let hint = Hint::Appended(committed.log, Arc::new(committed.entry));
        gate.hints.publish(Topic::Log(committed.log), hint).await;
    }
    if issued.replaced || !issued.ended.is_empty() {
        gate.end_sessions(account, reason).await;
    }
    Ok(())
}

fn bad_device() -> Refusal {
    Refusal::new(Code::Invalid, "a device is 32 hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skein_core::{
        entry::{Body as EntryBody, SessionEnded},
        id::{AccountId, LogId},
        token::is_token,
    };

    use super::*;
    use crate::{
        config::{GateConfig, Limits, Sessions},
        testing::{DEVICE, OTHER_DEVICE, PASSWORD, START, World, open},
    };

    #[tokio::test]
    async fn answers_a_token_and_where_to_chat() {
        let world = World::start().await;
        let account = world.register("Alice").await;
        let answer = world.try_log_in("ALICE", PASSWORD, DEVICE).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(answer.json["token"].as_str().is_some_and(is_token));
        let month_ms = 30 * 24 * 60 * 60 * 1000;
        assert_eq!(answer.json["expires_at_ms"], json!(START.0 + month_ms));
        assert_eq!(answer.json["account"], json!(account));
        assert_eq!(answer.json["name"], json!("Alice"));
        assert_eq!(answer.json["chat"]["address"], json!("127.0.0.1:4433"));
    }

    #[tokio::test]
    async fn says_which_server_it_is() {
        let (world, other) = (World::start().await, World::start().await);
        let server_id = async |world: &World| {
            let answer = world.try_log_in("alice", PASSWORD, DEVICE).await;
            answer.json["server_id"].as_str().expect("text").to_owned()
        };
        for world in [&world, &other] {
            world.register("alice").await;
        }
        let first = server_id(&world).await;
        assert!(first.len() == 32 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
        assert_eq!(server_id(&world).await, first);
        assert_ne!(server_id(&other).await, first, "it began anew");
    }

    #[tokio::test]
    async fn a_wrong_password_looks_like_an_unknown_name() {
        let world = World::start().await;
        world.register("alice").await;
        let wrong = world.try_log_in("alice", "wrong password", DEVICE).await;
        wrong.is_refused(401, "bad_credentials");
        let unknown = world.try_log_in("nobody", PASSWORD, DEVICE).await;
        unknown.is_refused(401, "bad_credentials");
        assert_eq!(wrong.json, unknown.json);
    }

    #[tokio::test]
    async fn refuses_what_is_not_accepted() {
        let world = World::start().await;
        let too_long = "x".repeat(1025);
        for (name, password, device) in [
            ("no spaces", PASSWORD, DEVICE),
            ("alice", &*too_long, DEVICE),
            ("alice", PASSWORD, "laptop"),
        ] {
            let answer = world.try_log_in(name, password, device).await;
            answer.is_refused(422, "invalid");
        }
    }

    #[tokio::test]
    async fn many_devices_stay_by_default() {
        let world = World::start().await;
        world.register("alice").await;
        let first = world.log_in("alice", DEVICE).await;
        let second = world.log_in("alice", OTHER_DEVICE).await;
        for token in [&first, &second] {
            assert_eq!(world.get("/v1/whoami", Some(token)).await.status, 200);
        }
        let again = world.log_in("alice", DEVICE).await;
        assert_eq!(world.get("/v1/whoami", Some(&again)).await.status, 200);
        world.get("/v1/whoami", Some(&first)).await.is_refused(401, "unauthorised");
    }

    #[tokio::test]
    async fn a_login_ends_the_former_one_of_its_device() {
        let kicked = EndReason::Kicked { by: "laptop".into() };
        for (session_policy, reason) in
            [(Sessions::Many, EndReason::Revoked), (Sessions::Exclusive, kicked)]
        {
            let world = World::with(GateConfig { session_policy, ..open() }).await;
            let account = AccountId(world.register("alice").await);
            let mut hints = world.watch([Topic::Account(account)]).await;
            world.log_in("alice", OTHER_DEVICE).await;
            world.log_in("alice", OTHER_DEVICE).await;
            let expected = Hint::SessionsEnded { account, reason };
            assert_eq!(hints.next().await, expected);
        }
    }

    #[tokio::test]
    async fn an_exclusive_login_ends_the_others() {
        let config = GateConfig { session_policy: Sessions::Exclusive, ..open() };
        let world = World::with(config).await;
        let account = AccountId(world.register("alice").await);
        let first = world.log_in("alice", DEVICE).await;
        let log = LogId::Personal(account);
        let mut hints = world.watch([Topic::Log(log), Topic::Account(account)]).await;

        let second = world.log_in("alice", OTHER_DEVICE).await;
        let Hint::Appended(grown, entry) = hints.next().await else { panic!("the log grew") };
        assert_eq!(grown, log);
        let name = DeviceName::parse("laptop").expect("a name");
        let ended = SessionEnded { device: name.clone(), by: name };
        assert_eq!(entry.body, EntryBody::SessionEnded(ended));
        let reason = EndReason::Kicked { by: "laptop".into() };
        let expected = Hint::SessionsEnded { account, reason };
        assert_eq!(hints.next().await, expected);
        world.get("/v1/whoami", Some(&first)).await.is_refused(401, "unauthorised");
        assert_eq!(world.get("/v1/whoami", Some(&second)).await.status, 200);
    }

    #[tokio::test]
    async fn leads_nowhere_without_a_node() {
        let world = World::start().await;
        world.register("alice").await;
        let token = world.log_in("alice", DEVICE).await;
        world.directory.close();
        let answer = world.try_log_in("alice", PASSWORD, DEVICE).await;
        answer.is_refused(503, "unavailable");
        assert_eq!(world.get("/v1/whoami", Some(&token)).await.status, 200, "nothing changed");
    }

    #[tokio::test]
    async fn does_not_survive_a_reset_that_comes_between() {
        let world = World::start().await;
        let account = AccountId(world.register("alice").await);
        let door = world.directory.door.lock().await;
        let between = async {
            world.directory.asked.notified().await;
            world.set_password(account, "another hash").await;
            drop(door);
        };
        let (login, ()) = tokio::join!(world.try_log_in("alice", PASSWORD, DEVICE), between);
        login.is_refused(401, "bad_credentials");
    }

    #[tokio::test]
    async fn tells_the_owner_of_a_disabled_account_and_nobody_else() {
        let world = World::start().await;
        let account = AccountId(world.register("alice").await);
        let token = world.log_in("alice", DEVICE).await;
        world.set_disabled(account, true).await;
        world.get("/v1/whoami", Some(&token)).await.is_refused(401, "unauthorised");
        let owner = world.try_log_in("alice", PASSWORD, DEVICE).await;
        owner.is_refused(403, "forbidden");
        assert!(owner.json.to_string().contains("disabled"), "{}", owner.json);
        let guest = world.try_log_in("alice", "wrong password", DEVICE).await;
        guest.is_refused(401, "bad_credentials");
        world.set_disabled(account, false).await;
        world.log_in("alice", DEVICE).await;
    }

    #[tokio::test]
    async fn does_not_survive_a_disabling_that_comes_between() {
        let world = World::start().await;
        let account = AccountId(world.register("alice").await);
        let door = world.directory.door.lock().await;
        let between = async {
            world.directory.asked.notified().await;
            world.set_disabled(account, true).await;
            drop(door);
        };
        let (login, ()) = tokio::join!(world.try_log_in("alice", PASSWORD, DEVICE), between);
        login.is_refused(403, "forbidden");
    }

    #[tokio::test]
    async fn counts_attempts_by_name() {
        let limits = Limits { logins_per_name_per_5_minutes: 2, ..Limits::default() };
        let world = World::with(GateConfig { limits, ..open() }).await;
        for name in ["alice", "ALICE"] {
            let answer = world.try_log_in(name, PASSWORD, DEVICE).await;
            answer.is_refused(401, "bad_credentials");
        }
        let answer = world.try_log_in("Alice", PASSWORD, DEVICE).await;
        answer.is_refused(429, "rate_limited");
        let other = world.try_log_in("bob", PASSWORD, DEVICE).await;
        other.is_refused(401, "bad_credentials");
    }

    #[tokio::test]
    async fn counts_attempts_by_network() {
        let limits = Limits { logins_per_network_per_5_minutes: 1, ..Limits::default() };
        let world = World::with(GateConfig { limits, ..open() }).await;
        let first = world.try_log_in("alice", PASSWORD, DEVICE).await;
        first.is_refused(401, "bad_credentials");
        let second = world.try_log_in("bob", PASSWORD, DEVICE).await;
        second.is_refused(429, "rate_limited");
    }
}
