//! Certificates of an authority of one test, servers on free ports, and a relay that can freeze.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use skein_core::{
    refusal::{Code, Refusal},
    time::Clock,
};
use skein_ops::{
    clock::SystemClock,
    lifecycle::{Outcome, Shutdown},
};
use skein_rpc::{
    access::Role,
    config::Config,
    credentials::Credentials,
    server::{self, BindError, Ports},
};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Notify, watch},
    time::timeout,
};

/// Signs certificates in a folder of its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
    made: AtomicU32,
}

/// Far beyond every deadline of a call, and yet an end for a test that would wait for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How soon something is tried again that failed for no fault of its own.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The days from now between which a certificate is good.
pub(crate) const GOOD: (i64, i64) = (-1, 30);
/// Days that are over.
pub(crate) const EXPIRED: (i64, i64) = (-30, -1);

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let folder = TempDir::new().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder, made: AtomicU32::new(0) }
    }

    /// A certificate of a role that is good now.
    pub(crate) fn credentials(&self, role: Role) -> Arc<Credentials> {
        let config = self.config();
        self.sign(&config, &role.server_name(), GOOD);
        Credentials::load(&config, Arc::new(SystemClock)).unwrap()
    }

    /// A certificate of a role that is good on these days.
    pub(crate) fn credentials_for(&self, role: Role, days: (i64, i64)) -> Arc<Credentials> {
        let config = self.config();
        self.sign(&config, &role.server_name(), days);
        Credentials::load(&config, Arc::new(SystemClock)).unwrap()
    }

    /// A certificate of a role that is good now, read and judged by this clock.
    pub(crate) fn credentials_by(&self, clock: Arc<dyn Clock>, role: Role) -> Arc<Credentials> {
        let config = self.config();
        self.sign(&config, &role.server_name(), GOOD);
        Credentials::load(&config, clock).unwrap()
    }

    /// Files for one process; there is nothing in those of certificate and key yet.
    pub(crate) fn config(&self) -> Config {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let at = |name: String| self.folder.path().join(name);
        Config {
            listen: None,
            ca: self.authority(),
            cert: at(format!("{number}.crt")),
            key: at(format!("{number}.key")),
            verify: Vec::new(),
            status: Vec::new(),
            resource: Vec::new(),
        }
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Writes certificate and key.
    pub(crate) fn sign(&self, config: &Config, name: &str, (from, to): (i64, i64)) {
        let now = i64::try_from(SystemClock.now().0 / 1000).unwrap();
        let date = |days: i64| OffsetDateTime::from_unix_timestamp(now + days * 86_400).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date(from), date(to));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(&config.cert, certificate.pem()).unwrap();
        fs::write(&config.key, key.serialize_pem()).unwrap();
    }
}

/// A server of one process.
pub(crate) struct Process {
    pub(crate) addr: SocketAddr,
    shutdown: Shutdown,
}

impl Process {
    pub(crate) async fn start(credentials: Arc<Credentials>, ports: Ports) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), credentials, ports).await
    }

    pub(crate) async fn start_at(
        listen: SocketAddr,
        credentials: Arc<Credentials>,
        ports: Ports,
    ) -> Self {
        let shutdown = Shutdown::new();
        let bound = async {
            loop {
                match server::bind(listen, credentials.clone(), ports.clone(), &shutdown).await {
                    Ok(running) => return running,
                    // Somebody else may have the port for a moment.
                    Err(BindError::Listen(..)) => tokio::time::sleep(RETRY_INTERVAL).await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let running = timeout(PATIENCE, bound).await.expect("the port is free");
        Self { addr: running.addr, shutdown }
    }

    pub(crate) fn address(&self) -> String {
        self.addr.to_string()
    }

    /// Stops in order, as far as it gets without waiting for anyone.
    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        self.shutdown.finish(Duration::ZERO).await;
    }

    /// Stops in order, and waits for everything under way.
    pub(crate) async fn end(self) -> Outcome {
        self.shutdown.begin();
        self.shutdown.finish(Duration::from_secs(60)).await
    }

    pub(crate) fn begin_to_stop(&self) {
        self.shutdown.begin();
    }
}

/// An address at which nobody listens, nor can as long as this is there.
pub(crate) struct Nobody {
    pub(crate) address: String,
    _held: TcpSocket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let held = TcpSocket::new_v4().unwrap();
        held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { address: held.local_addr().unwrap().to_string(), _held: held }
    }
}

/// Calls until there is an answer, be it a refusal: on a machine that has much else to do a peer that
/// is well may miss a deadline.
pub(crate) async fn answer<T, F, Fut>(call: F) -> Result<T, Refusal>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Refusal>>,
{
    let answered = async {
        loop {
            match call().await {
                Err(refusal) if refusal.code == Code::Unavailable => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                answer => return answer,
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("someone answers")
}

/// Holds what it accepts until it is told to flow. Passes bytes on until it freezes, when connections stay open and nothing moves, or is cut, when
/// they end as those of a process that was killed.
pub(crate) struct Relay {
    pub(crate) address: String,
    state: watch::Sender<State>,
    accepted: Arc<Notify>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Flows,
    Frozen,
    Cut,
}

impl Relay {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let relay = Self::held_before(target).await;
        relay.flow();
        relay
    }

    pub(crate) async fn held_before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (state, changes) = watch::channel(State::Held);
        let accepted = Arc::new(Notify::new());
        let tell = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tell.notify_one();
                tokio::spawn(Self::pass(near, target, changes.clone()));
            }
        });
        Self { address, state, accepted }
    }

    async fn pass(mut near: TcpStream, target: SocketAddr, mut changes: watch::Receiver<State>) {
        if changes.wait_for(|state| *state != State::Held).await.is_err() {
            return;
        }
        let Ok(mut far) = TcpStream::connect(target).await else { return };
        let frozen = tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => false,
            state = changes.wait_for(|state| *state != State::Flows) => {
                state.is_ok_and(|state| *state == State::Frozen)
            }
        };
        if frozen {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves once for each connection.
    pub(crate) async fn accepts(&self) {
        self.accepted.notified().await;
    }

    pub(crate) fn flow(&self) {
        self.state.send_replace(State::Flows);
    }

    pub(crate) fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }
}
