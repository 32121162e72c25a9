//! A listener and a client of it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use skein_core::{
    port::directory::{ChatNode, Trust},
    time::Timestamp,
};
use skein_net::{
    Connection,
    dial::{DialConfig, Dialer},
    identity::Identity,
    listen::{ListenConfig, Listener},
    priority::Priority,
};
use skein_wire::pb;

/// Only a stop against hanging: machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(LOCAL), 0);
const LOCAL: std::net::Ipv4Addr = std::net::Ipv4Addr::LOCALHOST;

/// A certificate, and the folder that goes with it.
pub(crate) struct Certified {
    pub(crate) identity: Identity,
    folder: PathBuf,
}

impl Certified {
    pub(crate) fn new(name: &str) -> Self {
        let folder = format!("skein-net-server-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let names = ["localhost".to_owned()];
        let identity = Identity::self_signed(&folder, &names, now()).expect("a certificate");
        Self { identity, folder }
    }

    /// How clients find the node at `address`.
    pub(crate) fn node(&self, address: SocketAddr) -> ChatNode {
        ChatNode {
            name: "a".into(),
            address: address.to_string(),
            trust: Trust::Fingerprints(vec![self.identity.fingerprint()]),
        }
    }

    pub(crate) fn listen(&self, config: ListenConfig) -> Listener {
        Listener::bind(ANY, &self.identity, config).expect("a free port")
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "a certificate is checked against the real clock")]
fn now() -> Timestamp {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(since.as_millis()).expect("before the year 500 million"))
}

pub(crate) fn dialer() -> Dialer {
    let config = DialConfig { handshake_timeout: PATIENCE, ..DialConfig::default() };
    Dialer::new(config).expect("a socket")
}

/// Both ends of a new connection, first the server's.
pub(crate) async fn connect(
    listener: &Listener,
    dialer: &Dialer,
    node: &ChatNode,
) -> (Connection, Connection) {
    let server = async {
        let arriving = listener.accept().await.expect("open");
        arriving.establish().await.expect("a handshake")
    };
    let (server, client) = tokio::join!(server, dialer.dial(node));
    (server, client.expect("a connection"))
}

/// Sends a frame from the client and waits until the server has it, or the connection has ended.
pub(crate) async fn speak(server: &Connection, client: &Connection) -> bool {
    let sending = async {
        let (mut sender, receiver) = client.open(Priority::Session).await.ok()?;
        let message = pb::Presence { account: 1, online: true };
        sender.frame(&message).await.ok()?;
        sender.finish();
        Some((sender, receiver))
    };
    let receiving = async {
        let (sender, mut receiver) = server.accept().await.ok()?;
        let message: pb::Presence = receiver.frame().await.ok()??;
        Some((message, sender))
    };
    let (sent, received) = tokio::join!(sending, receiving);
    sent.is_some() && received.is_some()
}
