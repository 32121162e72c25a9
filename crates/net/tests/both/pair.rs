//! A listener and a dialer that trusts it.

use std::{future::Future, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use skein_core::{
    port::directory::{ChatNode, Trust},
    time::Timestamp,
};
use skein_net::{
    Connection,
    dial::{DialConfig, Dialer, Transports},
    identity::Identity,
    listen::{ListenConfig, Listener},
};
use skein_wire::pb;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) struct Pair {
    pub(crate) listener: Listener,
    pub(crate) dialer: Dialer,
    pub(crate) node: ChatNode,
    pub(crate) folder: PathBuf,
}

/// Runs the same over each transport.
pub(crate) async fn over_each<F: Future<Output = ()>>(name: &str, story: impl Fn(Pair) -> F) {
    over_each_with(name, &ListenConfig::default(), story).await;
}

/// Runs the same over each transport, with datagrams on both sides.
pub(crate) async fn with_datagrams<F: Future<Output = ()>>(name: &str, story: impl Fn(Pair) -> F) {
    let config = ListenConfig { datagrams: true, ..Default::default() };
    over_each_with(name, &config, story).await;
}

async fn over_each_with<F: Future<Output = ()>>(
    name: &str,
    config: &ListenConfig,
    story: impl Fn(Pair) -> F,
) {
    for transports in [Transports::Quic, Transports::WebSocket] {
        let pair = Pair::with(&format!("{name}-{transports:?}"), transports, config.clone());
        let told = tokio::time::timeout(Duration::from_secs(60), story(pair)).await;
        told.unwrap_or_else(|_| panic!("{name} hangs over {transports:?}"));
    }
}

impl Pair {
    pub(crate) fn new(name: &str, transports: Transports) -> Self {
        Self::with(name, transports, ListenConfig::default())
    }

    /// The dialer takes datagrams if the listener does.
    pub(crate) fn with(name: &str, transports: Transports, config: ListenConfig) -> Self {
        let datagrams = config.datagrams;
        let folder = std::env::temp_dir().join(format!("skein-net-{name}-{}", std::process::id()));
        let names = ["localhost".to_owned()];
        let identity = Identity::self_signed(&folder, &names, now()).expect("a certificate");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, &identity, config).expect("a free port");
        let node = ChatNode {
            name: "a".into(),
            address: listener.address().expect("bound").to_string(),
            trust: Trust::Fingerprints(vec![identity.fingerprint()]),
        };
        let handshake_timeout = Duration::from_secs(30);
        let config = DialConfig { handshake_timeout, transports, datagrams, ..Default::default() };
        Self { listener, dialer: Dialer::new(config).expect("a socket"), node, folder }
    }

    pub(crate) async fn connect(&self) -> (Connection, Connection) {
        let server = async {
            let arriving = self.listener.accept().await.expect("open");
            arriving.establish().await.expect("a handshake")
        };
        let (server, client) = tokio::join!(server, self.dialer.dial(&self.node));
        (server, client.expect("a connection"))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "a certificate is checked against the real clock")]
pub(crate) fn now() -> Timestamp {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(since.as_millis()).expect("before the year 500 million"))
}

pub(crate) fn presence(account: u64) -> pb::Presence {
    pb::Presence { account, online: true }
}

/// TLS as a client that believes what it is shown, with these protocols.
pub(crate) async fn tls_client(
    pair: &Pair,
    alpn: &[&[u8]],
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(tls_config(pair, alpn))).connect(name, stream).await
}

/// The configuration of such a client.
pub(crate) fn tls_config(pair: &Pair, alpn: &[&[u8]]) -> ClientConfig {
    let pem = std::fs::read(pair.folder.join("chat.pem")).expect("the listener's");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("it has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
    config
}
