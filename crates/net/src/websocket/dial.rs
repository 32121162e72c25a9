//! The connecting side of WebSocket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use rustls_pki_types::ServerName;
use skein_core::port::directory::ChatNode;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{client::ClientRequestBuilder, http::Uri},
};
use tokio_util::task::TaskTracker;

use super::{
    PATH, SUBPROTOCOL, client_config,
    drive::drive,
    line::{Line, Shared},
    socket, websocket_config,
};
use crate::{
    connection::Connection,
    dial::{DialConfig, DialError, server_name, unreachable_node},
    qmux::mux::{End, Mux},
    tls,
    watch::local_address,
};

/// Makes WebSocket connections.
#[derive(Debug)]
pub(crate) struct WebSocketDialer {
    config: DialConfig,
    connections: TaskTracker,
    live: Mutex<Vec<Live>>,
}

/// A connection that may still be open.
#[derive(Debug)]
struct Live {
    shared: Weak<Shared>,
    local: IpAddr,
    peer: SocketAddr,
}

impl WebSocketDialer {
    pub(crate) fn new(config: DialConfig) -> Self {
        let connections = TaskTracker::new();
        // So that waiting for it means waiting until it is empty.
        connections.close();
        Self { config, connections, live: Mutex::default() }
    }

    /// Connects to one address of a chat node.
    pub(crate) async fn dial(
        &self,
        node: &ChatNode,
        address: SocketAddr,
    ) -> Result<Connection, DialError> {
        let upgrading = Box::pin(upgrade(node, address));
        let Ok(upgraded) = timeout(self.config.handshake_timeout, upgrading).await else {
            return Err(unreachable_node(node, "it does not answer"));
        };
        let (websocket, asked_at) = upgraded?;
        let local = websocket.get_ref().get_ref().0.local_addr();
        let now = Instant::now();
        let DialConfig { idle_timeout, keep_alive, datagrams, .. } = self.config;
        let config = client_config(idle_timeout, keep_alive, datagrams);
        let shared = Shared::new(Mux::new(config, Some(now - asked_at), now));
        let line = Line::new(Arc::clone(&shared), address);
        if let Ok(local) = local {
            let mut live = self.live();
            live.retain(|live| live.shared.strong_count() > 0);
            live.push(Live { shared: Arc::downgrade(&shared), local: local.ip(), peer: address });
        }
        self.connections.spawn(drive(websocket, shared));
        Ok(Connection::dialed(line.into()))
    }

    /// Ends the connections whose network is gone: TCP cannot move, and would wait for long.
    pub(crate) fn rebind(&self) {
        for live in self.live().iter() {
            if let Some(shared) = live.shared.upgrade()
                && local_address(live.peer) != Some(live.local)
            {
                shared.mux().finish(End::Lost("the network has changed".into()));
            }
        }
    }

    fn live(&self) -> MutexGuard<'_, Vec<Live>> {
        // What a panic elsewhere leaves here is whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when every connection that was closed has ended.
    pub(crate) async fn idle(&self) {
        self.connections.wait().await;
    }
}

/// A WebSocket, and when the server was asked for it.
async fn upgrade(
    node: &ChatNode,
    address: SocketAddr,
) -> Result<(WebSocketStream<TlsStream<TcpStream>>, Instant), DialError> {
    let failed = |error: &dyn ToString| unreachable_node(node, &error.to_string());
    let config = tls::client(&node.trust, tls::ALPN_HTTP)
        .map_err(|error| DialError::Tls(error.to_string()))?;
    let name = ServerName::try_from(server_name(node).to_owned())
        .map_err(|error| DialError::Tls(error.to_string()))?;
    let uri = format!("wss://{}{PATH}", node.address);
    let uri = uri.parse::<Uri>().map_err(|error| failed(&error))?;
    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    socket::prepare(&stream);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|error| {
        if is_distrust(&error) {
            DialError::Untrusted { address: node.address.clone() }
        } else {
            failed(&error)
        }
    })?;
    let asked_at = Instant::now();
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    let upgraded = client_async_with_config(request, stream, Some(websocket_config())).await;
    let (websocket, _) = upgraded.map_err(|error| failed(&error))?;
    Ok((websocket, asked_at))
}

/// Whether this side refused the server's certificate.
fn is_distrust(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}
