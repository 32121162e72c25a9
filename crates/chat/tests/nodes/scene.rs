//! Several chat nodes in one process, which share a store and a bus, with the real gate, status and
//! resource roles beside them; and clients of the SDK.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use skein_bus::local::Local;
use skein_chat::{Parts, Running, config::Config};
use skein_client::{
    AccountId, Client, ConversationId, DeviceName, Email, Note, Password, Purpose, Refusal,
    Username,
};
use skein_core::{
    port::{
        directory::Directory,
        verifier::{CodeSent, Verifier},
    },
    refusal::Code,
};
use skein_gate::{GateConfig, Registration};
use skein_net::{identity::Certificate, secret::Secret};
use skein_ops::{clock::SystemClock, health::Health, lifecycle::Shutdown};
use skein_resource::{Blobs, ResourceRole};
use skein_status::Status;
use skein_store::sqlite::Sqlite;
use skein_testkit::network::UdpRelay;
use tempfile::TempDir;

/// How long the processes have from the soft stop to the hard one.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How long something that has to happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse battery";

/// What the nodes share.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<Sqlite>,
    pub(crate) bus: Arc<Local>,
    pub(crate) directory: Arc<Status>,
    resource: Arc<ResourceRole>,
    http: String,
    /// Ends everything but the nodes.
    _shutdown: Shutdown,
}

/// A chat node, and the path to it, which can be cut.
pub(crate) struct Node {
    pub(crate) running: Running,
    pub(crate) shutdown: Shutdown,
    relay: UdpRelay,
}

impl Node {
    /// From now on no packet reaches it or leaves it; or all do again.
    pub(crate) fn cut(&self, cut: bool) {
        self.relay.cut(cut);
    }

    pub(crate) fn sessions(&self) -> usize {
        self.running.hub.sessions()
    }
}

/// A login in a home of its own.
pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) account: AccountId,
    pub(crate) home: TempDir,
}

impl Scene {
    pub(crate) async fn new(config: GateConfig) -> Self {
        let folder = TempDir::new().expect("a folder");
        let shutdown = Shutdown::new();
        let store = Sqlite::open(&folder.path().join("store")).expect("a store");
        let (store, bus) = (Arc::new(store), Arc::new(Local::new()));
        let directory = Arc::new(Status::new(bus.clone()));
        let blobs = Blobs::Folder(folder.path().join("blobs"));
        let clock = Arc::new(SystemClock);
        let config = GateConfig { registration: Some(Registration::Open), ..config };
        let resource = ResourceRole::start(
            skein_resource::Config::default(),
            store.clone(),
            blobs,
            clock.clone(),
            &shutdown,
        );
        let parts = skein_gate::Parts {
            instance: store.clone(),
            accounts: store.clone(),
            tokens: store.clone(),
            verifier: Arc::new(Nobody),
            directory: directory.clone(),
            hints: bus.clone(),
            keys: bus.clone(),
            clock,
            health: Health::default(),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let gate = skein_gate::bind(config, any, parts, &shutdown).await.expect("a gate");
        let resource = resource.expect("a folder for blobs");
        Self { folder, store, bus, directory, resource, http: gate.url, _shutdown: shutdown }
    }

    /// Starts a node.
    pub(crate) async fn node(&self, name: &str) -> Node {
        // Clients know it by the relay's address, which must be known before it is bound.
        let port = SocketAddr::from(([127, 0, 0, 1], skein_testkit::port::free()));
        let relay = UdpRelay::start(port).expect("a relay");
        let shutdown = Shutdown::new();
        let config = Config {
            name: name.into(),
            advertise: Some(relay.address().to_string()),
            // A quarter of it, but no more than the grace that a drain knows, is the time that those
            // who were told to move have; it ends as soon as they have gone.
            drain_seconds: 8,
            ..Config::default()
        };
        let certificate = Certificate::SelfSigned {
            folder: self.folder.path().join(name),
            names: vec!["localhost".into()],
        };
        let parts = Parts {
            store: self.store.clone(),
            hints: self.bus.clone(),
            presence: self.bus.clone(),
            resource: self.resource.clone(),
            directory: self.directory.clone(),
            certificate,
            secret: Secret::passing(),
            clock: Arc::new(SystemClock),
            deadline: DEADLINE,
        };
        let running = skein_chat::bind(config, port, parts, &shutdown).await.expect("a node");
        Node { running, shutdown, relay }
    }

    /// Waits until the directory knows that a node has so many sessions.
    pub(crate) async fn reported(&self, name: &str, sessions: u64) {
        skein_testkit::eventually("the node has reported", || async {
            let nodes = self.directory.nodes().await.expect("the bus is there");
            nodes.iter().any(|report| report.node.name == name && report.sessions == sessions)
        })
        .await;
    }

    /// Someone who registers, logs in and connects.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let client = Client::open(TempDir::new().expect("a folder").path()).expect("a home");
        let email = Email::parse(format!("{name}@example.org")).expect("an address");
        let password = Password::parse(PASSWORD).expect("a password");
        let (server, user) = (&self.http, username(name));
        client.register(server, &user, &email, &password, None).await.expect("a new account");
        self.device(name, "laptop").await
    }

    /// A device of someone who has registered.
    pub(crate) async fn device(&self, name: &str, device: &str) -> Person {
        let home = TempDir::new().expect("a folder");
        let client = Client::open(home.path()).expect("a home");
        let device = DeviceName::parse(device).expect("a name");
        let profile = client.log_in(&self.http, &username(name), PASSWORD, &device).await;
        let account = profile.expect("the password is right").id;
        client.connect().await.expect("there is a login");
        client.live(PATIENCE).await.expect("a node is there");
        Person { client, account, home }
    }
}

/// Makes two people contacts.
pub(crate) async fn befriend(one: &Person, other: &Person) -> ConversationId {
    let note = Note::parse("").expect("may be empty");
    one.client.request_contact(other.account, note.clone()).await.expect("asked");
    let accepted = other.client.accept_contact(one.account, note).await;
    accepted.expect("accepted").expect("a conversation")
}

pub(crate) fn username(name: &str) -> Username {
    Username::parse(name).expect("a name")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    skein_testkit::eventually(what, || std::future::ready(condition())).await;
}

/// Registration is open here: nobody is asked for a code.
struct Nobody;

#[async_trait]
impl Verifier for Nobody {
    async fn request(
        &self,
        _: Purpose,
        _: &Email,
        _: IpAddr,
        _: bool,
    ) -> Result<CodeSent, Refusal> {
        Err(Refusal::new(Code::Unavailable, "no mail here"))
    }

    async fn check(&self, _: Purpose, _: &Email, _: &str) -> Result<(), Refusal> {
        Err(Refusal::new(Code::Unavailable, "no mail here"))
    }
}
