//! `GET /healthz` and `GET /readyz`: whether the gate answers at all, and whether a load balancer
//! should send it requests. Strangers can ask, so neither says why not: the listener for operators
//! does.

use std::sync::Arc;

use axum::extract::State;
use skein_core::refusal::{Code, Refusal};

use crate::{answer::Problem, gate::Gate};

/// Says that the gate answers.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    responses((status = 200, description = "The gate answers.", body = str, example = "ok"))
)]
pub(crate) async fn health() -> &'static str {
    "ok"
}

/// Says whether logins work here: for a load balancer.
///
/// A gate that is going away, or misses what a login needs, is `unavailable`.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses((status = 200, description = "Logins work.", body = str, example = "ok"))
)]
pub(crate) async fn ready(State(gate): State<Arc<Gate>>) -> Result<&'static str, Problem> {
    if gate.health.findings().await.ready {
        Ok("ok")
    } else {
        Err(Refusal::new(Code::Unavailable, "this server is not ready").into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn says_ok() {
        let world = World::start().await;
        for path in ["/healthz", "/readyz"] {
            let response = world.http.get(world.url(path)).send().await.expect("an answer");
            assert_eq!(response.status(), 200);
            assert_eq!(response.text().await.expect("text"), "ok");
        }
    }

    #[tokio::test]
    async fn steers_a_load_balancer_and_tells_strangers_no_more() {
        let world = World::start().await;
        world.health.advise("verify", || async { Err("10.0.0.7 refused".to_owned()) });
        let degraded = world.http.get(world.url("/readyz")).send().await.expect("an answer");
        assert_eq!(degraded.status(), 200, "logins work");
        assert_eq!(degraded.text().await.expect("text"), "ok");

        // Of its own world: what was found is answered again for a moment.
        let world = World::start().await;
        world.health.register("store", || async { Err("10.0.0.8 refused".to_owned()) });
        let answer = world.get("/readyz", None).await;
        answer.is_refused(503, "unavailable");
        assert!(!answer.json.to_string().contains("10.0.0.8"), "{}", answer.json);
        let alive = world.http.get(world.url("/healthz")).send().await.expect("an answer");
        assert_eq!(alive.status(), 200, "it answers");
    }
}
