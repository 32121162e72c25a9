//! The gate's HTTP API: everything that happens before a session.

use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use reqwest::{Method, RequestBuilder, Response, Url};
use rustls_platform_verifier::BuilderVerifierExt;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use skein_core::{
    account::Profile,
    id::{AccountId, DeviceId},
    name::{DeviceName, Email, Password, Username},
    port::{
        directory::{ChatNode, Trust},
        verifier::Purpose,
    },
    refusal::{Code, Refusal},
};

use crate::{Error, home::Login};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take. A login hashes a password, which is slow on purpose.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer: many times what the largest has.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    http: reqwest::Client,
    server: String,
}

#[derive(Deserialize)]
struct LoginAnswer {
    token: String,
    account: u64,
    name: String,
    server_id: String,
    chat: Chat,
}

#[derive(Deserialize)]
struct Chat {
    /// The node's name in the cluster.
    node: Option<String>,
    address: String,
    server_name: Option<String>,
    certificate_sha256: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct WhoAmIAnswer {
    account: u64,
    name: String,
    device_name: String,
}

#[derive(Deserialize)]
struct CodeAnswer {
    expires_in_seconds: u64,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    message: String,
    retry_after: Option<u64>,
}

impl Gate {
    /// The gate at this URL.
    pub(crate) fn new(server: &str) -> Result<Self, Error> {
        let bad = || Error::BadServer(server.to_owned());
        let url = Url::parse(server).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad());
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("skein/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Unreachable(chain(&error)))?;
        Ok(Self { http, server: server.trim_end_matches('/').to_owned() })
    }

    /// Asks for a code by mail. Answers how long it will be good.
    pub(crate) async fn request_code(
        &self,
        purpose: Purpose,
        email: &Email,
    ) -> Result<Duration, Error> {
        let body = json!({ "purpose": purpose.name(), "email": email.as_str() });
        let answer: CodeAnswer = self.post("/v1/codes", &body).await?;
        Ok(Duration::from_secs(answer.expires_in_seconds))
    }

    /// Makes an account.
    pub(crate) async fn register(
        &self,
        name: &Username,
        email: &Email,
        password: &Password,
        code: Option<&str>,
    ) -> Result<(), Error> {
        let mut body = json!({
            "name": name.as_str(),
            "email": email.as_str(),
            "password": password.expose(),
        });
        if let Some(code) = code {
            body["code"] = code.into();
        }
        self.post::<Value>("/v1/accounts", &body).await.map(drop)
    }

    /// Sets a new password with a mailed code.
    pub(crate) async fn reset_password(
        &self,
        email: &Email,
        code: &str,
        password: &Password,
    ) -> Result<(), Error> {
        let body = json!({ "email": email.as_str(), "code": code, "password": password.expose() });
        let request = self.request(Method::POST, "/v1/password").json(&body);
        self.send(request).await.map(drop)
    }

    /// Trades a password for a token. Answers also which server this is, in the words that tell it
    /// from another one at the same URL.
    pub(crate) async fn log_in(
        &self,
        name: &Username,
        password: &str,
        device: DeviceId,
        device_name: &DeviceName,
    ) -> Result<(Login, [u8; 16]), Error> {
        let body = json!({
            "name": name.as_str(),
            "password": password,
            "device": device.to_string(),
            "device_name": device_name.as_str(),
        });
        let answer: LoginAnswer = self.post("/v1/login", &body).await?;
        let account =
            Profile { id: AccountId(answer.account), name: Username::parse(answer.name)? };
        let server_id = server_id(&answer.server_id)?;
        let node = answer.chat.try_into()?;
        Ok((Login { server: self.server.clone(), account, token: answer.token, node }, server_id))
    }

    /// Makes the token void.
    pub(crate) async fn log_out(&self, token: &str) -> Result<(), Error> {
        let request = self.request(Method::POST, "/v1/logout").bearer_auth(token);
        self.send(request).await.map(drop)
    }

    /// Whom the token speaks for, and on which device.
    pub(crate) async fn who_am_i(&self, token: &str) -> Result<(Profile, DeviceName), Error> {
        let request = self.request(Method::GET, "/v1/whoami").bearer_auth(token);
        let answer: WhoAmIAnswer = parse(&self.send(request).await?)?;
        let profile =
            Profile { id: AccountId(answer.account), name: Username::parse(answer.name)? };
        Ok((profile, DeviceName::parse(answer.device_name)?))
    }

    /// The chat node to connect to now; not the one of the name `except`.
    pub(crate) async fn chat(&self, token: &str, except: Option<&str>) -> Result<ChatNode, Error> {
        let mut url = Url::parse(&format!("{}/v1/chat", self.server))
            .map_err(|_| Error::BadServer(self.server.clone()))?;
        if let Some(except) = except {
            url.query_pairs_mut().append_pair("except", except);
        }
        let request = self.http.request(Method::GET, url).bearer_auth(token);
        parse::<Chat>(&self.send(request).await?)?.try_into()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server))
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        let request = self.request(Method::POST, path).json(body);
        parse(&self.send(request).await?)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let lost = |error: reqwest::Error| {
            Error::Unreachable(format!("cannot reach {}: {}", self.server, chain(&error)))
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let body = bounded(response).await.map_err(lost)?;
        let body = body.ok_or_else(|| Error::BadAnswer("it is too long".to_owned()))?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<ErrorAnswer>(&body) {
            Ok(answer) => Err(Error::Refused(answer.error.into())),
            Err(_) => Err(Error::BadAnswer(format!("status {status} without a reason"))),
        }
    }
}

impl TryFrom<Chat> for ChatNode {
    type Error = Error;

    fn try_from(chat: Chat) -> Result<Self, Error> {
        let bad = || Error::BadAnswer("the chat server comes without a way to trust it".to_owned());
        let trust = match (chat.server_name, chat.certificate_sha256) {
            (Some(server_name), _) => Trust::Authority { server_name },
            (None, Some(all)) if !all.is_empty() => {
                let decode = |one: &String| {
                    let bytes = HEXLOWER_PERMISSIVE.decode(one.as_bytes()).ok()?;
                    <[u8; 32]>::try_from(bytes).ok()
                };
                let all: Option<Vec<_>> = all.iter().map(decode).collect();
                Trust::Fingerprints(all.ok_or_else(bad)?)
            }
            (None, _) => return Err(bad()),
        };
        let name = chat.node.unwrap_or_else(|| chat.address.clone());
        Ok(Self { name, address: chat.address, trust })
    }
}

impl From<ErrorBody> for Refusal {
    fn from(error: ErrorBody) -> Self {
        // A code that this version does not know is taken for a failure of the server.
        let known = Code::ALL.iter().copied().find(|code| code.name() == error.code);
        Self {
            code: known.unwrap_or(Code::Internal),
            message: error.message,
            retry_after: error.retry_after.map(Duration::from_secs),
        }
    }
}

fn server_id(text: &str) -> Result<[u8; 16], Error> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let id = bytes.and_then(|bytes| bytes.try_into().ok());
    id.ok_or_else(|| Error::BadAnswer("the server's id is not 32 hexadecimal digits".to_owned()))
}

fn tls() -> Result<rustls::ClientConfig, Error> {
    let failed = |error: rustls::Error| Error::Unreachable(format!("cannot set up TLS: {error}"));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Ok(rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_platform_verifier()
        .map_err(failed)?
        .with_no_client_auth())
}

async fn bounded(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::BadAnswer(error.to_string()))
}

/// The last cause: reqwest's own sentence repeats the URL and hides why.
fn chain(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_urls_of_servers() {
        for good in ["http://127.0.0.1:8080", "https://chat.example.org/"] {
            assert!(Gate::new(good).is_ok(), "{good}");
        }
        for bad in ["", "chat.example.org", "ftp://a", "http://"] {
            assert!(matches!(Gate::new(bad), Err(Error::BadServer(_))), "{bad}");
        }
    }

    #[test]
    fn a_server_has_an_id() {
        assert_eq!(server_id(&"0fA7".repeat(8)).expect("an id"), [0x0f, 0xa7].repeat(8)[..]);
        for bad in ["", "0f", &"0f".repeat(17), &"xy".repeat(16)] {
            assert!(matches!(server_id(bad), Err(Error::BadAnswer(_))), "{bad}");
        }
    }

    #[test]
    fn trust_is_required() {
        let chat = |text: &str| {
            ChatNode::try_from(serde_json::from_str::<Chat>(text).expect("it is JSON"))
        };
        let node = chat(r#"{"address":"a:1","server_name":"a"}"#).expect("a name is enough");
        assert_eq!(node.trust, Trust::Authority { server_name: "a".to_owned() });
        let hash = "ab".repeat(32);
        let node = chat(&format!(r#"{{"address":"a:1","certificate_sha256":["{hash}"]}}"#));
        assert_eq!(node.expect("a hash is enough").trust, Trust::Fingerprints(vec![[0xab; 32]]));
        for bad in [
            r#"{"address":"a:1"}"#,
            r#"{"address":"a:1","certificate_sha256":[]}"#,
            r#"{"address":"a:1","certificate_sha256":["abcd"]}"#,
        ] {
            assert!(chat(bad).is_err(), "{bad}");
        }
    }
}
