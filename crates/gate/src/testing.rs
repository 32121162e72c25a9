//! A whole gate on a free port for the tests of the routes: the real router behind a real listener,
//! with SQLite in a temporary folder and the bus in the process. Only the other roles are doubles.

mod double;

use std::{net::SocketAddr, sync::Arc};

use reqwest::{Client, RequestBuilder, header::HeaderMap};
use rustls::{
    ClientConfig, DEFAULT_VERSIONS, RootCertStore, SupportedProtocolVersion,
    pki_types::CertificateDer,
};
use serde_json::{Value, json};
use skein_bus::{
    hint::{Delivery, Hint, Hints, Subscription, Topic},
    key::Keys,
    local::Local,
};
use skein_core::{id::AccountId, time::Timestamp};
use skein_ops::{health::Health, lifecycle::Shutdown};
use skein_store::{account::Accounts, sqlite::Sqlite};
use tempfile::TempDir;

pub(crate) use self::double::CODE;
use self::double::{Codes, OneNode, TurnedClock};
use crate::{
    config::{GateConfig, Registration},
    gate::Parts,
    listen::bind,
};

/// When the clock starts.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);
/// A device.
pub(crate) const DEVICE: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// Another one.
pub(crate) const OTHER_DEVICE: &str = "ffffffffffffffffffffffffffffffff";
/// Everyone's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A gate that listens, and all that it works with.
pub(crate) struct World {
    pub(crate) http: Client,
    pub(crate) addr: SocketAddr,
    pub(crate) base: String,
    pub(crate) shutdown: Shutdown,
    pub(crate) verifier: Arc<Codes>,
    pub(crate) directory: Arc<OneNode>,
    pub(crate) clock: Arc<TurnedClock>,
    pub(crate) health: Health,
    store: Arc<Sqlite>,
    bus: Arc<Local>,
    _folder: TempDir,
}

/// The default configuration, with open registration.
pub(crate) fn open() -> GateConfig {
    GateConfig { registration: Some(Registration::Open), ..GateConfig::default() }
}

/// A client that trusts `root` and nothing else, and speaks `versions` of TLS.
pub(crate) fn client(
    root: Option<CertificateDer<'static>>,
    versions: &[&'static SupportedProtocolVersion],
) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(root);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client")
}

impl World {
    /// A gate with open registration.
    pub(crate) async fn start() -> Self {
        Self::with(open()).await
    }

    /// A gate.
    pub(crate) async fn with(config: GateConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Sqlite::open(&folder.path().join("store.db")).expect("a store");
        let mut world = Self {
            http: client(None, DEFAULT_VERSIONS),
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            base: String::new(),
            shutdown: Shutdown::new(),
            verifier: Arc::default(),
            directory: Arc::default(),
            clock: Arc::new(TurnedClock::at(START)),
            health: Health::default(),
            store: Arc::new(store),
            bus: Arc::new(Local::new()),
            _folder: folder,
        };
        let running = bind(config, world.addr, world.parts(), &world.shutdown).await;
        let running = running.expect("a port is free");
        (world.addr, world.base) = (running.addr, running.url);
        world
    }

    pub(crate) fn parts(&self) -> Parts {
        Parts {
            instance: self.store.clone(),
            accounts: self.store.clone(),
            tokens: self.store.clone(),
            verifier: self.verifier.clone(),
            directory: self.directory.clone(),
            hints: self.bus.clone(),
            keys: Arc::clone(&self.bus) as Arc<dyn Keys>,
            clock: self.clock.clone(),
            health: self.health.clone(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let request = self.http.get(self.url(path));
        Answer::of(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.http.post(self.url(path)).json(body)).await
    }

    pub(crate) async fn post_with_token(&self, path: &str, token: &str) -> Answer {
        Answer::of(self.http.post(self.url(path)).bearer_auth(token)).await
    }

    /// Registers `name` with an address of the same name; answers the account's number.
    pub(crate) async fn register(&self, name: &str) -> u64 {
        let email = format!("{}@example.org", name.to_lowercase());
        let body = json!({"name": name, "email": email, "password": PASSWORD});
        let answer = self.post("/v1/accounts", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.json);
        answer.json["account"].as_u64().expect("a number")
    }

    /// What a reset does to the account in the end.
    pub(crate) async fn set_password(&self, account: AccountId, password_hash: &str) {
        self.store.set_password(account, password_hash.into()).await.expect("an account");
    }

    /// What an operator does to the account.
    pub(crate) async fn set_disabled(&self, account: AccountId, disabled: bool) {
        let there = self.store.set_disabled(account, disabled.then_some(START)).await;
        assert!(there.expect("a store"), "an account");
    }

    pub(crate) async fn try_log_in(&self, name: &str, password: &str, device: &str) -> Answer {
        let body = json!({
            "name": name, "password": password, "device": device, "device_name": "laptop",
        });
        self.post("/v1/login", &body).await
    }

    /// Logs in; answers the token.
    pub(crate) async fn log_in(&self, name: &str, device: &str) -> String {
        let answer = self.try_log_in(name, PASSWORD, device).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        answer.json["token"].as_str().expect("a token").to_owned()
    }

    /// Hears what the gate tells the chat nodes from now on.
    pub(crate) async fn watch(&self, topics: impl IntoIterator<Item = Topic>) -> Heard {
        let subscription = self.bus.subscribe(16);
        for topic in topics {
            subscription.topics.watch(&[topic]).await;
        }
        Heard(subscription)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.force();
    }
}

/// What the gate told the chat nodes.
pub(crate) struct Heard(Subscription);

impl Heard {
    pub(crate) async fn next(&mut self) -> Hint {
        match self.0.deliveries.recv().await {
            Some(Delivery::Hint(_, hint)) => hint,
            other => panic!("expected a hint, got {other:?}"),
        }
    }
}

/// What the gate answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    path: String,
}

impl Answer {
    /// The answer to a request; JSON, or empty.
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, path) = (response.status().as_u16(), response.url().path().to_owned());
        let headers = response.headers().clone();
        let bytes = response.bytes().await.expect("a body");
        let json = match bytes.len() {
            0 => Value::Null,
            _ => serde_json::from_slice(&bytes).expect("JSON"),
        };
        Self { status, headers, json, path }
    }

    /// Checks that it is a refusal of the documented form.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.json["error"]["code"]), (status, &json!(code)), "{self:?}");
        let error = self.json["error"].as_object().expect("an object");
        assert!(error["message"].as_str().is_some_and(|sentence| !sentence.is_empty()));
        let known = ["code", "message", "retry_after"];
        assert!(error.keys().all(|key| known.contains(&key.as_str())), "{error:?}");
        let json_type = "application/json";
        assert_eq!(self.headers["content-type"], json_type);

        let document = serde_json::to_value(crate::openapi::document()).expect("JSON");
        let Some(item) = document["paths"].get(&self.path).filter(|_| status != 405) else {
            return;
        };
        let documented = item.as_object().expect("an item").values().any(|operation| {
            let description = &operation["responses"][status.to_string()]["description"];
            description.as_str().is_some_and(|codes| codes.contains(&format!("`{code}`")))
        });
        assert!(documented, "{} may answer {status} {code}: document it", self.path);
    }
}
