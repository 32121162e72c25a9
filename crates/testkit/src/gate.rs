//! The gate as any HTTP client sees it.

use data_encoding::HEXLOWER;
use reqwest::{Client, StatusCode};
use rustls::crypto::aws_lc_rs;
use serde_json::{Value, json};
use skein_core::port::directory::{ChatNode, Trust};

use crate::cli::PASSWORD;

/// A gate and a client for it.
pub struct Gate {
    url: String,
    http: Client,
}

/// What a login answers.
#[derive(Debug, Clone)]
pub struct Login {
    /// The token.
    pub token: String,
    /// Whose.
    pub account: u64,
    /// Where to chat.
    pub chat: ChatNode,
}

impl Gate {
    /// The gate at `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        // Fails only if another part of the process has chosen the same before.
        aws_lc_rs::default_provider().install_default().ok();
        Self { url: url.to_owned(), http: Client::new() }
    }

    /// Posts an object; gives the status and the answer, if it is JSON.
    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        Self::answer(request).await
    }

    /// Asks for something on behalf of the owner of a token.
    pub async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        Self::answer(self.http.get(format!("{}{path}", self.url)).bearer_auth(token)).await
    }

    /// Makes an account.
    pub async fn register(&self, name: &str) {
        let email = format!("{name}@example.org");
        let body = json!({ "name": name, "email": email, "password": PASSWORD });
        let (status, answer) = self.post("/v1/accounts", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// Logs in on a device of its own.
    pub async fn login(&self, name: &str) -> Login {
        self.login_on(name, rand::random()).await
    }

    /// Logs in on this device.
    pub async fn login_on(&self, name: &str, device: [u8; 16]) -> Login {
        let device = HEXLOWER.encode(&device);
        let body = json!({
            "name": name, "password": PASSWORD, "device": device, "device_name": "test",
        });
        let (status, answer) = self.post("/v1/login", &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let chat = &answer["chat"];
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let pins = chat["certificate_sha256"].as_array().expect("a self-signed node");
        let pins = pins.iter().map(|pin| {
            let bytes = HEXLOWER.decode(text(pin).as_bytes()).expect("hexadecimal digits");
            bytes.try_into().expect("32 bytes")
        });
        Login {
            token: text(&answer["token"]),
            account: answer["account"].as_u64().expect("a number"),
            chat: ChatNode {
                name: "chat".into(),
                address: text(&chat["address"]),
                trust: Trust::Fingerprints(pins.collect()),
            },
        }
    }

    /// A new account, logged in.
    pub async fn newcomer(&self, name: &str) -> Login {
        self.register(name).await;
        self.login(name).await
    }

    async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let response = request.send().await.expect("the gate answers");
        let status = response.status();
        (status, response.json().await.unwrap_or(Value::Null))
    }
}

/// Two accounts that have become contacts, and their conversation.
pub async fn befriend(a: &mut crate::raw::RawSession, b: &mut crate::raw::RawSession) -> u64 {
    a.request_contact(b.account()).await;
    b.accept_contact(a.account()).await
}
