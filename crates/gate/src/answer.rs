//! What goes wrong, as HTTP: the one place where a reason becomes a status.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use skein_core::{
    name::BadText,
    refusal::{Code, Refusal},
};
use skein_ops::observe::count_error;
use skein_store::StoreError;
use utoipa::ToSchema;

/// The status of each reason. Some reasons do not occur here; they have the status that fits, so
/// that a new endpoint finds it.
pub(crate) const fn status(code: Code) -> StatusCode {
    match code {
        Code::Malformed | Code::Protocol => StatusCode::BAD_REQUEST,
        Code::Unauthorised | Code::BadCredentials => StatusCode::UNAUTHORIZED,
        Code::Forbidden
        | Code::WrongCode
        | Code::ExpiredCode
        | Code::CodeRequired
        | Code::NotContacts => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Code::NameTaken
        | Code::EmailTaken
        | Code::AlreadyContacts
        | Code::TooMany
        | Code::EntryConflict
        | Code::UploadConflict
        | Code::WrongOffset
        | Code::Superseded
        | Code::Incomplete => StatusCode::CONFLICT,
        Code::FrameTooLarge | Code::FileTooLarge | Code::BeyondSize => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Code::Invalid | Code::WrongHash | Code::BadPicture => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unavailable | Code::ThumbnailPending | Code::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Quota => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// An answer that says what is wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    refusal: Refusal,
}

impl Problem {
    /// The path exists, but not with this method.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "this path does not take this method; see /v1/openapi.json";
        let refusal = Refusal::new(Code::Malformed, message);
        Self { status: StatusCode::METHOD_NOT_ALLOWED, refusal }
    }

    /// The body is not said to be JSON.
    pub(crate) fn unsupported_media_type() -> Self {
        let message = "the body must be JSON, with the header `content-type: application/json`";
        let refusal = Refusal::new(Code::Malformed, message);
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, refusal }
    }

    /// There is no such path.
    pub(crate) fn no_such_path() -> Self {
        Refusal::new(Code::NotFound, "there is no such path; see /v1/openapi.json").into()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(refusal.code), refusal }
    }
}

impl From<BadText> for Problem {
    fn from(error: BadText) -> Self {
        Refusal::from(error).into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        error.into_refusal().into()
    }
}

/// What every answer that is not a success holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What is wrong.
    error: ErrorDetail,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// The stable reason, for programs.
    #[schema(example = "rate_limited")]
    code: &'static str,
    /// One sentence for people; it may change.
    #[schema(example = "too many attempts; try again later")]
    message: String,
    /// Seconds after which the same request may succeed; also in the header `retry-after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 60, nullable = false)]
    retry_after: Option<u64>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Refusal { code, message, retry_after } = self.refusal;
        count_error("gate", code);
        let retry_after = retry_after.map(whole_seconds);
        let body = ErrorBody { error: ErrorDetail { code: code.name(), message, retry_after } };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 15.5.2: a 401 says how to authenticate.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Rounded up, and never zero: whoever waits as told must not come too early.
fn whole_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    seconds.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_status_of_an_error() {
        for code in Code::ALL {
            let status = status(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            // What may succeed later unchanged must not look like the client's fault.
            let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
            let looks_transient = status.is_server_error() || passing.contains(&status);
            assert!(!code.is_transient() || looks_transient, "{code}");
        }
    }

    #[test]
    fn tells_when_to_come_back() {
        for (wait_ms, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait_ms)), seconds);
        }
        let refusal = Refusal::limited("slow down", Duration::from_millis(1_500));
        let response = Problem::from(refusal).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
