//! The endpoints, one a file, each with its tests. To add one: a file with a handler that carries
//! `#[utoipa::path]` and a constant of the reasons it may refuse with, and a line in [`endpoints`]
//! and in [`openapi`](crate::openapi). A test checks that the document has it.

pub(crate) mod accounts;
pub(crate) mod chat;
pub(crate) mod codes;
pub(crate) mod document;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod password;
pub(crate) mod whoami;

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};
use skein_core::refusal::Code;
use utoipa::openapi::HttpMethod;

use crate::gate::Gate;

/// Why any endpoint may refuse.
pub(crate) const ALWAYS: &[Code] = &[Code::TimedOut, Code::Internal, Code::Unavailable];
/// Why an endpoint with a JSON body may refuse.
pub(crate) const WITH_BODY: &[Code] = &[Code::Malformed, Code::FrameTooLarge, Code::Invalid];
/// Why an endpoint that takes a token may refuse.
pub(crate) const WITH_TOKEN: &[Code] = &[Code::Unauthorised];

/// One method of one path.
pub(crate) struct Endpoint {
    pub(crate) method: HttpMethod,
    pub(crate) path: &'static str,
    pub(crate) handler: MethodRouter<Arc<Gate>>,
    /// The reasons with which it may refuse, in groups.
    pub(crate) refuses: &'static [&'static [Code]],
}

/// All of them.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |method, path, handler, refuses| Endpoint { method, path, handler, refuses };
    let (with_get, with_post) = (HttpMethod::Get, HttpMethod::Post);
    vec![
        endpoint(with_post.clone(), "/v1/codes", post(codes::request_code), codes::REFUSES),
        endpoint(with_post.clone(), "/v1/accounts", post(accounts::register), accounts::REFUSES),
        endpoint(with_post.clone(), "/v1/password", post(password::reset), password::REFUSES),
        endpoint(with_post.clone(), "/v1/login", post(login::log_in), login::REFUSES),
        endpoint(with_post, "/v1/logout", post(logout::log_out), logout::REFUSES),
        endpoint(with_get.clone(), "/v1/whoami", get(whoami::who_am_i), whoami::REFUSES),
        endpoint(with_get.clone(), "/v1/chat", get(chat::where_to_chat), chat::REFUSES),
        endpoint(with_get.clone(), "/v1/openapi.json", get(document::document), &[ALWAYS]),
        endpoint(with_get.clone(), "/healthz", get(health::health), &[ALWAYS]),
        endpoint(with_get, "/readyz", get(health::ready), &[ALWAYS]),
    ]
}
