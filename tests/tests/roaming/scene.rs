//! A server behind a network that can be made bad, two people who talk, and notes of what they see.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use skein_client::{
    Client, ConversationId, DeviceName, Event, LogId, Note, Status, Text, Username,
};
use skein_testkit::{
    PATIENCE,
    cli::PASSWORD,
    gate::Gate,
    network::{Conditions, UdpRelay},
    server::Server,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long packets take each way.
pub(crate) const DELAY: Duration = Duration::from_millis(20);
/// More entries than a test makes.
const ENTRIES_MAX: usize = 10_000;
/// How often alice writes.
const MESSAGE_EVERY: Duration = Duration::from_millis(50);

/// A server behind a relay, with two contacts that are live.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) relay: UdpRelay,
    pub(crate) folder: TempDir,
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    pub(crate) conversation: ConversationId,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with_config("").await
    }

    /// The same with this configuration of the server, which has no table `chat`.
    pub(crate) async fn with_config(config: &str) -> Self {
        let (server, relay) = Server::behind_a_relay(config);
        relay.set_both(Conditions::delayed(DELAY));
        let folder = TempDir::new().expect("the temporary folder takes folders");
        let gate = Gate::new(server.http());
        let mut clients = Vec::new();
        for name in ["alice", "bob"] {
            gate.register(name).await;
            let client = Client::open(&folder.path().join(name)).expect("a home");
            let device = DeviceName::parse("phone").expect("a name");
            let user = username(name);
            client.log_in(server.http(), &user, PASSWORD, &device).await.expect("logged in");
            client.connect().await.expect("there is a login");
            client.live(PATIENCE).await.expect("live");
            clients.push(client);
        }
        let [alice, bob] = clients.try_into().expect("two");
        let other = alice.person(&username("bob")).await.expect("there").id;
        alice.request_contact(other, Note::parse("hello").expect("a note")).await.expect("asked");
        let other = bob.person(&username("alice")).await.expect("there").id;
        bob.accept_contact(other, Note::parse("").expect("a note")).await.expect("accepted");
        let (conversation, _) = alice.conversation_with(&username("bob")).await.expect("contacts");
        bob.caught_up(PATIENCE).await.expect("caught up");
        Self { server, relay, folder, alice, bob, conversation }
    }

    /// Alice writes to bob, again and again, until told to stop.
    pub(crate) fn talk(&self) -> Talk {
        let over = Arc::new(AtomicBool::new(false));
        let (alice, conversation, ending) =
            (self.alice.clone(), self.conversation, Arc::clone(&over));
        let task = tokio::spawn(async move {
            let mut waits = Vec::new();
            let mut ticks = tokio::time::interval(MESSAGE_EVERY);
            while !ending.load(Ordering::Relaxed) {
                ticks.tick().await;
                let written = Instant::now();
                let text = Text::parse("still here").expect("a text");
                let delivery = alice.send_text(conversation, text).await.expect("kept");
                waits.push(tokio::spawn(async move {
                    delivery.acknowledged().await.expect("appended");
                    written.elapsed()
                }));
            }
            let mut longest = Duration::ZERO;
            let count = waits.len();
            for wait in waits {
                let waited = tokio::time::timeout(PATIENCE, wait).await.expect("in time");
                longest = longest.max(waited.expect("no panic"));
            }
            (count, longest)
        });
        Talk { over, task }
    }

    /// Waits until bob has so many entries of the conversation: each once, in order, without a gap.
    pub(crate) async fn bob_has(&self, count: usize) {
        let log = LogId::Conversation(self.conversation);
        let had = skein_testkit::eventually("bob has them all", || async {
            self.entries(&self.bob, log).await >= count
        });
        had.await;
        assert_eq!(self.entries(&self.bob, log).await, count, "none twice");
    }

    async fn entries(&self, client: &Client, log: LogId) -> usize {
        let entries = client.log(log, None, ENTRIES_MAX).await.expect("the home can be read");
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.seq.0, at as u64 + 1, "dense and in order");
        }
        entries.len()
    }
}

/// Messages that go on being written.
pub(crate) struct Talk {
    over: Arc<AtomicBool>,
    task: JoinHandle<(usize, Duration)>,
}

impl Talk {
    /// Stops writing; waits until all is acknowledged. How many there were, and the longest wait.
    pub(crate) async fn stop(self) -> (usize, Duration) {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

/// Everything that a client's status was.
pub(crate) struct Seen {
    states: Arc<Mutex<Vec<Status>>>,
    task: JoinHandle<()>,
}

impl Seen {
    pub(crate) async fn of(client: &Client) -> Self {
        let mut events = client.events().await.expect("the home can be read");
        let states: Arc<Mutex<Vec<Status>>> = Arc::default();
        let noted = Arc::clone(&states);
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::Status(status) = event {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(status);
                }
            }
        });
        Self { states, task }
    }

    pub(crate) fn states(&self) -> Vec<Status> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn username(name: &str) -> Username {
    Username::parse(name).expect("a name")
}

/// Waits until a client's status is as wanted.
pub(crate) async fn until(client: &Client, what: &str, wanted: impl Fn(&Status) -> bool) {
    skein_testkit::eventually(what, || std::future::ready(wanted(&client.status()))).await;
}
