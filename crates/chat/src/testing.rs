//! A hub with sessions for tests of single parts: entered as real ones are, over one connection on
//! loopback, with queues that the test holds. Time is virtual once it is there.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use skein_bus::{hint::Hints, local::Local};
use skein_core::{
    account::{Identity, Profile},
    id::{AccountId, DeviceId},
    name::{DeviceName, Username},
    port::directory::{ChatNode, Trust},
    refusal::Refusal,
    time::Clock,
};
use skein_net::{
    Connection,
    dial::{DialConfig, Dialer},
    identity::Identity as Certificate,
    listen::{ListenConfig, Listener},
};
use skein_ops::clock::SystemClock;
use skein_store::{sqlite::Sqlite, token::TokenHash};
use tempfile::TempDir;

use crate::{
    config::Config,
    hub::{Hub, SessionNumber},
    queue::{self, Next},
};

/// How long the connection outlives silence: longer than any test, in virtual time.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// Sessions that are connected, each of an account of its own.
pub(crate) struct Crowd {
    pub(crate) hub: Arc<Hub>,
    queues: Vec<queue::Drain>,
    connection: Connection,
    client: Connection,
    _sockets: (Listener, Dialer),
    _folder: TempDir,
}

impl Crowd {
    /// So many, on a bus in this process.
    pub(crate) async fn of(count: usize) -> Self {
        Self::on(Arc::new(Local::new()), count).await
    }

    /// So many, whose hints come from this bus.
    pub(crate) async fn on(hints: Arc<dyn Hints>, count: usize) -> Self {
        let folder = TempDir::new().expect("a folder");
        let store = Sqlite::open(&folder.path().join("store.db")).expect("a store");
        let names = ["localhost".to_owned()];
        let now = SystemClock.now();
        let certificate = Certificate::self_signed(folder.path(), &names, now).expect("made");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = ListenConfig { idle_timeout: KEPT_FOR, ..ListenConfig::default() };
        let listener = Listener::bind(any, &certificate, config).expect("a port");
        let node = ChatNode {
            name: "chat-1".into(),
            address: listener.address().expect("bound").to_string(),
            trust: Trust::Fingerprints(vec![certificate.fingerprint()]),
        };
        // The client is silent unless it is told to speak.
        let config =
            DialConfig { idle_timeout: KEPT_FOR, keep_alive: KEPT_FOR, ..DialConfig::default() };
        let dialer = Dialer::new(config).expect("a socket");
        let accepted = async {
            listener.accept().await.expect("open").establish().await.expect("a handshake")
        };
        let (connection, client) = tokio::join!(accepted, dialer.dial(&node));
        let client = client.expect("a connection");
        tokio::time::pause();
        let presence = Arc::new(Local::new());
        let (hub, _) =
            Hub::new(Config::default(), Arc::new(store), hints, presence, Arc::new(SystemClock));
        let _sockets = (listener, dialer);
        let queues = Vec::new();
        let mut crowd = Self { hub, queues, connection, client, _sockets, _folder: folder };
        for _ in 0..count {
            crowd.enter().await;
        }
        crowd
    }

    /// One more session, of an account of its own.
    pub(crate) async fn enter(&mut self) -> SessionNumber {
        let number = self.queues.len() as u64;
        let entered = self.enter_as(AccountId(number + 1)).await;
        assert_eq!(entered.expect("there is room"), number);
        number
    }

    /// One more session of this account.
    pub(crate) async fn enter_as(&mut self, id: AccountId) -> Result<SessionNumber, Refusal> {
        let name = format!("name{}", id.0);
        let identity = Identity {
            account: Profile { id, name: Username::parse(&name).expect("a name") },
            device: DeviceId([0; 16]),
            device_name: DeviceName::parse("laptop").expect("a name"),
        };
        let (queue, drain) = queue::queue();
        let token: TokenHash = [0; 32];
        let number = self.hub.enter(&identity, token, self.connection.clone(), queue).await?;
        self.queues.push(drain);
        Ok(number)
    }

    /// The client gives a sign of life, which has come when this returns.
    pub(crate) async fn speak(&self) {
        let before = self.connection.datagrams_received();
        self.client.probe();
        while self.connection.datagrams_received() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Those who look have seen it, too.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Takes what waits for a session. How many frames that were.
    pub(crate) fn frames(&mut self, number: usize) -> usize {
        let mut count = 0;
        while let Some(Next::Frame(_)) = self.queues[number].next().now_or_never() {
            count += 1;
        }
        count
    }

    /// Leaves no room in a session's queue. How many frames that took.
    pub(crate) fn fill(&self, number: SessionNumber) -> usize {
        let frame = Bytes::from_static(b"something");
        std::iter::repeat_with(|| self.hub.offer(number, &frame)).take_while(|room| *room).count()
    }
}
