//! The router: all endpoints, and what holds for every request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use skein_core::refusal::{Code, Refusal};
use skein_ops::trace;
use tokio::time;
use tracing::{Instrument, field::Empty, info_span};

use crate::{answer::Problem, gate::Gate, metric, route};

/// Bytes in the body of a request: far more than any of them needs.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Names the request in an answer, for whoever asks an operator about it: all log lines of the
/// request have it, those of the other roles too.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long a request may take, its body's arrival included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// The router. It needs the peer's address: serve it with connection information.
pub(crate) fn router(gate: Arc<Gate>) -> Router {
    let mut router = Router::new();
    for endpoint in route::endpoints() {
        router = router.route(endpoint.path, endpoint.handler);
    }
    router
        .fallback(async || Problem::no_such_path())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_time_and_unkept))
        .layer(middleware::from_fn(traced))
        .with_state(gate)
}

/// Gives the request its id, and counts it. An id that a client brings is not taken: it could make
/// the lines of many requests look like one.
async fn traced(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let span =
        info_span!("http", trace_id = Empty, http.method = %request.method(), http.route = route);
    let trace = trace::begin(&span, None);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::try_from(trace.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    metric::answered(route, response.status(), started.elapsed());
    response
}

/// Bounds the time of a request, and keeps its answer, which may hold a token, out of caches.
async fn in_time_and_unkept(request: Request, next: Next) -> Response {
    let mut response =
        time::timeout(REQUEST_TIME_MAX, next.run(request)).await.unwrap_or_else(|_| {
            let message = "the request did not come to its end in time";
            Problem::from(Refusal::new(Code::TimedOut, message)).into_response()
        });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::testing::{Answer, World};

    #[tokio::test]
    async fn unknown_paths_and_methods_are_told_in_json() {
        let world = World::start().await;
        for path in ["/", "/v1", "/v1/login/x", "/v2/login", "/v1/../etc/passwd"] {
            world.get(path, None).await.is_refused(404, "not_found");
        }
        world.get("/v1/login", None).await.is_refused(405, "malformed");
        for (method, path) in [(Method::DELETE, "/v1/accounts"), (Method::PUT, "/healthz")] {
            let request = world.http.request(method, world.url(path));
            let answer = Answer::of(request).await;
            answer.is_refused(405, "malformed");
            assert!(answer.headers.contains_key("allow"), "{path}");
        }
    }

    #[tokio::test]
    async fn bodies_are_json_of_a_bounded_size() {
        let world = World::start().await;
        let post = |kind: &'static str, body: String| {
            let request = world.http.post(world.url("/v1/login")).header("content-type", kind);
            Answer::of(request.body(body))
        };
        for body in ["", "{", "null", "{\"name\":", "\u{0}", "{}{}", &"[".repeat(10_000)] {
            post("application/json", body.into()).await.is_refused(400, "malformed");
        }
        post("text/plain", "{}".into()).await.is_refused(415, "malformed");
        let request = world.http.post(world.url("/v1/login"));
        Answer::of(request).await.is_refused(415, "malformed");
        let long = format!("{{\"name\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
        let answer = post("application/json", long).await;
        answer.is_refused(413, "frame_too_large");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(world.get("/v1/openapi.json", None).await.status, 200, "still serving");
    }

    #[tokio::test]
    async fn each_request_has_an_id_of_its_own() {
        let world = World::start().await;
        let mut ids = Vec::new();
        for path in ["/healthz", "/healthz", "/nowhere"] {
            let request = world.http.get(world.url(path)).header("x-request-id", "mine");
            let id = request.send().await.expect("an answer").headers()["x-request-id"].clone();
            assert_eq!(id.len(), 32, "{id:?}");
            assert!(!ids.contains(&id), "{id:?}");
            ids.push(id);
        }
    }

    #[tokio::test]
    async fn an_unknown_field_is_named() {
        let world = World::start().await;
        let answer = world.post("/v1/login", &json!({"nmae": "alice"})).await;
        answer.is_refused(400, "malformed");
        let message = answer.json["error"]["message"].as_str().expect("a sentence");
        assert!(message.contains("`nmae`") && message.contains("`name`"), "{message}");
    }

    #[tokio::test]
    async fn bytes_that_are_no_http_end_the_connection() {
        let world = World::start().await;
        for bytes in [&b"\x16\x03\x01\x00\x00"[..], &[0xff; 64], b"GET / HTTP/9.9\r\n\r\n"] {
            let mut stream = TcpStream::connect(world.addr).await.expect("a connection");
            stream.write_all(bytes).await.expect("the server reads");
            stream.shutdown().await.expect("the server reads");
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.expect("the server closes");
            assert!(!heard.starts_with(b"HTTP/1.1 2"), "{heard:?}");
        }
        assert_eq!(world.get("/v1/openapi.json", None).await.status, 200, "still serving");
    }
}
