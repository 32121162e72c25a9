//! What a handler takes from a request, parsed once: its JSON body, its token, where it came from.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;
use skein_core::{
    account::Identity,
    refusal::{Code, Refusal},
    token::{hash_token, is_token},
};
use skein_store::token::TokenHash;

use crate::{answer::Problem, gate::Gate, router::BODY_BYTES_MAX};

/// Characters of a parser's message that are passed on: it may quote the body.
const QUOTED_CHARS_MAX: usize = 200;

/// A JSON body. Unknown fields are refused by the type, which denies them.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Gate>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, gate: &Arc<Gate>) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        let bytes = Bytes::from_request(request, gate).await.map_err(unread)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            let message: String = error.to_string().chars().take(QUOTED_CHARS_MAX).collect();
            Refusal::new(Code::Malformed, format!("the body is not as expected: {message}"))
        })?;
        Ok(Self(value))
    }
}

/// Whoever the request's token speaks for.
pub(crate) struct Bearer {
    /// Who.
    pub(crate) identity: Identity,
    /// The token, as the store knows it.
    pub(crate) hash: TokenHash,
}

impl FromRequestParts<Arc<Gate>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<Gate>) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers).ok_or_else(|| {
            unauthorised("a token is needed, in the header `authorization: Bearer skein_…`")
        })?;
        let hash = hash_token(token);
        let identity = gate.tokens.identify(&hash, gate.clock.now()).await?;
        let identity = identity.ok_or_else(|| {
            unauthorised("the token is unknown, was revoked, or has expired; log in again")
        })?;
        Ok(Self { identity, hash })
    }
}

/// Where the request came from. Taken from the connection: a header could say anything.
pub(crate) struct Peer(pub(crate) IpAddr);

impl FromRequestParts<Arc<Gate>> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<Gate>) -> Result<Self, Problem> {
        let peer = ConnectInfo::<SocketAddr>::from_request_parts(parts, gate).await;
        let ConnectInfo(peer) = peer.map_err(|_| Refusal::internal())?;
        Ok(Self(peer.ip()))
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    // RFC 9110, section 11.1: the scheme's name knows no case.
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(token)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn unread(rejection: BytesRejection) -> Refusal {
    match rejection {
        BytesRejection::FailedToBufferBody(failure)
            if failure.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE =>
        {
            let message = format!("the body is longer than {BODY_BYTES_MAX} bytes");
            Refusal::new(Code::FrameTooLarge, message)
        }
        _ => Refusal::new(Code::Malformed, "the body could not be read to its end"),
    }
}

fn unauthorised(message: &str) -> Refusal {
    Refusal::new(Code::Unauthorised, message)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use skein_core::token::token_text;

    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a header");
        HeaderMap::from_iter([(name, value)])
    }

    #[test]
    fn finds_the_token() {
        let token = token_text(&[1; 32]);
        for scheme in ["Bearer ", "bearer ", "BEARER  "] {
            let headers = with(header::AUTHORIZATION, &format!("{scheme}{token}"));
            assert_eq!(bearer_token(&headers), Some(&*token), "{scheme}");
        }
        for value in [&*token, "Bearer", "Bearer ", "Basic x", "Bearer skein_short"] {
            assert_eq!(bearer_token(&with(header::AUTHORIZATION, value)), None, "{value}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }

    #[test]
    fn knows_json() {
        for value in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(is_json(&with(header::CONTENT_TYPE, value)), "{value}");
        }
        for value in ["text/plain", "application/jsonp", ""] {
            assert!(!is_json(&with(header::CONTENT_TYPE, value)), "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
