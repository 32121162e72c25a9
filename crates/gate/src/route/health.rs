//! `GET /healthz`: whether the gate answers at all.

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

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn says_ok() {
        let world = World::start().await;
        let response = world.http.get(world.url("/healthz")).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.text().await.expect("text"), "ok");
    }
}
