//! The model run: connections between clients on one side of a path and servers on the other, in
//! virtual time. Seconds of the network take as long as the processor needs for the packets.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use quinn_proto::{
    ClientConfig, ServerConfig, TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    host::Host,
    link::{Link, Quality},
    work::{Delivery, Task, Work},
};

/// Both directions of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// From the clients to the servers.
    pub(crate) up: Quality,
    /// From the servers to the clients.
    pub(crate) down: Quality,
}

/// One connection of a run.
#[derive(Debug)]
pub(crate) struct Flow {
    /// How the client sends.
    pub(crate) client: Arc<TransportConfig>,
    /// How the server sends.
    pub(crate) server: Arc<TransportConfig>,
    /// When the client connects.
    pub(crate) from: Duration,
    /// What it does.
    pub(crate) tasks: Vec<Task>,
}

/// What a run showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of each connection.
    pub(crate) flows: Vec<Seen>,
    /// The direction from the clients to the servers.
    pub(crate) up: Link,
}

/// What one connection moved.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Bytes uploaded, by [`BIN`](super::work::BIN).
    pub(crate) uploaded: Vec<u64>,
    /// Bytes downloaded, by [`BIN`](super::work::BIN).
    pub(crate) downloaded: Vec<u64>,
    /// Messages, those to the server and those back.
    pub(crate) deliveries: Vec<Delivery>,
}

/// Runs the connections over the path for so long, and the path changes at the times given.
pub(crate) fn run(
    path: Path,
    changes: &[(Duration, Path)],
    flows: Vec<Flow>,
    length: Duration,
    seed: u64,
) -> Outcome {
    let mut world = World::new(path, flows, seed);
    let mut changes = changes.iter().peekable();
    while let Some(at) = world.next().filter(|at| *at < length) {
        while let Some((_, path)) = changes.next_if(|(from, _)| *from <= at) {
            world.up.change(path.up);
            world.down.change(path.down);
        }
        world.step(at);
    }
    world.end()
}

/// When a datagram arrives, which one it is of those at that time, where, and what it is.
type Travelling = (Duration, u64, usize, Vec<u8>);

#[derive(Debug)]
struct World {
    epoch: Instant,
    /// Clients at even, their servers at odd places.
    hosts: Vec<Host>,
    wake: Vec<Option<Duration>>,
    to_connect: Vec<Option<(Duration, ClientConfig)>>,
    up: Link,
    down: Link,
    travelling: BinaryHeap<Reverse<Travelling>>,
    sent: u64,
}

impl World {
    fn new(path: Path, flows: Vec<Flow>, seed: u64) -> Self {
        let epoch = Instant::now();
        let mut hosts = Vec::new();
        let mut to_connect = Vec::new();
        for flow in flows {
            let (client, mut server) = configs();
            let mut client = client;
            client.transport_config(flow.client);
            server.transport_config(flow.server);
            let number = hosts.len() as u16;
            hosts.push(Host::client(number, Work::client(epoch, flow.tasks)));
            hosts.push(Host::server(number + 1, server, Work::server(epoch)));
            to_connect.extend([Some((flow.from, client)), None]);
        }
        Self {
            epoch,
            wake: vec![None; hosts.len()],
            hosts,
            to_connect,
            up: Link::new(path.up, 2 * seed),
            down: Link::new(path.down, 2 * seed + 1),
            travelling: BinaryHeap::new(),
            sent: 0,
        }
    }

    fn next(&self) -> Option<Duration> {
        let arrival = self.travelling.peek().map(|Reverse((at, ..))| *at);
        let connects = self.to_connect.iter().flatten().map(|(at, _)| *at);
        self.wake.iter().flatten().copied().chain(connects).chain(arrival).min()
    }

    fn step(&mut self, at: Duration) {
        let now = self.epoch + at;
        for host in 0..self.hosts.len() {
            if let Some((_, config)) = self.to_connect[host].take_if(|(from, _)| *from <= at) {
                let server = self.hosts[host + 1].address();
                self.hosts[host].connect(now, config, server);
                self.wake[host] = Some(at);
            }
        }
        let mut out = Vec::new();
        while self.travelling.peek().is_some_and(|Reverse((arrival, ..))| *arrival <= at) {
            let Some(Reverse((_, _, host, datagram))) = self.travelling.pop() else { break };
            let from = self.hosts[host ^ 1].address();
            self.hosts[host].receive(now, from, &datagram, &mut out);
            self.send(host, at, &mut out);
            self.wake[host] = Some(at);
        }
        for host in 0..self.hosts.len() {
            if self.wake[host].is_some_and(|wake| wake <= at) {
                let wake = self.hosts[host].drive(now, &mut out);
                // A timer that is due already would stop the time.
                let soon = at + Duration::from_nanos(1_000);
                self.wake[host] = wake.map(|wake| (wake - self.epoch).max(soon));
                self.send(host, at, &mut out);
            }
        }
    }

    fn send(&mut self, host: usize, at: Duration, out: &mut Vec<Vec<u8>>) {
        let link = if host.is_multiple_of(2) { &mut self.up } else { &mut self.down };
        for datagram in out.drain(..) {
            if let Some(arrival) = link.send(at, datagram.len()) {
                self.sent += 1;
                self.travelling.push(Reverse((arrival, self.sent, host ^ 1, datagram)));
            }
        }
    }

    fn end(self) -> Outcome {
        let mut flows = Vec::new();
        let mut hosts = self.hosts.into_iter();
        while let (Some(client), Some(server)) = (hosts.next(), hosts.next()) {
            let deliveries = [server.work.deliveries, client.work.deliveries].concat();
            flows.push(Seen {
                uploaded: server.work.received,
                downloaded: client.work.received,
                deliveries,
            });
        }
        Outcome { flows, up: self.up }
    }
}

/// What both sides show and accept. Ed25519, because its signatures all have the same length: with
/// others, a run would differ from the next by some bytes.
fn configs() -> (ClientConfig, ServerConfig) {
    static CERTIFICATE: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    let (certificate, key) = CERTIFICATE.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key can be made");
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]);
        let certificate = parameters.and_then(|parameters| parameters.self_signed(&key));
        (certificate.expect("the name is valid").der().clone(), key.serialize_der())
    });
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("the certificate is valid");
    let client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.clone()).expect("it was made as PKCS #8");
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("key and certificate belong together");
    let client = QuicClientConfig::try_from(client).expect("TLS 1.3 has an initial suite");
    let server = QuicServerConfig::try_from(server).expect("TLS 1.3 has an initial suite");
    (ClientConfig::new(Arc::new(client)), ServerConfig::with_crypto(Arc::new(server)))
}
