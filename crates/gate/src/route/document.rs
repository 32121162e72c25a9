//! `GET /v1/openapi.json`: this API, for programs and for people.

use axum::{Json, response::IntoResponse};

use crate::openapi;

/// This document.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "service",
    responses((
        status = 200,
        description = "The OpenAPI document of this API.",
        content_type = "application/json",
        body = serde_json::Value
    ))
)]
pub(crate) async fn document() -> impl IntoResponse {
    Json(openapi::document())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn is_an_openapi_document() {
        let world = World::start().await;
        let answer = world.get("/v1/openapi.json", None).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json["openapi"], json!("3.1.0"));
        assert!(answer.json["paths"]["/v1/login"]["post"].is_object());
    }
}
