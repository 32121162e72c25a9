//! One end of a connection in virtual time: a real `quinn_proto` endpoint with real TLS, driven by
//! hand. It is told the time and what arrives, and says what is to be sent.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event,
    ServerConfig, Transmit,
};

use super::work::Work;

/// Datagrams that quinn may hand over as one transmission.
const DATAGRAMS_AT_ONCE: usize = 10;

/// A client or a server with at most one connection.
#[derive(Debug)]
pub(crate) struct Host {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    address: SocketAddr,
    /// What it does over its connection.
    pub(crate) work: Work,
}

impl Host {
    pub(crate) fn client(number: u16, work: Work) -> Self {
        Self::new(number, None, work)
    }

    pub(crate) fn server(number: u16, config: ServerConfig, work: Work) -> Self {
        Self::new(number, Some(Arc::new(config)), work)
    }

    fn new(number: u16, config: Option<Arc<ServerConfig>>, work: Work) -> Self {
        // The seed decides about connection ids and skipped packet numbers. It is fixed so that
        // two runs are the same.
        let mut endpoint = EndpointConfig::default();
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        endpoint.rng_seed(Some(seed));
        Self {
            endpoint: Endpoint::new(Arc::new(endpoint), config, true, None),
            connection: None,
            address: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 1_000 + number),
            work,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a handshake.
    pub(crate) fn connect(&mut self, now: Instant, config: ClientConfig, server: SocketAddr) {
        let connection = self.endpoint.connect(now, config, server, "localhost");
        self.connection = Some(connection.expect("the configuration is valid"));
    }

    /// Takes in what has arrived. Datagrams to send at once go to `out`.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Vec<Vec<u8>>,
    ) {
        let mut answer = Vec::new();
        let event =
            self.endpoint.handle(now, from, None, None, BytesMut::from(datagram), &mut answer);
        match event {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                if let Ok(accepted) = self.endpoint.accept(incoming, now, &mut answer, None) {
                    self.connection = Some(accepted);
                }
            }
            Some(DatagramEvent::Response(transmit)) => split(&transmit, &answer, out),
            None => {}
        }
    }

    /// Does what can be done now, and beats the time as whoever sends bulk does. Returns when it wants
    /// to be called again, whatever arrives.
    pub(crate) fn drive(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> Option<Instant> {
        let (handle, connection) = self.connection.as_mut()?;
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll() {
            if let Event::ConnectionLost { reason } = event {
                panic!("a connection was lost in the model: {reason}");
            }
        }
        let controller = connection.congestion_state().clone_box();
        let beat = now + skein_net::congestion::beat(controller, now).next;
        if !connection.is_handshaking() {
            self.work.act(now, connection);
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = connection.poll_transmit(now, DATAGRAMS_AT_ONCE, &mut buffer) {
            split(&transmit, &buffer, out);
            buffer.clear();
        }
        let timer = connection.poll_timeout();
        [timer, self.work.due(now), Some(beat)].into_iter().flatten().min()
    }
}

fn split(transmit: &Transmit, buffer: &[u8], out: &mut Vec<Vec<u8>>) {
    let datagrams = &buffer[..transmit.size];
    let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
    out.extend(datagrams.chunks(segment).map(<[u8]>::to_vec));
}
