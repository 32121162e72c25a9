//! The connecting side of QUIC: one UDP socket an address family, which all connections share.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{
    ClientConfig, Endpoint, EndpointConfig, TokenMemoryCache, TokenStore, TokioRuntime,
    crypto::rustls::QuicClientConfig,
};
use skein_core::port::directory::{ChatNode, Trust};

use crate::{
    connection::Connection,
    dial::{DialConfig, DialError, server_name, unreachable_node},
    quic::closed,
    tls, transport,
};

/// Makes QUIC connections.
pub(crate) struct QuicDialer {
    v4: Endpoint,
    v6: Option<Endpoint>,
    config: DialConfig,
    /// What servers have given this client, to be known to them the next time.
    tokens: Arc<dyn TokenStore>,
}

impl fmt::Debug for QuicDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicDialer").field("v4", &self.v4).field("v6", &self.v6).finish()
    }
}

impl QuicDialer {
    /// Opens the sockets, bound to no interface so that they follow a change of route.
    pub(crate) fn new(config: DialConfig) -> Result<Self, DialError> {
        let v4 = endpoint(Ipv4Addr::UNSPECIFIED.into()).map_err(DialError::Socket)?;
        // A host without IPv6 has only that.
        let v6 = endpoint(Ipv6Addr::UNSPECIFIED.into()).ok();
        Ok(Self { v4, v6, config, tokens: Arc::new(TokenMemoryCache::default()) })
    }

    /// Moves the live connections to new sockets, as after a change of network. They go on.
    /// After an error they stay where they were.
    pub(crate) fn rebind(&self) -> Result<(), DialError> {
        let both = [(Some(&self.v4), IpAddr::from(Ipv4Addr::UNSPECIFIED))]
            .into_iter()
            .chain([(self.v6.as_ref(), IpAddr::from(Ipv6Addr::UNSPECIFIED))]);
        for (endpoint, any) in both {
            if let Some(endpoint) = endpoint {
                let socket = UdpSocket::bind((any, 0)).map_err(DialError::Socket)?;
                transport::enlarge_buffers(&socket);
                endpoint.rebind(socket).map_err(DialError::Socket)?;
            }
        }
        Ok(())
    }

    /// Resolves when every peer knows of the connections that were closed.
    pub(crate) async fn idle(&self) {
        self.v4.wait_idle().await;
        if let Some(v6) = &self.v6 {
            v6.wait_idle().await;
        }
    }

    /// Connects to one address of a chat node.
    pub(crate) async fn dial(
        &self,
        node: &ChatNode,
        address: SocketAddr,
    ) -> Result<Connection, DialError> {
        let endpoint = if address.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
        let endpoint = endpoint.ok_or_else(|| unreachable_node(node, "this host has no IPv6"))?;
        let config = self.client_config(&node.trust)?;
        let connecting = endpoint
            .connect_with(config, address, server_name(node))
            .map_err(|error| unreachable_node(node, &error.to_string()))?;
        let established = tokio::time::timeout(self.config.handshake_timeout, connecting).await;
        match established {
            Ok(Ok(connection)) => Ok(Connection::dialed(connection.into())),
            Ok(Err(error)) if is_distrust(&error) => {
                Err(DialError::Untrusted { address: node.address.clone() })
            }
            Ok(Err(error)) => Err(DialError::Unreachable {
                address: node.address.clone(),
                answered: !matches!(error, quinn::ConnectionError::TimedOut),
                reason: closed(error).message,
            }),
            Err(_) => Err(unreachable_node(node, "it does not answer")),
        }
    }

    fn client_config(&self, trust: &Trust) -> Result<ClientConfig, DialError> {
        let tls = tls::client(trust, tls::ALPN_SKEIN)
            .map_err(|error| DialError::Tls(error.to_string()))?;
        let quic =
            QuicClientConfig::try_from(tls).map_err(|error| DialError::Tls(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(quic));
        config
            .transport_config(transport::client(self.config.idle_timeout, self.config.keep_alive))
            .token_store(Arc::clone(&self.tokens));
        Ok(config)
    }
}

fn endpoint(address: IpAddr) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind((address, 0))?;
    transport::enlarge_buffers(&socket);
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
}

/// Whether this side refused the server's certificate: a TLS alert from `bad_certificate` (42) to
/// `access_denied` (49; RFC 8446, section 6.2), which QUIC carries as 0x100 + alert (RFC 9001, 4.8).
fn is_distrust(error: &quinn::ConnectionError) -> bool {
    let quinn::ConnectionError::TransportError(error) = error else { return false };
    let code = u64::from(error.code);
    (0x100 + 42..=0x100 + 49).contains(&code)
}
